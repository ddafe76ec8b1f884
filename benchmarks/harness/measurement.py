"""Two things timed side by side, turn by turn, and the rows of the table that come of it."""

import math
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from benchmarks.harness.machine import OtherProcesses

LEAST_SECONDS = 0.2
"""A turn repeats a short call until it takes so long."""
DISTURBING = 0.05
"""Of all cores' time: from there on others' work is worth a note."""


@dataclass(frozen=True)
class PairedTimings:
    """What two things took in turns of one run; turn by turn they are compared, as machines have moods."""

    ours: tuple[float, ...]
    peer: tuple[float, ...]

    @property
    def ratio(self) -> float:
        """The median over turns of ours over the peer's."""
        return statistics.median(self.ratios)

    @property
    def ratios(self) -> list[float]:
        """Those of each turn."""
        return [ours / peer for ours, peer in zip(self.ours, self.peer, strict=True)]

    def rates(self, work: float, peer_work: float | None = None) -> "PairedTimings":
        """Return the same as so much work a second, of seconds; the peer's work is ours unless it is given."""
        peer_work = work if peer_work is None else peer_work
        return PairedTimings(tuple(work / each for each in self.ours), tuple(peer_work / each for each in self.peer))


@dataclass(frozen=True)
class BenchmarkRow:
    """A measured ratio beside its goal."""

    what: str
    ours: float
    peer: float
    unit: str
    beside: str
    """What the peer is."""
    ratio: float
    spread: tuple[float, float]
    """Least and largest ratio of a turn."""
    goal: float | None = None
    at_most: bool = True
    """Whether the goal is the largest ratio that meets it, else the least."""
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the ratio meets its goal; None without one."""
        if self.goal is None:
            return None
        return self.margin >= 1.0

    @property
    def margin(self) -> float:
        """How many times better the ratio is than its goal: less than 1 where it misses it."""
        assert self.goal is not None
        return self.goal / self.ratio if self.at_most else self.ratio / self.goal


@dataclass(frozen=True)
class PlannedMeasurement:
    """What a row needs before it is measured."""

    what: str
    beside: str
    measure: Callable[[], PairedTimings]
    unit: str = "s"
    goal: float | None = None
    at_most: bool = True
    note: str = ""

    def row(self) -> BenchmarkRow:
        """Measure; where others were at work in between, the note says so."""
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
    """How a cost grows with the work: points (work, cost) and the exponent of a power law through them."""

    what: str
    work: str
    cost: str
    points: list[tuple[float, float]] = field(default_factory=list)
    goal: float | None = None
    """Largest exponent that is wanted."""

    @property
    def exponent(self) -> float:
        """The slope of a straight line through the logarithms, least squares."""
        return exponent(self.points)


def exponent(points: list[tuple[float, float]]) -> float:
    """Return the least-squares slope of log cost over log work; needs two different works."""
    works, costs = ([math.log(each) for each in side] for side in zip(*points, strict=True))
    return statistics.linear_regression(works, costs).slope


def number(value: float) -> str:
    """Return three digits, and no digits behind the point of large numbers."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def beside(
    ours: Callable[[], Any],
    peer: Callable[[], Any],
    *,
    turns: int,
    least_seconds: float = LEAST_SECONDS,
    settle: Callable[[], Any] = lambda: None,
) -> PairedTimings:
    """Return seconds a call of both, `turns` times in turn, after each was warmed up; `settle` ends what is queued."""
    took = list(in_turns([ours, peer], turns=turns, least_seconds=least_seconds, settle=settle))
    return PairedTimings(tuple(each[0] for each in took), tuple(each[1] for each in took))


def in_turns(
    calls: list[Callable[[], Any]],
    *,
    turns: int,
    least_seconds: float = LEAST_SECONDS,
    settle: Callable[[], Any] = lambda: None,
) -> Iterator[list[float]]:
    """Yield seconds a call of each, turn after turn."""
    for call in calls:
        call()  # compiles, allocates, loads
    counts = [max(1, math.ceil(least_seconds / seconds(call, 1, settle))) for call in calls]
    for _ in range(turns):
        yield [seconds(call, count, settle) for call, count in zip(calls, counts, strict=True)]


def seconds(call: Callable[[], Any], count: int = 1, settle: Callable[[], Any] = lambda: None) -> float:
    """Return seconds a call."""
    settle()
    start = time.perf_counter()
    for _ in range(count):
        call()
    settle()
    return (time.perf_counter() - start) / count
