"""Storage of sweeps and trials; sweeps share trials by their ids.

trials/ID/...                 one folder per trial (trainables/storage/trial_files.py)
sweeps/NAME/sweep.json        its trials, its space and the options that started it
sweeps/NAME/stopped/ID.json   why a trial was stopped for good
sweeps/NAME/logs/             Ray's log and the logs of failed trials
live/NAME.json                the lease, while the sweep runs (sweep/records/lease.py)
"""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from sweep.records.paths import NAME, check_name
from sweep.records.sweep_record import StopRecord, SweepRecord, TrialEntry
from trainables.errors import BadInputError
from trainables.storage.deferred_writes import DeferredWrites
from trainables.storage.filesystem import Storage
from trainables.storage.ownership import files_as_private_as, make_private
from trainables.storage.record_files import (
    DamagedRecordError,
    HiddenRecordError,
    find_record,
    name_once,
    read_record,
    record_names,
)
from trainables.storage.trial_files import TrialFiles

SWEEP_FILE = "sweep.json"
STOP_FILE = r"[A-Za-z0-9][A-Za-z0-9_.+-]*\.json"
OWN_FOLDERS = ("trials", "sweeps", "live", "mlartifacts")
UNKNOWN_STOP = StopRecord(why="it was stopped; the record that says why is damaged")


