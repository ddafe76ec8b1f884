"""The sweeps and trials of a storage; sweeps share trials by their ids.

trials/ID/...                 one folder a trial (trainables/storage/trial_files.py)
sweeps/NAME/sweep.json        which trials, which space, how it was started
sweeps/NAME/stopped/ID.json   why a trial was stopped for good
sweeps/NAME/logs/             Ray's log and those of failed trials
live/NAME.json                while it runs (sweep/records/lease.py)
"""

from contextlib import AbstractContextManager, nullcontext
from functools import cache
from pathlib import Path

from sweep.console.printing import say
from sweep.records.paths import check_name
from sweep.records.sweep_record import StopRecord, SweepRecord, TrialEntry
from trainables.errors import BadInputError
from trainables.storage.deferred_writes import Backlog
from trainables.storage.filesystem import Storage
from trainables.storage.ownership import files_as_private_as, make_private
from trainables.storage.trial_files import TrialFiles

SWEEP_FILE = "sweep.json"


class SweepStorage:
    """A storage with the sweeps and trials in it."""

    def __init__(self, address: str | Path, *, patience: float = 0.0) -> None:
        """Open the storage; with patience its operations wait so many seconds for it while it is away."""
        self.storage = Storage.at(address).patient(patience)

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

    def private_files(self) -> AbstractContextManager[None]:
        """Make new files of this process private meanwhile, where the storage is a private folder."""
        return files_as_private_as(Path(self.storage.root)) if self.storage.is_local else nullcontext()

    def trial(self, trial_id: str) -> TrialFiles:
        """Return the files of a trial, which need not exist."""
        return TrialFiles(self.storage.child(f"trials/{trial_id}"))

    def trial_of(self, entry: TrialEntry) -> TrialFiles:
        """Return the files of a sweep's trial."""
        return self.trial(entry.folder)

    def write_stopped(self, name: str, trial_id: str, why: str, backlog: Backlog) -> None:
        """Keep why a trial of a sweep was stopped for good; later, when the storage is away."""
        path, content = f"sweeps/{name}/stopped/{trial_id}.json", StopRecord(why=why).model_dump_json().encode()
        backlog.write(path, lambda: self.storage.write(path, content))

    def stopped(self, name: str) -> dict[str, str]:
        """Return why trials of a sweep were stopped for good, by their ids."""
        folder = f"sweeps/{name}/stopped"
        found = {file: self.storage.read_record(f"{folder}/{file}", StopRecord) for file in self.storage.names(folder)}
        return {file.removesuffix(".json"): stop.why for file, stop in found.items() if stop is not None}

    def forget_stopped(self, name: str, trial_id: str) -> None:
        """Let a stopped trial go on."""
        self.storage.delete(f"sweeps/{name}/stopped/{trial_id}.json")

    def sweep(self, name: str) -> SweepRecord | None:
        """Return the record of a sweep, or None."""
        check_name(name)
        file = f"sweeps/{name}/{SWEEP_FILE}"
        found = self.storage.read_record(file, SweepRecord)
        if found is not None and found.name != name:
            raise BadInputError(
                f"{self.storage.address(file)}: is the record of sweep {found.name!r}, in another's folder"
            )
        return found

    def record(self, name: str | None = None) -> SweepRecord:
        """Return the record of a sweep, of the latest one without a name; BadInputError when there is none."""
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
        """Return the sweeps of this storage that can be read, the latest last; others are named on stderr, once."""
        found = [record for name in self.storage.names("sweeps") if (record := self._readable(name)) is not None]
        return [record.name for record in sorted(found, key=lambda record: record.time_ms)]

    def _readable(self, name: str) -> SweepRecord | None:
        try:
            return self.sweep(name)
        except BadInputError as error:
            _say_once(f"left out: {error}")
            return None

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


@cache
def _say_once(line: str) -> None:
    say(line, error=True)
