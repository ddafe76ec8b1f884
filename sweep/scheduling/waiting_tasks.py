"""Waiting tasks of a stage: in order, and those with a time before which they must not start."""

import heapq
import itertools
from collections import deque
from collections.abc import Iterable

from sweep.scheduling.task import TrialTask


class WaitingTasks:
    """Queue of tasks; postponed tasks whose time has come are first, so that trials get finished."""

    def __init__(self, tasks: Iterable[TrialTask]) -> None:
        self._ready = deque(tasks)
        self._later: list[tuple[float, int, TrialTask]] = []
        """Postponed tasks as a heap: time, running number, task."""
        self._count = itertools.count()

    def __len__(self) -> int:
        return len(self._ready) + len(self._later)

    def append(self, tasks: Iterable[TrialTask]) -> None:
        """Add tasks at the end."""
        self._ready.extend(tasks)

    def put_first(self, task: TrialTask) -> None:
        """Add a task before those that have no time."""
        self._ready.appendleft(task)

    def postpone(self, task: TrialTask, until: float) -> None:
        """Add a task that must not start before a time."""
        heapq.heappush(self._later, (until, next(self._count), task))

    def take(self, now: float) -> TrialTask | None:
        """Remove and return the next task; None if none may start now."""
        if self._later and self._later[0][0] <= now:
            return heapq.heappop(self._later)[2]
        return self._ready.popleft() if self._ready else None

    def remove(self, task: TrialTask) -> None:
        """Remove a task, if it is here."""
        self._ready = deque(one for one in self._ready if one is not task)
        self._later = [one for one in self._later if one[2] is not task]
        heapq.heapify(self._later)

    def tasks(self) -> list[TrialTask]:
        """Return all tasks: postponed ones by time, then the others in order."""
        return [task for _, _, task in sorted(self._later)] + list(self._ready)
