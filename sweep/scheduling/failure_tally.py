"""Count of each trial's failures, and which of them a lost machine may explain."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from sweep.scheduling.failure import Failure
from sweep.scheduling.task import TrialTask

SUSPECT_SECONDS = 60.0
"""How long after a failure the death of one of its machines may still become known; Ray takes up to 40 s."""
REVIEW_SECONDS = 5.0
"""How often suspects are looked at."""
Review = Callable[[Failure], Failure]
"""Judges a failure again, by what is known of its machines now."""


def unchanged(failure: Failure) -> Failure:
    """Return the failure: the review where nothing is known of machines."""
    return failure


@dataclass(frozen=True)
class SuspectedFailure:
    """A counted failure that a lost machine may explain."""

    task: TrialTask
    failure: Failure
    until: float
    """When it stays counted."""


@dataclass(frozen=True)
class ExcusedFailure:
    """A failure that was judged again and counts no more."""

    task: TrialTask
    before: Failure
    after: Failure


class FailureTally:
    """Counted failures of each trial, and the suspects among them."""

    def __init__(self, most: int, review: Review = unchanged, clock: Callable[[], float] = time.monotonic) -> None:
        """Take how many failures of a trial are tried again."""
        self._most, self._review, self._clock = most, review, clock
        self._counts: dict[str, int] = {}
        self._last: dict[str, Failure] = {}
        self._suspects: list[SuspectedFailure] = []
        self._review_at = 0.0

    def add(self, task: TrialTask, failure: Failure) -> None:
        """Count a failure, as a suspect where it names machines."""
        self._counts[task.trial_id] = self.count(task) + 1
        self._last[task.trial_id] = failure
        if failure.nodes:
            self._suspects.append(SuspectedFailure(task, failure, self._clock() + SUSPECT_SECONDS))

    def count(self, task: TrialTask) -> int:
        """Return how many failures of the trial count."""
        return self._counts.get(task.trial_id, 0)

    def exceeded(self, task: TrialTask) -> bool:
        """Return whether the trial has failed more often than is tried again."""
        return self.count(task) > self._most

    def undecided(self, task: TrialTask) -> bool:
        """Return whether one of the trial's failures may still turn out not to count."""
        now = self._clock()
        return any(one.task.trial_id == task.trial_id and now < one.until for one in self._suspects)

    def given_up(self, task: TrialTask) -> Failure:
        """Return the failure that a trial ends with which has failed too often."""
        last = self._last[task.trial_id]
        return Failure(last.kind, f"given up after {self.count(task)} attempts: {last.message}", last.log)

    def review(self, *, at_once: bool = False) -> list[ExcusedFailure]:
        """Judge the suspects again, if it is time; return those that count no more."""
        now = self._clock()
        if not self._suspects or (now < self._review_at and not at_once):
            return []
        self._review_at = now + REVIEW_SECONDS
        judged = [(one, self._review(one.failure)) for one in self._suspects]
        cleared = [(one, after) for one, after in judged if after.kind == Failure.LOST_NODE]
        self._suspects = [one for one, after in judged if after.kind != Failure.LOST_NODE and now < one.until]
        for one, _ in cleared:
            self._counts[one.task.trial_id] -= 1
        return [ExcusedFailure(one.task, one.failure, after) for one, after in cleared]
