"""Paired measurement: two calls timed in turns of one run, and the table rows that result."""

import math
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from benchmarks.harness.machine import OtherProcesses

LEAST_SECONDS = 0.2
"""Minimum duration of a turn; a shorter call is repeated."""
DISTURBING = 0.05
"""Share of all cores' time by other processes from which a row gets a note."""


@dataclass(frozen=True)
class PairedTimings:
    """Timings of two calls in the turns of one run; they are compared within a turn, since a machine's speed drifts."""

    ours: tuple[float, ...]
    peer: tuple[float, ...]

    @property
    def ratio(self) -> float:
        """Median over turns of our value over the peer's."""
        return statistics.median(self.ratios)

    @property
    def ratios(self) -> list[float]:
        """Ratio of each turn."""
        return [ours / peer for ours, peer in zip(self.ours, self.peer, strict=True)]

    def rates(self, work: float, peer_work: float | None = None) -> "PairedTimings":
        """Return the seconds as rates, in work per second; the peer's work equals ours unless given."""
        peer_work = work if peer_work is None else peer_work
        return PairedTimings(tuple(work / each for each in self.ours), tuple(peer_work / each for each in self.peer))


@dataclass(frozen=True)
class BenchmarkRow:
    """Measured ratio with its goal."""

    what: str
    ours: float
    peer: float
    unit: str
    beside: str
    """The peer in words."""
    ratio: float
    spread: tuple[float, float]
    """Minimum and maximum ratio over turns."""
    goal: float | None = None
    at_most: bool = True
    """Whether the goal is a maximum; False: a minimum."""
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the ratio meets its goal; None without a goal."""
        if self.goal is None:
            return None
        return self.margin >= 1.0

    @property
    def margin(self) -> float:
        """How many times better than its goal the ratio is; below 1 if it misses the goal."""
        assert self.goal is not None
        return self.goal / self.ratio if self.at_most else self.ratio / self.goal


@dataclass(frozen=True)
class PlannedMeasurement:
    """Row to measure: its words, goal and function."""

    what: str
    beside: str
    measure: Callable[[], PairedTimings]
    unit: str = "s"
    goal: float | None = None
    at_most: bool = True
    note: str = ""

    def row(self) -> BenchmarkRow:
        """Measure the row; it gets a note if other processes were busy meanwhile."""
        others = OtherProcesses()
        found = self.measure()
        share = others.share()
        busy = f"others had {share:.0%} of the cores" if share > DISTURBING and len(found.ours) > 1 else ""
        return BenchmarkRow(
            self.what,
            statistics.median(found.ours),
            statistics.median(found.peer),
            self.unit,
            self.beside,
            found.ratio,
            (min(found.ratios), max(found.ratios)),
            self.goal,
            self.at_most,
            "; ".join(each for each in (self.note, busy) if each),
        )


@dataclass(frozen=True)
class CostGrowth:
    """Growth of a cost with the work: points (work, cost), and the exponent of a power law fitted to them."""

    what: str
    work: str
    cost: str
    points: list[tuple[float, float]] = field(default_factory=list)
    goal: float | None = None
    """Maximum exponent."""

    @property
    def exponent(self) -> float:
        """Slope of the least-squares line through the logarithms."""
        return exponent(self.points)


def exponent(points: list[tuple[float, float]]) -> float:
    """Return the least-squares slope of log cost over log work; it needs two different amounts of work."""
    works, costs = ([math.log(each) for each in side] for side in zip(*points, strict=True))
    return statistics.linear_regression(works, costs).slope


def number(value: float) -> str:
    """Return a number with three significant digits, and large numbers without decimals."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def beside(
    ours: Callable[[], Any],
    peer: Callable[[], Any],
    *,
    turns: int,
    least_seconds: float = LEAST_SECONDS,
    settle: Callable[[], Any] = lambda: None,
) -> PairedTimings:
    """Time two calls in turns, after a warm-up of each.

    Args:
        ours: Call to measure.
        peer: Call to compare with.
        turns: Number of turns.
        least_seconds: Minimum duration of a turn; a shorter call is repeated.
        settle: Function that waits for queued work of the device.

    Returns:
        Seconds per call of both.
    """
    took = list(in_turns([ours, peer], turns=turns, least_seconds=least_seconds, settle=settle))
    return PairedTimings(tuple(each[0] for each in took), tuple(each[1] for each in took))


def in_turns(
    calls: list[Callable[[], Any]],
    *,
    turns: int,
    least_seconds: float = LEAST_SECONDS,
    settle: Callable[[], Any] = lambda: None,
) -> Iterator[list[float]]:
    """Yield the seconds per call of each function, turn by turn."""
    for call in calls:
        call()  # compiles, allocates, loads
    counts = [max(1, math.ceil(least_seconds / seconds(call, 1, settle))) for call in calls]
    for _ in range(turns):
        yield [seconds(call, count, settle) for call, count in zip(calls, counts, strict=True)]


def seconds(call: Callable[[], Any], count: int = 1, settle: Callable[[], Any] = lambda: None) -> float:
    """Return seconds per call."""
    settle()
    start = time.perf_counter()
    for _ in range(count):
        call()
    settle()
    return (time.perf_counter() - start) / count
