"""The files of one trial and their names: epoch records, checkpoints, outputs, the final record.

config.json            the configuration and the data's fingerprint
epochs/000001.json     one record an epoch; the first one written stands
checkpoints/000001.pt  the last two
outputs/test.parquet   per-image outputs of the final evaluation
model.pt               final weights of encoder, probe and logistic regression
final.json             the final record: the trial is finished when this is there
failure.json           why the last attempt failed
attempts/000001.json   one record an attempt: when, where, how it ended
"""

import re
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from trainables.parquet_file import check_parquet
from trainables.storage.deferred_writes import Backlog
from trainables.storage.filesystem import Record, Storage
from trainables.storage.host_copy import HostCopy
from trainables.storage.trial_records import AttemptRecord, ConfigRecord, EpochRecord, FailureRecord, FinalRecord

KEPT_CHECKPOINTS = 2
CONFIG, FINAL, FAILURE, MODEL = "config.json", "final.json", "failure.json", "model.pt"
CHECKPOINT = "checkpoint"
"""What a backlog calls every epoch's, as the newest takes the place of one that waits."""


class TrialFiles:
    """Reads and writes one trial's files; writing the same thing twice changes nothing.

    With a backlog, what training writes may wait for a storage that is away, until `flush`, and checkpoints are written
    while training goes on. Without one, picklable.
    """

    def __init__(self, storage: Storage, backlog: Backlog | None = None) -> None:
        self.storage, self._backlog = storage, backlog
        self.note = ""
        """What a person should know of how this attempt began."""

    @property
    def behind(self) -> bool:
        """Whether something that was written isn't in the storage yet; a checkpoint may be on its way."""
        waiting = [] if self._backlog is None else self._backlog.names()
        return any(name != self._name(CHECKPOINT) for name in waiting)

    def flush(self) -> None:
        """Wait until everything is in the storage; StorageAwayError when that takes too long."""
        if self._backlog is not None:
            self._backlog.flush()

    def _write(self, name: str, perform: Callable[[], None]) -> None:
        if self._backlog is None:
            perform()
        else:
            self._backlog.write(self._name(name), perform)

    def _name(self, name: str) -> str:
        return f"{self.storage.root}/{name}"  # one desk writes the files of several trials

    def write_config(self, config: dict[str, Any], fingerprint: str) -> None:
        """Say what is trained here."""
        content = ConfigRecord(fingerprint=fingerprint, config=config).model_dump_json(indent=1).encode()
        self._write(CONFIG, lambda: self.storage.write(CONFIG, content))

    def config(self) -> dict[str, Any] | None:
        """Return the configuration as written, or None."""
        found = self.storage.read_record(CONFIG, ConfigRecord)
        return None if found is None else found.config

    def fingerprint(self) -> str | None:
        """Return the fingerprint of the data that it was begun with, or None."""
        found = self.storage.read_record(CONFIG, ConfigRecord)
        return None if found is None else found.fingerprint

    def write_epoch(self, record: EpochRecord) -> EpochRecord:
        """Write an epoch's record unless there is one; return the record that stands."""
        name, standing = f"epochs/{record.epoch:06d}.json", record

        def perform() -> None:
            nonlocal standing
            found = self.storage.read_record(name, EpochRecord)
            if found is None:
                self.storage.write(name, record.model_dump_json().encode())
            else:
                standing = found

        self._write(name, perform)
        return standing

    def epochs(self) -> list[EpochRecord]:
        """Return the records of all epochs so far, in order."""
        return self._all("epochs", EpochRecord)

    def save_checkpoint(self, epoch: int, state: dict[str, Any]) -> None:
        """Write the checkpoint of an epoch as the state is now, and drop those before the last two.

        With a backlog it is copied to host memory and written while training goes on; whatever is written next waits
        for it, so that no more than one copy lives.
        """

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
        """Return the epochs whose checkpoints are there, ascending."""
        if self._backlog is not None:
            self._backlog.settle()
        return self._checkpoints()

    def _checkpoints(self) -> list[int]:
        names = self.storage.names("checkpoints")
        return [int(name.removesuffix(".pt")) for name in names if re.fullmatch(r"\d{6,12}\.pt", name, re.ASCII)]

    def load_checkpoint(self, epoch: int, device: torch.device) -> dict[str, Any]:
        """Return the state of an epoch's checkpoint."""
        return self._load(_checkpoint(epoch), device)

    def checkpoint_address(self) -> str | None:
        """Return where the newest checkpoint lies, or None."""
        epochs = self.checkpoint_epochs()
        return self.storage.address(_checkpoint(epochs[-1])) if epochs else None

    def save_model(self, state: dict[str, Any]) -> None:
        """Write the final weights: encoder, linear (the logistic regression) and, where one was trained, probe."""
        copy = HostCopy(state)
        self._write(MODEL, lambda: self._write_state(MODEL, copy))

    def load_model(self) -> dict[str, Any]:
        """Return the final weights, and the configuration they are of."""
        return self._load(MODEL, torch.device("cpu"))

    def _write_state(self, name: str, copy: HostCopy) -> None:
        self.storage.write_stream(name, copy.save)

    def _load(self, name: str, device: torch.device) -> dict[str, Any]:
        with self.storage.filesystem.open_input_file(f"{self.storage.root}/{name}") as stream:
            state: dict[str, Any] = torch.load(stream, map_location=device, weights_only=True)
        return state

    def write_outputs(self, split: str, table: pa.Table) -> None:
        """Write the per-image outputs of the final evaluation."""
        name = f"outputs/{split}.parquet"
        self._write(name, lambda: self.storage.write_stream(name, lambda stream: pq.write_table(table, stream)))

    def outputs(self, split: str) -> pa.Table | None:
        """Return the per-image outputs, or None when there are none.

        row, name, label (a list where there are several); logits of the probe beside pretraining, linear_logits of the
        logistic regression (lists); knn, a list of the class that the neighbours vote for, or of each label's score.
        """
        content = self.storage.read(f"outputs/{split}.parquet")
        if content is None:
            return None
        check_parquet(pa.BufferReader(content), len(content))
        return pq.read_table(pa.BufferReader(content))

    def write_final(self, record: FinalRecord) -> None:
        """Declare the trial finished."""
        content = record.model_dump_json().encode()
        self._write(FINAL, lambda: self.storage.write(FINAL, content))

    def final(self) -> FinalRecord | None:
        """Return the final record, or None while the trial is unfinished."""
        return self.storage.read_record(FINAL, FinalRecord)

    def write_failure(self, record: FailureRecord) -> None:
        """Say why the last attempt failed."""
        content = record.model_dump_json().encode()
        self._write(FAILURE, lambda: self.storage.write(FAILURE, content))

    def clear_failure(self) -> None:
        """Forget the last attempt's failure, as a new attempt starts."""
        self._write(FAILURE, lambda: self.storage.delete(FAILURE))

    def failure(self) -> FailureRecord | None:
        """Return why the last attempt failed, or None."""
        return self.storage.read_record(FAILURE, FailureRecord)

    def write_attempt(self, record: AttemptRecord) -> None:
        """Write the record of an attempt in place of the one before."""
        name, content = f"attempts/{record.number:06d}.json", record.model_dump_json().encode()
        self._write(name, lambda: self.storage.write(name, content))

    def attempts(self) -> list[AttemptRecord]:
        """Return the records of all attempts so far, in order."""
        return self._all("attempts", AttemptRecord)

    def _all(self, folder: str, kind: type[Record]) -> list[Record]:
        found = (self.storage.read_record(f"{folder}/{name}", kind) for name in self.storage.names(folder))
        return [record for record in found if record is not None]


def _checkpoint(epoch: int) -> str:
    return f"checkpoints/{epoch:06d}.pt"
