"""Count of each trial's failures, and which of them a lost machine may explain."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from sweep.scheduling.failure import AttemptFailure
from sweep.scheduling.task import TrialTask

SUSPECT_SECONDS = 60.0
"""Seconds after a failure in which the loss of one of its machines may still be detected; Ray takes up to 40 s."""
REVIEW_SECONDS = 5.0
"""Seconds between reviews of suspected failures."""
Review = Callable[[AttemptFailure], AttemptFailure]
"""Function that classifies a failure again, by the present state of its machines."""


def unchanged(failure: AttemptFailure) -> AttemptFailure:
    """Return the failure unchanged: the review if nothing is known about machines."""
    return failure


@dataclass(frozen=True)
class SuspectedFailure:
    """Counted failure that a lost machine may explain."""

    task: TrialTask
    failure: AttemptFailure
    until: float
    """Time from which the failure counts for good."""


@dataclass(frozen=True)
class ExcusedFailure:
    """Failure that a review attributed to a lost machine, and that no longer counts."""

    task: TrialTask
    before: AttemptFailure
    after: AttemptFailure


class FailureTally:
    """Tally of each trial's counted failures, and of those that a lost machine may explain."""

    def __init__(self, most: int, review: Review = unchanged, clock: Callable[[], float] = time.monotonic) -> None:
        """Create the tally; `most` failures of a trial are retried."""
        self._most, self._review, self._clock = most, review, clock
        self._counts: dict[str, int] = {}
        self._last: dict[str, AttemptFailure] = {}
        self._suspects: list[SuspectedFailure] = []
        self._review_at = 0.0

    def add(self, task: TrialTask, failure: AttemptFailure) -> None:
        """Count a failure; if it names machines, it is reviewed later."""
        self._counts[task.trial_id] = self.count(task) + 1
        self._last[task.trial_id] = failure
        if failure.nodes:
            self._suspects.append(SuspectedFailure(task, failure, self._clock() + SUSPECT_SECONDS))

    def count(self, task: TrialTask) -> int:
        """Return the number of counted failures of a trial."""
        return self._counts.get(task.trial_id, 0)

    def exceeded(self, task: TrialTask) -> bool:
        """Return whether the trial has failed more often than the retried number."""
        return self.count(task) > self._most

    def undecided(self, task: TrialTask) -> bool:
        """Return whether one of the trial's failures may still be excused."""
        now = self._clock()
        return any(one.task.trial_id == task.trial_id and now < one.until for one in self._suspects)

    def given_up(self, task: TrialTask) -> AttemptFailure:
        """Return the final failure of a trial that has failed too often."""
        last = self._last[task.trial_id]
        return AttemptFailure(last.kind, f"given up after {self.count(task)} attempts: {last.message}", last.log)

    def review(self, *, at_once: bool = False) -> list[ExcusedFailure]:
        """Review the suspected failures, if it is time; return those that no longer count."""
        now = self._clock()
        if not self._suspects or (now < self._review_at and not at_once):
            return []
        self._review_at = now + REVIEW_SECONDS
        judged = [(one, self._review(one.failure)) for one in self._suspects]
        cleared = [(one, after) for one, after in judged if after.kind == AttemptFailure.LOST_NODE]
        self._suspects = [one for one, after in judged if after.kind != AttemptFailure.LOST_NODE and now < one.until]
        for one, _ in cleared:
            self._counts[one.task.trial_id] -= 1
        return [ExcusedFailure(one.task, one.failure, after) for one, after in cleared]
