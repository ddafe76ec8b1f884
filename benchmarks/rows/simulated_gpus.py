"""Dispatcher of real sweeps with simulated GPUs and a simulated clock."""

import heapq
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.harness.large_grid import EPOCH_SECONDS, EPOCHS
from sweep.planning.resources import TrialShape
from sweep.scheduling.dispatcher import FINISHED, Dispatcher, TrialAttempt, TrialLimits
from sweep.scheduling.failure import AttemptFailure
from sweep.scheduling.listener import GO
from sweep.scheduling.task import TrialTask


@dataclass(frozen=True)
class GpuUse:
    """Utilisation of the simulated GPUs."""

    trials: int
    gpus: int
    busy_while_work_waits: float
    """Share of GPU time spent on training until the last trial starts."""
    busy: float
    """The same until the end of the last trial; GPUs without further work count as idle."""
    microseconds_an_event: float
    """Mean time per event in the main thread."""
    share_of_one_core: float
    """Share of the main thread's time while work is waiting."""


class _SilentListener:
    """Listener that ignores all events."""

    def may_start(self, task: TrialTask) -> str:
        return GO

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_: None


@dataclass(frozen=True)
class _Epoch:
    epoch: int
    seconds: float


class GpuSimulation:
    """Discrete-event simulation of GPUs: one thread handles their events in order, and each costs its real time."""

    def __init__(self, trials: int, gpus: int, seed: int = 0) -> None:
        self._gpus, self._chance = gpus, random.Random(seed)
        self._now, self._free_at, self._worked = 0.0, 0.0, 0.0
        self._training, self._count, self._handled = 0.0, 0, 0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._idle = gpus
        self._shape = TrialShape(1, 1, use_gpu=True)
        self.last_handed_out = 0.0
        self._dispatcher = Dispatcher(
            [self._task(number) for number in range(trials)],
            _SilentListener(),  # type: ignore[arg-type]
            rules=TrialLimits(max_concurrent=gpus),
            clock=lambda: self._now,
        )

    def run(self) -> GpuUse:
        """Run until all trials have ended."""
        trials = len(self._dispatcher.waiting)
        worked_while_waiting, trained_while_waiting = 0.0, 0.0
        self._hand_out()
        while self._events:
            moment, _, handle = heapq.heappop(self._events)
            # An event waits for the thread; what it causes begins when the thread is done with it.
            self._now = max(moment, self._free_at)
            self._timed(handle)
            self._hand_out()
            if self._dispatcher.waiting and self._idle == 0:
                self.last_handed_out = self._now
                worked_while_waiting, trained_while_waiting = self._worked, self._training
        assert self._dispatcher.over
        return GpuUse(
            trials,
            self._gpus,
            trained_while_waiting / (self._gpus * self.last_handed_out) if self.last_handed_out else 0.0,
            self._training / (self._gpus * self._now),
            1e6 * self._worked / self._handled,
            worked_while_waiting / self.last_handed_out if self.last_handed_out else 0.0,
        )

    def _task(self, number: int) -> TrialTask:
        return TrialTask(f"{number:012x}", f"t{number}", {"epochs": EPOCHS}, "", "", "", self._shape)

    def _timed(self, work: Callable[[], None]) -> None:
        start = time.perf_counter()
        work()
        took = time.perf_counter() - start
        self._worked += took
        self._now += took
        self._free_at = self._now
        self._handled += 1

    def _at(self, moment: float, handle: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._events, (moment, self._count, handle))

    def _hand_out(self) -> None:
        while self._idle:
            handed: list[TrialAttempt] = []

            def ask(handed: list[TrialAttempt] = handed) -> None:
                attempt = self._dispatcher.next()
                if isinstance(attempt, TrialAttempt):
                    handed.append(attempt)
                    self._dispatcher.started(attempt)
                    self._dispatcher.placed(attempt, ["host"])
                elif attempt != FINISHED and not self._events:
                    self._at(self._now + 1.0, lambda: None)  # a trial that is to be tried again later

            self._timed(ask)
            if not handed:
                return
            self._idle -= 1
            self._next_epoch(handed[0], 1, self._chance.uniform(0.5, 1.5) * EPOCH_SECONDS)

    def _next_epoch(self, attempt: TrialAttempt, number: int, seconds: float) -> None:
        dies = self._chance.random() < 0.01 / EPOCHS  # a trial in a hundred loses its machine
        self._at(self._now + seconds, lambda: self._lost(attempt) if dies else self._epoch(attempt, number, seconds))

    def _lost(self, attempt: TrialAttempt) -> None:
        self._idle += 1
        self._dispatcher.died(attempt, AttemptFailure(AttemptFailure.LOST_NODE, "lost"))

    def _epoch(self, attempt: TrialAttempt, number: int, seconds: float) -> None:
        self._training += seconds
        self._dispatcher.epoch(attempt, _Epoch(number, seconds))  # type: ignore[arg-type]
        if number < EPOCHS:
            self._next_epoch(attempt, number + 1, seconds)
        else:
            self._idle += 1
            self._dispatcher.ended(attempt)
