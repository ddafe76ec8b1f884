"""The files of one trial and their names: epoch records, checkpoints, outputs, the final word.

config.json            the configuration and the data's fingerprint
epochs/000001.json     one record an epoch; the first one written stands
checkpoints/000001.pt  the last two
outputs/test.parquet   per-image outputs of the final evaluation
model.pt               final encoder and probe weights
final.json             the final record: the trial is finished when this is there
failure.json           why the last attempt failed
"""

import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from pydantic import BaseModel, ConfigDict

from trainables.storage import Storage

KEPT_CHECKPOINTS = 2
CONFIG, FINAL, FAILURE, MODEL = "config.json", "final.json", "failure.json", "model.pt"


class EpochRecord(BaseModel):
    """What one epoch gave; NaN where a metric is undefined."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    epoch: int
    """1-based."""
    time_ms: int
    """Milliseconds since 1970 when the epoch ended; MLflow's timestamp of its metrics."""
    seconds: float
    """Wall time of training and evaluation."""
    metrics: dict[str, float]


class FinalRecord(BaseModel):
    """That and how a trial ended, with what a person needs to trust and repeat it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    time_ms: int
    epochs: int
    seconds: float
    """Wall time of all epochs that led here."""
    workers: int
    threads: int
    device: str
    host: str
    versions: dict[str, str]
    train_images: int
    classes: tuple[str, ...]
    """Names of the probe's outputs."""


class FailureRecord(BaseModel):
    """Why an attempt failed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    time_ms: int
    kind: str
    """crash, non_finite_loss, out_of_memory or bad_input."""
    message: str


class TrialFiles:
    """Reads and writes one trial's files; writing the same thing twice changes nothing. Picklable."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage

    def write_config(self, config: dict[str, Any], fingerprint: str) -> None:
        """Say what is trained here."""
        text = json.dumps({"fingerprint": fingerprint, "config": config}, indent=1)
        self.storage.write(CONFIG, text.encode())

    def config(self) -> dict[str, Any] | None:
        """Return the configuration as written, or None."""
        content = self.storage.read(CONFIG)
        return None if content is None else json.loads(content)["config"]

    def write_epoch(self, record: EpochRecord) -> EpochRecord:
        """Write an epoch's record unless there is one; return the record that stands."""
        name = f"epochs/{record.epoch:06d}.json"
        content = self.storage.read(name)
        if content is not None:
            return EpochRecord.model_validate_json(content)
        self.storage.write(name, record.model_dump_json().encode())
        return record

    def epochs(self) -> list[EpochRecord]:
        """Return the records of all epochs so far, in order."""
        contents = (self.storage.read(f"epochs/{name}") for name in self.storage.names("epochs"))
        return [EpochRecord.model_validate_json(content) for content in contents if content is not None]

    def save_checkpoint(self, epoch: int, state: dict[str, Any]) -> None:
        """Write the checkpoint of an epoch and drop those before the last two."""
        self.storage.write_stream(_checkpoint(epoch), lambda stream: torch.save(state, stream))
        for number in self.checkpoint_epochs()[:-KEPT_CHECKPOINTS]:
            self.storage.delete(_checkpoint(number))

    def checkpoint_epochs(self) -> list[int]:
        """Return the epochs whose checkpoints are there, ascending."""
        return [int(name.removesuffix(".pt")) for name in self.storage.names("checkpoints")]

    def load_checkpoint(self, epoch: int, device: torch.device) -> dict[str, Any]:
        """Return the state of an epoch's checkpoint."""
        return self._load(_checkpoint(epoch), device)

    def checkpoint_address(self) -> str | None:
        """Return where the newest checkpoint lies, or None."""
        epochs = self.checkpoint_epochs()
        return self.storage.address(_checkpoint(epochs[-1])) if epochs else None

    def save_model(self, state: dict[str, Any]) -> None:
        """Write the final weights of encoder and probe."""
        self.storage.write_stream(MODEL, lambda stream: torch.save(state, stream))

    def load_model(self) -> dict[str, Any]:
        """Return the final weights of encoder and probe."""
        return self._load(MODEL, torch.device("cpu"))

    def _load(self, name: str, device: torch.device) -> dict[str, Any]:
        with self.storage.filesystem.open_input_file(f"{self.storage.root}/{name}") as stream:
            state: dict[str, Any] = torch.load(stream, map_location=device, weights_only=True)
        return state

    def write_outputs(self, split: str, table: pa.Table) -> None:
        """Write the per-image outputs of the final evaluation."""
        self.storage.write_stream(f"outputs/{split}.parquet", lambda stream: pq.write_table(table, stream))

    def outputs(self, split: str) -> pa.Table | None:
        """Return the per-image outputs: row, name, label, logits (list); None when there are none."""
        content = self.storage.read(f"outputs/{split}.parquet")
        return None if content is None else pq.read_table(pa.BufferReader(content))

    def write_final(self, record: FinalRecord) -> None:
        """Declare the trial finished."""
        self.storage.write(FINAL, record.model_dump_json().encode())

    def final(self) -> FinalRecord | None:
        """Return the final record, or None while the trial is unfinished."""
        content = self.storage.read(FINAL)
        return None if content is None else FinalRecord.model_validate_json(content)

    def write_failure(self, record: FailureRecord) -> None:
        """Say why the last attempt failed."""
        self.storage.write(FAILURE, record.model_dump_json().encode())

    def clear_failure(self) -> None:
        """Forget the last attempt's failure, as a new attempt starts."""
        self.storage.delete(FAILURE)

    def failure(self) -> FailureRecord | None:
        """Return why the last attempt failed, or None."""
        content = self.storage.read(FAILURE)
        return None if content is None else FailureRecord.model_validate_json(content)


def _checkpoint(epoch: int) -> str:
    return f"checkpoints/{epoch:06d}.pt"
