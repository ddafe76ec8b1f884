"""Rows around the training steps: evaluation, checkpoints and the start of a command."""

from collections.abc import Callable, Iterator
from functools import cache

from benchmarks.harness.measurement import PairedTimings, PlannedMeasurement
from benchmarks.rows import checkpoint, evaluation, startup

ENCODER, IMAGES, QUERIES = "resnet18", 10_000, 2_048
EVALUATION_GOAL, KNN_GOAL = 1.1, 0.05
WAIT_GOAL, START_GOAL = 0.2, 0.3
"""Goals in seconds."""


def measurements() -> Iterator[PlannedMeasurement]:
    """Yield the measurements for `make bench`."""
    yield PlannedMeasurement(
        f"evaluating {IMAGES:,} images, {ENCODER}, {evaluation.SIDE} px",
        "the bare forward pass over float batches",
        lambda: PairedTimings((_evaluated()["evaluate_seconds"],), (_evaluated()["forward_seconds"],)),
        goal=EVALUATION_GOAL,
    )
    yield PlannedMeasurement(
        f"kNN of {evaluation.QUERIES:,} images among {evaluation.BANK:,}",
        f"an epoch of {evaluation.BANK:,} images, {ENCODER}, {evaluation.SIDE} px",
        lambda: PairedTimings((_evaluated()["knn_seconds"],), (_evaluated()["epoch_seconds"],)),
        goal=KNN_GOAL,
        note=f"by {QUERIES:,} of the images and a few steps of the epoch",
    )
    yield _seconds("what training waits for a checkpoint of ResNet-50", _waits, WAIT_GOAL)
    for command in startup.COMMANDS:
        if command.startswith("sweep"):
            yield _seconds(f"{command}, beyond {startup.BESIDE}", lambda command=command: _beyond(command), START_GOAL)


def _seconds(what: str, measure: Callable[[], float], goal: float) -> PlannedMeasurement:
    """Return a row of seconds, as a ratio to one second."""
    return PlannedMeasurement(what, "1 s", lambda: PairedTimings((measure(),), (1.0,)), goal=goal)


@cache
def _evaluated() -> dict[str, float]:
    return evaluation.measure(encoders=(ENCODER,), images=IMAGES, queries=QUERIES)[ENCODER]


def _waits() -> float:
    return float(checkpoint.measure()["waits_seconds"])


@cache
def _started() -> dict[str, float]:
    return startup.measure()


def _beyond(command: str) -> float:
    return _started()[command] - _started()[startup.BESIDE]
