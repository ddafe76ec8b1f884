"""Records of one trial: of an epoch, an attempt, a failure and the end."""

import math
import time
from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$", max_length=200)]
"""An id or a name that becomes the name of a file or folder."""
Milliseconds = Annotated[int, Field(ge=0, le=253_402_300_799_999)]
"""Since 1970, up to the end of the year 9999."""
Count = Annotated[int, Field(ge=0, le=10**12)]
Seconds = Annotated[float, Field(ge=0.0, le=1e12)]


def _measured(value: float) -> float:
    if LARGEST_METRIC < abs(value) < math.inf:
        raise ValueError(f"must lie within {LARGEST_METRIC:g}, as everything does that is computed of float32 numbers")
    return value


LARGEST_METRIC = 1e100
"""Beyond it the squares of values overflow."""
Metric = Annotated[float, AfterValidator(_measured)]
"""A metric's value, or NaN or an infinity where it is undefined."""


ORDERLY = ("running", "finished", "stopped", "interrupted")
"""Outcomes of an attempt that are no failures."""
UNREADABLE = "unreadable"
"""Outcome of an attempt whose record is damaged: when and where it ran, and what it cost, isn't known."""


class KeptRecord(BaseModel):
    """A record that keeps what a later version wrote into it, also when it is written again."""

    model_config = ConfigDict(frozen=True, extra="allow")

    def later_values(self) -> Iterable[str]:
        """Return names, within values without fields of their own, that this version doesn't know."""
        return ()


class ConfigRecord(KeptRecord):
    """What is trained in a trial's folder."""

    fingerprint: str
    """Of the data."""
    config: dict[str, Any]


class EpochRecord(KeptRecord):
    """What one epoch gave; NaN where a metric is undefined."""

    model_config = ConfigDict(ser_json_inf_nan="constants")

    epoch: Count
    """1-based."""
    time_ms: Milliseconds
    """Milliseconds since 1970 when the epoch ended; MLflow's timestamp of its metrics."""
    seconds: Seconds
    """Wall time of training and evaluation."""
    metrics: dict[str, Metric]


class NumberRecord(KeptRecord):
    """The number that a trial learned, and its values over the labelled train images."""

    name: str
    """Column of the table that it came from."""
    least: Metric
    largest: Metric
    mean: Metric
    deviation: Metric
    """Standard deviation; 1 where all values are equal. Heads learn (number - mean) / deviation."""


class FinalRecord(KeptRecord):
    """That and how a trial ended, with what a person needs to trust and repeat it."""

    time_ms: Milliseconds
    epochs: Count
    seconds: Seconds
    """Wall time of all epochs that led here."""
    workers: Count
    threads: Count
    recomputed: bool = False
    """Whether its steps computed activations again: slower, with the same results."""
    device: str
    host: str
    versions: dict[str, str]
    train_images: Count
    classes: tuple[str, ...]
    """Names of the probe's outputs."""
    positive: tuple[str, ...] = ()
    """Those that count as positive; none without a rule."""
    number: NumberRecord | None = None
    """None: no number was learned, or by an earlier version."""


class FailureRecord(KeptRecord):
    """Why an attempt failed."""

    time_ms: Milliseconds
    kind: str
    """crash, hung, lost_node, storage, non_finite_loss, out_of_memory or bad_input."""
    message: str


class AttemptRecord(KeptRecord):
    """One attempt at a trial, by whichever sweep."""

    number: Count
    """1-based, over all sweeps."""
    sweep: str
    started_ms: Milliseconds
    ended_ms: Milliseconds | None = None
    """None while it runs, and when whoever ran the sweep was killed."""
    outcome: str = "running"
    """One of `ORDERLY`, UNREADABLE, or a kind of failure."""
    message: str = ""
    first_epoch: Count | None = None
    last_epoch: Count | None = None
    """The epochs that it trained."""
    last_ms: Milliseconds | None = None
    """When it was last heard of."""
    devices: Annotated[float, Field(ge=0.0, le=1e9)] = 1.0
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
