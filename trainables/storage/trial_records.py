"""The records of one trial: an epoch, an attempt, a failure, the end."""

import time

from pydantic import BaseModel, ConfigDict


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
    recomputed: bool = False
    """Whether its steps computed activations again: slower, with the same results."""
    device: str
    host: str
    versions: dict[str, str]
    train_images: int
    classes: tuple[str, ...]
    """Names of the probe's outputs."""
    positive: tuple[str, ...] = ()
    """Those that count as positive; none without a rule."""


class FailureRecord(BaseModel):
    """Why an attempt failed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    time_ms: int
    kind: str
    """crash, hung, lost_node, storage, non_finite_loss, out_of_memory or bad_input."""
    message: str


class AttemptRecord(BaseModel):
    """One attempt at a trial, by whichever sweep."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int
    """1-based, over all sweeps."""
    sweep: str
    started_ms: int
    ended_ms: int | None = None
    """None while it runs, and when whoever ran the sweep was killed."""
    outcome: str = "running"
    """running, finished, stopped, interrupted, or a kind of failure."""
    message: str = ""
    first_epoch: int | None = None
    last_epoch: int | None = None
    """The epochs that it trained."""
    last_ms: int | None = None
    """When it was last heard of."""
    devices: float = 1.0
    """GPUs, or workers where there are none, that it held."""
    hosts: tuple[str, ...] = ()
    """Of its workers, by rank."""

    @property
    def hours(self) -> float:
        """Return the device-hours that it cost."""
        end = self.ended_ms or self.last_ms or self.started_ms
        return self.devices * max(0, end - self.started_ms) / 3_600_000


def now_ms() -> int:
    """Return milliseconds since 1970, the unit of times in records."""
    return time.time_ns() // 1_000_000
