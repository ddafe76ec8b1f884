"""Records of one trial: configuration, epochs, attempts, failure and end."""

import math
import time
from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$", max_length=200)]
"""Id or name that becomes the name of a file or folder."""
Milliseconds = Annotated[int, Field(ge=0, le=253_402_300_799_999)]
"""Milliseconds since 1970, up to the end of the year 9999."""
Count = Annotated[int, Field(ge=0, le=10**12)]
Seconds = Annotated[float, Field(ge=0.0, le=1e12)]


def _measured(value: float) -> float:
    if LARGEST_METRIC < abs(value) < math.inf:
        raise ValueError(f"must lie within {LARGEST_METRIC:g}, as everything does that is computed of float32 numbers")
    return value


LARGEST_METRIC = 1e100
"""Largest metric; squares of larger values overflow."""
Metric = Annotated[float, AfterValidator(_measured)]
"""Value of a metric; NaN or infinite if undefined."""


ORDERLY = ("running", "finished", "stopped", "interrupted")
"""Outcomes of an attempt that aren't failures."""
UNREADABLE = "unreadable"
"""Outcome of an attempt with a damaged record, whose time, place and cost are unknown."""


class KeptRecord(BaseModel):
    """Record that keeps fields of a later version, also when it is written again."""

    model_config = ConfigDict(frozen=True, extra="allow")

    def later_values(self) -> Iterable[str]:
        """Return names within values that aren't records themselves, if this version doesn't know them."""
        return ()


class ConfigRecord(KeptRecord):
    """Configuration and data of a trial's folder."""

    fingerprint: str
    """Fingerprint of the data."""
    config: dict[str, Any]


class EpochRecord(KeptRecord):
    """Result of one epoch; undefined metrics are NaN."""

    model_config = ConfigDict(ser_json_inf_nan="constants")

    epoch: Count
    """Number of the epoch, from 1 on."""
    time_ms: Milliseconds
    """End of the epoch in milliseconds since 1970, the timestamp of its metrics in MLflow."""
    seconds: Seconds
    """Wall time of training and evaluation."""
    metrics: dict[str, Metric]


class NumberRecord(KeptRecord):
    """Number that a trial learnt, with its statistics over the labelled train images."""

    name: str
    """Column of the number in its table."""
    least: Metric
    largest: Metric
    mean: Metric
    deviation: Metric
    """Standard deviation; 1 if all values are equal. Heads learn (number - mean) / deviation."""


class FinalRecord(KeptRecord):
    """Final record of a trial: its results, and the facts needed to trust and repeat it."""

    time_ms: Milliseconds
    epochs: Count
    seconds: Seconds
    """Wall time of all epochs of the result."""
    workers: Count
    threads: Count
    recomputed: bool = False
    """Whether its steps recomputed activations: slower, with the same results."""
    device: str
    host: str
    versions: dict[str, str]
    train_images: Count
    classes: tuple[str, ...]
    """Names of the probe's outputs."""
    positive: tuple[str, ...] = ()
    """Classes that count as positive; empty without a rule."""
    number: NumberRecord | None = None
    """None if no number was learnt, or by an earlier version."""


class FailureRecord(KeptRecord):
    """Reason of an attempt's failure."""

    time_ms: Milliseconds
    kind: str
    """crash, hung, lost_node, storage, non_finite_loss, out_of_memory or bad_input."""
    message: str


class AttemptRecord(KeptRecord):
    """One attempt at a trial, in any sweep."""

    number: Count
    """Number of the attempt, from 1 on over all sweeps."""
    sweep: str
    started_ms: Milliseconds
    ended_ms: Milliseconds | None = None
    """None while it runs, and after the sweep's process was killed."""
    outcome: str = "running"
    """One of `ORDERLY`, UNREADABLE, or a kind of failure."""
    message: str = ""
    first_epoch: Count | None = None
    last_epoch: Count | None = None
    """Last epoch that it trained."""
    last_ms: Milliseconds | None = None
    """Time of its last sign of life."""
    devices: Annotated[float, Field(ge=0.0, le=1e9)] = 1.0
    """Number of GPUs that it used, or of workers without GPUs."""
    hosts: tuple[str, ...] = ()
    """Hosts of its workers, by rank."""

    @property
    def hours(self) -> float:
        """Return its device-hours."""
        end = self.ended_ms or self.last_ms or self.started_ms
        return self.devices * max(0, end - self.started_ms) / 3_600_000


def now_ms() -> int:
    """Return the time in milliseconds since 1970, the unit of records."""
    return time.time_ns() // 1_000_000