class SweepStorage:
    """Storage of sweeps and trials."""

    def __init__(self, address: str | Path, *, patience: float = 0.0, mends: bool = False) -> None:
        """Open the storage.

        Args:
            address: Folder or URI.
            patience: Seconds that each operation waits while the storage is unreachable.
            mends: Whether damaged epoch records are rewritten from a checkpoint.
        """
        self.storage, self._mends = Storage.at(address).patient(patience), mends

    def check_writable(self) -> None:
        """Write and remove a small file; BadInputError when that fails."""
        try:
            if self.storage.is_local:
                make_private(Path(self.storage.root))
            self.storage.write(".writable", b"")
            self.storage.delete(".writable")
        except OSError as error:
            raise BadInputError(
                f"--storage {self.storage.address()}: can't be written ({error.strerror or error}); choose another"
            ) from error

    def check_not_own(self, option: str, folder: Path) -> None:
        """Raise BadInputError if a folder for outputs is the storage itself, or one that holds its records."""
        if not self.storage.is_local:
            return
        root, output = Path(self.storage.root).resolve(), folder.resolve()
        if output == root or any(output.is_relative_to(root / own) for own in OWN_FOLDERS):
            raise BadInputError(f"{option} {folder}: holds the storage's own records; choose another folder")

    def private_files(self) -> AbstractContextManager[None]:
        """Make new files of this process private during the context, if the storage is a private folder."""
        return files_as_private_as(Path(self.storage.root)) if self.storage.is_local else nullcontext()

    def trial(self, trial_id: str) -> TrialFiles:
        """Return the files of the trial with this id; the trial need not exist yet."""
        return TrialFiles(self.storage.child(f"trials/{trial_id}"), mends=self._mends)

    def trial_of(self, entry: TrialEntry) -> TrialFiles:
        """Return the files of a sweep's trial."""
        return self.trial(entry.folder)

    def write_stopped(self, name: str, trial_id: str, why: str, backlog: DeferredWrites) -> None:
        """Write why a trial was stopped for good; deferred if the storage is unreachable."""
        path, content = f"sweeps/{name}/stopped/{trial_id}.json", StopRecord(why=why).model_dump_json().encode()
        backlog.write(path, lambda: self.storage.write(path, content))

    def stopped(self, name: str) -> dict[str, str]:
        """Return why trials of a sweep were stopped for good, by their ids; a damaged record still stops its trial."""
        folder = f"sweeps/{name}/stopped"
        found = {}
        for file in record_names(self.storage, folder, STOP_FILE):
            trial_id = file.removesuffix(".json")
            consequence = "the trial stays stopped; --retry-failed tries it again"
            stop = find_record(
                self.storage, f"{folder}/{file}", StopRecord, consequence=consequence, instead=lambda: UNKNOWN_STOP
            )
            if stop is UNKNOWN_STOP:
                stop = self._stop_by_attempt(trial_id)
            if stop is not None:
                found[trial_id] = stop.why
        return found

    def _stop_by_attempt(self, trial_id: str) -> StopRecord:
        """Return the reason of a trial's stop from its last attempt's record."""
        last = [one for one in self.trial(trial_id).attempts()[-1:] if one.outcome == "stopped" and one.message]
        return StopRecord(why=last[0].message) if last else UNKNOWN_STOP

    def forget_stopped(self, name: str, trial_id: str) -> None:
        """Delete a trial's stop record, so that it continues."""
        self.storage.delete(f"sweeps/{name}/stopped/{trial_id}.json")

    def sweep(self, name: str) -> SweepRecord | None:
        """Return the record of a sweep, or None; BadInputError where its file is damaged or refused."""
        check_name(name)
        file = f"sweeps/{name}/{SWEEP_FILE}"
        try:
            found = read_record(self.storage, file, SweepRecord)
        except HiddenRecordError as error:
            raise HiddenRecordError(f"{error}; ask its owner for access, or name another --storage") from error
        except DamagedRecordError as error:
            raise DamagedRecordError(
                f"{error}; write it again from the space: python -m sweep.run --space SPACE --name {name} takes up the "
                "trials that are there"
            ) from error
        if found is not None and found.name != name:
            raise BadInputError(
                f"{self.storage.address(file)}: is the record of sweep {found.name!r}, in another's folder; name "
                f"its folder {found.name} again"
            )
        return found

    def whole_sweep(self, name: str) -> SweepRecord | None:
        """Return the record of a sweep; None if there is none or it is damaged, which is logged and allows a rewrite.

        Raises:
            BadInputError: This version refuses the content.
        """
        try:
            return self.sweep(name)
        except DamagedRecordError as error:
            name_once(str(error).partition("; write it again")[0] + "; written again when the sweep begins")
            return None

    def record(self, name: str | None = None) -> SweepRecord:
        """Return the record of a sweep, by default the latest; BadInputError if there is none."""
        found = None if name is None else self.sweep(name)
        if found is not None:
            return found
        names = self.sweep_names()
        if not names:
            raise BadInputError(
                f"--storage {self.storage.address()}: no sweep here; run one: python -m sweep.run --help"
            )
        found = self.sweep(names[-1]) if name is None else None
        if found is None:
            raise BadInputError(f"sweep {name!r}: not in {self.storage.address()}; there are: {', '.join(names)}")
        return found

    def sweep_names(self) -> list[str]:
        """Return the sweeps of this storage that can be read, the latest last; unreadable ones are logged once."""
        found = [record for name in self.folders() if (record := self._readable(name)) is not None]
        return [record.name for record in sorted(found, key=lambda record: record.time_ms)]

    def _readable(self, name: str) -> SweepRecord | None:
        try:
            return self.sweep(name)
        except BadInputError as error:
            name_once(f"left out: {error}")
            return None

    def folders(self) -> list[str]:
        """Return the names of all folders of sweeps, including unreadable sweeps."""
        return record_names(self.storage, "sweeps", NAME)

    def write_sweep(self, record: SweepRecord) -> None:
        """Write a sweep's record in place of the one before."""
        self.storage.write(f"sweeps/{record.name}/{SWEEP_FILE}", record.model_dump_json(indent=1).encode())

    def log_folder(self, name: str) -> Path:
        """Return the local folder of a sweep's logs: in the storage, or beside the data where that is remote."""
        check_name(name)
        if not self.storage.is_local:
            cache = Path.home() / ".cache" / "sweep"
            make_private(cache)
            return cache / "sweeps" / name / "logs"
        list(self.storage.files(f"sweeps/{name}/logs"))  # a link there would be written through
        return Path(self.storage.own_path(f"sweeps/{name}/logs", whole=True))
