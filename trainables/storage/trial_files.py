"""Files of one trial and their names: epoch records, checkpoints, outputs, the final record.

config.json            configuration, and the data's fingerprint
epochs/000001.json     one record per epoch; the first one written is kept
checkpoints/000001.pt  the last two
outputs/test.parquet   per-image outputs of the final evaluation
model.pt               final weights of encoder, probe and logistic regression
final.json             the final record; it exists only if the trial is finished
failure.json           reason of the last attempt's failure
attempts/000001.json   one record per attempt: times, hosts, outcome
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from trainables.errors import BadInputError
from trainables.files.parquet_file import check_parquet
from trainables.storage.deferred_writes import DeferredWrites
from trainables.storage.filesystem import Storage
from trainables.storage.record_files import check_file, find_record, name_once, read_content, record_names
from trainables.storage.trial_records import (
    ORDERLY,
    UNREADABLE,
    AttemptRecord,
    ConfigRecord,
    EpochRecord,
    FailureRecord,
    FinalRecord,
)

if TYPE_CHECKING:  # torch takes seconds to import, and readers of records need none
    import torch

    from trainables.storage.host_copy import HostCopy

KEPT_CHECKPOINTS = 2
CONFIG, FINAL, FAILURE, MODEL = "config.json", "final.json", "failure.json", "model.pt"
CHECKPOINT = "checkpoint"
"""Name of all checkpoints in the write queue, in which a newer one replaces a queued one."""
NUMBERED = r"\d{6,12}\.json"
_REMEMBERED = "the newest checkpoint says it, else it is left out"
READERS = 8
"""Number of threads that read epoch records, since an object store answers with a delay."""


class TrialFiles:
    """Reader and writer of one trial's files; writing the same record twice changes nothing.

    With a backlog, writes during training can wait for an unreachable storage until `flush`, and checkpoints are
    written while training continues. Without a backlog it is picklable. A damaged record is logged and left out, or
    taken from the newest checkpoint; with `mends` it is then written again.
    """

    def __init__(self, storage: Storage, backlog: DeferredWrites | None = None, *, mends: bool = False) -> None:
        self.storage, self._backlog, self._mends = storage, backlog, mends
        self.note = ""
        """Note for the user about the start of this attempt."""

    @property
    def behind(self) -> bool:
        """Whether a write isn't in the storage yet; a checkpoint may be in progress."""
        waiting = [] if self._backlog is None else self._backlog.names()
        return any(name != self._name(CHECKPOINT) for name in waiting)

    def flush(self) -> None:
        """Wait until everything is in the storage; StorageAwayError if that takes too long."""
        if self._backlog is not None:
            self._backlog.flush()

    def _write(self, name: str, perform: Callable[[], None]) -> None:
        if self._backlog is None:
            perform()
        else:
            self._backlog.write(self._name(name), perform)

    def _name(self, name: str) -> str:
        return f"{self.storage.root}/{name}"  # one queue has the writes of several trials

    def write_config(self, config: dict[str, Any], fingerprint: str) -> None:
        """Write the trial's configuration; fields of a later version are kept."""

        def perform() -> None:
            before = find_record(self.storage, CONFIG, ConfigRecord, consequence="written again")
            kept = {} if before is None else {"config": before.config, **(before.model_extra or {})}
            values = {**kept, "fingerprint": fingerprint, "config": {**kept.get("config", {}), **config}}
            self.storage.write(CONFIG, ConfigRecord(**values).model_dump_json(indent=1).encode())

        self._write(CONFIG, perform)

    def config(self) -> dict[str, Any] | None:
        """Return the configuration as written; None if there is none."""
        found = self._config()
        return None if found is None else found.config

    def fingerprint(self) -> str | None:
        """Return the fingerprint of the data at the trial's start; None if there is none."""
        found = self._config()
        return None if found is None else found.fingerprint

    def _config(self) -> ConfigRecord | None:
        def remembered() -> ConfigRecord | None:
            state = self._remembered()
            return ConfigRecord(fingerprint=state["fingerprint"], config=state["config"]) if state else None

        return find_record(self.storage, CONFIG, ConfigRecord, consequence=_REMEMBERED, instead=remembered)

    def write_epoch(self, record: EpochRecord) -> EpochRecord:
        """Write an epoch's record unless there is one; return the stored record."""
        name, standing = _epoch(record.epoch), record

        def perform() -> None:
            nonlocal standing
            found = find_record(self.storage, name, EpochRecord, consequence="written again")
            if found is None:
                self.storage.write(name, _written(record))
            else:
                standing = found

        self._write(name, perform)
        return standing

    def write_missing(self, records: Iterable[EpochRecord]) -> None:
        """Write lost or damaged epoch records again, from a checkpoint's copy."""
        records = list(records)

        def there(record: EpochRecord) -> bool:
            consequence = "written again from the checkpoint"
            return find_record(self.storage, _epoch(record.epoch), EpochRecord, consequence=consequence) is not None

        with ThreadPoolExecutor(READERS) as readers:
            lost = [record for record, found in zip(records, readers.map(there, records), strict=True) if not found]
        for record in lost:
            self.write_epoch(record)
        if lost:
            epochs = ", ".join(str(record.epoch) for record in lost)
            self.note = f"{self.note}; " * bool(self.note) + f"the records of epochs {epochs} were written again"

    def epochs(self) -> list[EpochRecord]:
        """Return the records of all epochs so far, in order; damaged ones come from the newest checkpoint's copy."""
        numbers = [int(name.removesuffix(".json")) for name in record_names(self.storage, "epochs", NUMBERED)]
        checkpoint: dict[int, EpochRecord] = {}

        def remembered(number: int) -> EpochRecord | None:
            checkpoint.update({} if checkpoint else self._remembered_epochs())
            return self._mended(checkpoint.get(number))

        def read(number: int) -> EpochRecord | None:
            instead = partial(remembered, number)
            return find_record(self.storage, _epoch(number), EpochRecord, consequence=_REMEMBERED, instead=instead)

        return [record for number in numbers if (record := read(number)) is not None]

    def _mended(self, record: EpochRecord | None) -> EpochRecord | None:
        if record is not None and self._mends:
            self._write(_epoch(record.epoch), lambda: self.storage.write(_epoch(record.epoch), _written(record)))
        return record

    def _remembered(self) -> dict[str, Any]:
        """Return the newest readable checkpoint; empty if there is none."""
        for epoch in reversed(self._checkpoints()):
            try:
                return self.load_checkpoint(epoch, _cpu())
            except OSError:
                raise  # the storage is away
            except Exception:  # torn: the one before is good
                name_once(f"{self.storage.address(_checkpoint(epoch))}: isn't a readable checkpoint")
        return {}

    def _remembered_epochs(self) -> dict[int, EpochRecord]:
        records = (EpochRecord.model_validate(record) for record in self._remembered().get("records", ()))
        return {record.epoch: record for record in records}

    def save_checkpoint(self, epoch: int, state: dict[str, Any]) -> None:
        """Write the present state as an epoch's checkpoint, and delete all but the last two.

        With a backlog, the state is copied to host memory and written while training continues. The next write waits
        for it, so there is at most one copy.

        Args:
            epoch: Number of the epoch, from 1 on.
            state: State of model, optimiser and records.
        """
        from trainables.storage.host_copy import HostCopy

        def prepare() -> Callable[[], None]:
            copy = HostCopy(state)

            def perform() -> None:
                self._write_state(_checkpoint(epoch), copy)
                for number in self._checkpoints()[:-KEPT_CHECKPOINTS]:
                    self.storage.delete(_checkpoint(number))

            return perform

        if self._backlog is None:
            prepare()()
        else:
            self._backlog.aside(self._name(CHECKPOINT), prepare)

    def checkpoint_epochs(self) -> list[int]:
        """Return the epochs with a checkpoint, ascending."""
        if self._backlog is not None:
            self._backlog.settle()
        return self._checkpoints()

    def _checkpoints(self) -> list[int]:
        return [int(name.removesuffix(".pt")) for name in record_names(self.storage, "checkpoints", r"\d{6,12}\.pt")]

    def load_checkpoint(self, epoch: int, device: "torch.device") -> dict[str, Any]:
        """Return the state of an epoch's checkpoint; a truncated file raises errors of the unpickler."""
        return self._load(_checkpoint(epoch), device)

    def checkpoint_address(self) -> str | None:
        """Return the address of the newest checkpoint; None if there is none."""
        epochs = self.checkpoint_epochs()
        return self.storage.address(_checkpoint(epochs[-1])) if epochs else None

    def save_model(self, state: dict[str, Any]) -> None:
        """Write the final weights: encoder, linear (the logistic regression) and, if trained, probe."""
        from trainables.storage.host_copy import HostCopy

        copy = HostCopy(state)
        self._write(MODEL, lambda: self._write_state(MODEL, copy))

    def load_model(self) -> dict[str, Any]:
        """Return the final weights and their configuration; BadInputError if the file is damaged."""
        try:
            return self._load(MODEL, _cpu())
        except (OSError, BadInputError):
            raise
        except Exception as error:
            raise BadInputError(
                f"{self.storage.address(MODEL)}: holds no weights that can be read ({type(error).__name__}); train the "
                "trial again: remove its folder, and resume the sweep"
            ) from error

    def _write_state(self, name: str, copy: "HostCopy") -> None:
        self.storage.write_stream(name, copy.save)

    def _load(self, name: str, device: "torch.device") -> dict[str, Any]:
        import torch

        check_file(self.storage, name)
        with self.storage.filesystem.open_input_file(f"{self.storage.root}/{name}") as stream:
            state: dict[str, Any] = torch.load(stream, map_location=device, weights_only=True)
        return state

    def write_outputs(self, split: str, table: pa.Table) -> None:
        """Write the per-image outputs of the final evaluation."""
        name = f"outputs/{split}.parquet"
        self._write(name, lambda: self.storage.write_stream(name, lambda stream: pq.write_table(table, stream)))

    def outputs(self, split: str) -> pa.Table | None:
        """Return the per-image outputs of a split; None if there are none.

        Columns: row, name, label (a list for several labels); logits of the probe trained during pretraining, and
        linear_logits of the logistic regression (lists); knn, a list with the class that the neighbours vote for, or
        each label's score.
        """
        name = f"outputs/{split}.parquet"
        try:
            content = read_content(self.storage, name)
            if content is None:
                return None
            check_parquet(pa.BufferReader(content), len(content))
            return pq.read_table(pa.BufferReader(content))
        except (BadInputError, pa.ArrowException) as error:
            why = str(error).partition("\n")[0]
            name_once(f"{self.storage.address(name)}: can't be read ({why}); what is computed from it is left out")
            return None

    def write_final(self, record: FinalRecord) -> None:
        """Write the final record, which marks the trial as finished."""
        content = record.model_dump_json().encode()
        self._write(FINAL, lambda: self.storage.write(FINAL, content))

    def final(self) -> FinalRecord | None:
        """Return the final record; None if the trial is unfinished."""
        consequence = "the trial counts as unfinished; resuming continues from its last checkpoint and writes it again"
        return find_record(self.storage, FINAL, FinalRecord, consequence=consequence)

    def finished(self) -> FinalRecord | None:
        """Return the final record; None if the trial must continue, also because its last epoch's record is lost."""
        if (final := self.final()) is None:
            return None
        name = _epoch(final.epochs)
        last = find_record(self.storage, name, EpochRecord, consequence=_REMEMBERED)
        if last is None and self._mended(self._remembered_epochs().get(final.epochs)) is None:
            why = "the record of a finished trial's last epoch is lost, so that it isn't finished; resuming trains it"
            name_once(f"{self.storage.address(name)}: {why}")
            return None
        return final

    def write_failure(self, record: FailureRecord) -> None:
        """Write the reason of the last attempt's failure."""
        content = record.model_dump_json().encode()
        self._write(FAILURE, lambda: self.storage.write(FAILURE, content))

    def clear_failure(self) -> None:
        """Delete the last attempt's failure, at the start of a new attempt."""
        self._write(FAILURE, lambda: self.storage.delete(FAILURE))

    def failure(self) -> FailureRecord | None:
        """Return the reason of the last attempt's failure, or None; if that is damaged, from the attempt's record."""

        def of_attempt() -> FailureRecord | None:
            for last in self.attempts()[-1:]:
                if last.outcome not in (*ORDERLY, UNREADABLE):
                    return FailureRecord(time_ms=last.ended_ms or 0, kind=last.outcome, message=last.message)
            return None

        consequence = "the last attempt's record says it, else it isn't known"
        return find_record(self.storage, FAILURE, FailureRecord, consequence=consequence, instead=of_attempt)

    def write_attempt(self, record: AttemptRecord) -> None:
        """Write the record of an attempt, replacing the earlier one."""
        name, content = _attempt(record.number), record.model_dump_json().encode()
        self._write(name, lambda: self.storage.write(name, content))

    def attempts(self) -> list[AttemptRecord]:
        """Return the records of all attempts so far, in order; a damaged one has only its number."""
        numbers = [int(name.removesuffix(".json")) for name in record_names(self.storage, "attempts", NUMBERED)]
        return [found for number in numbers if (found := self._attempt(number)) is not None]

    def _attempt(self, number: int) -> AttemptRecord | None:
        def unreadable() -> AttemptRecord:
            said = "its record is damaged"
            return AttemptRecord(number=number, sweep="", started_ms=0, outcome=UNREADABLE, message=said)

        consequence = "the attempt's hours and outcome are unknown"
        return find_record(self.storage, _attempt(number), AttemptRecord, consequence=consequence, instead=unreadable)


def _cpu() -> "torch.device":
    import torch

    return torch.device("cpu")


def _checkpoint(epoch: int) -> str:
    return f"checkpoints/{epoch:06d}.pt"


def _attempt(number: int) -> str:
    return f"attempts/{number:06d}.json"


def _epoch(epoch: int) -> str:
    return f"epochs/{epoch:06d}.json"


def _written(record: EpochRecord) -> bytes:
    return record.model_dump_json().encode()
