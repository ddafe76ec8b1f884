"""Dispatcher: decides which trial runs next and what follows when one ends; without Ray, MLflow or files.

The caller asks for the `next` attempt while resources are free, and reports the events of each attempt. The clock is a
function, so that a simulation can run faster than real time (benchmarks/rows/simulated_gpus.py).
"""

import logging
import random
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from sweep.scheduling.failure import AttemptFailure
from sweep.scheduling.failure_tally import REVIEW_SECONDS, FailureTally, Review, unchanged
from sweep.scheduling.listener import DONE, GO, DispatchListener, Permission
from sweep.scheduling.task import TrialTask
from sweep.scheduling.verdict import WAITING, EpochJudge, Verdict, WaitForOthers
from sweep.scheduling.waiting_tasks import WaitingTasks

if TYPE_CHECKING:
    from trainables.storage.trial_records import EpochRecord

log = logging.getLogger(__name__)
FINISHED: Literal["finished"] = "finished"
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 60.0
BUSY_PAUSE_SECONDS = 5.0
"""Seconds between checks of a trial that another sweep is training."""


class TaskSource(Protocol):
    """Source of further tasks, such as a search."""

    def ask(self) -> list[TrialTask]:
        """Return the next tasks; empty while results are pending."""

    @property
    def exhausted(self) -> bool:
        """Whether no further task will come."""


@dataclass
class TrialAttempt:
    """One attempt at a trial, from the request for resources to its end."""

    task: TrialTask
    since: float
    """Time of its start or last event."""
    longest: float = 0.0
    """Duration of its longest epoch so far, seconds."""
    placed: bool = False
    """Whether its workers have started; before, it may wait for free resources without limit."""
    stopped: str = ""
    """Reason for an early end."""
    waits: bool = False
    """Whether it pauses until other seeds reach the same epoch."""
    hung: str = ""
    """Reason why it was killed as hung."""
    note: str = ""
    """Note about its start, for the user."""


@dataclass(frozen=True)
class TrialLimits:
    """Limits of a sweep: concurrent trials, and failures per trial."""

    max_concurrent: int | None = None
    max_failures: int = 3
    """Number of a trial's failures that are retried: crashes and hangs; lost nodes don't count."""


DEFAULT_RULES = TrialLimits()


class Dispatcher:
    """Dispatcher of the tasks of one stage, which are waiting, running or ended."""

    def __init__(
        self,
        tasks: Iterable[TrialTask],
        listener: DispatchListener,
        *,
        rules: TrialLimits = DEFAULT_RULES,
        source: TaskSource | None = None,
        judge: EpochJudge | None = None,
        review: Review = unchanged,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._waiting = WaitingTasks(tasks)
        self._listener, self._rules, self._source, self._judge, self._clock = listener, rules, source, judge, clock
        self._attempts: dict[str, TrialAttempt] = {}
        self._paused: dict[str, TrialTask] = {}
        self._tally = FailureTally(rules.max_failures, review, clock)
        self._stopped_trials: dict[str, str] = {}
        self._stop = ""
        self._first_error: Exception | None = None

    # Called by the runner of attempts when it has free resources

    def next(self) -> TrialAttempt | Literal["finished"] | None:
        """Return an attempt to run; None if there is none at the moment, FINISHED if there won't be another."""
        if self._stop:
            return None if self._attempts else FINISHED
        if self._rules.max_concurrent is not None and len(self._attempts) >= self._rules.max_concurrent:
            return None
        task = self._take()
        if task is not None:
            attempt = self._attempts[task.trial_id] = TrialAttempt(task, self._clock())
            return attempt
        return FINISHED if self.over else None

    def _take(self) -> TrialTask | None:
        """Return the next task that may start; tasks that may not are ended, paused or postponed."""
        now = self._clock()
        for _ in range(len(self._waiting) + 1):
            task = self._waiting.take(now) or self._asked(now)
            if task is None:
                return None
            if self._tally.exceeded(task):
                self._decide(task)
            elif not self._is_held(task):
                permission = self._permission(task)
                if permission == GO:
                    return task
                if permission == DONE:
                    self._leave(task)
                else:
                    # Not all at the same time: of two sweeps that ask at once both are refused.
                    self._waiting.postpone(task, now + random.uniform(0.5, 1.5) * BUSY_PAUSE_SECONDS)
        return None

    def _asked(self, now: float) -> TrialTask | None:
        """Return a task that the source adds now, if there is a source."""
        if self._source is None or self._source.exhausted:
            return None
        self._waiting.append(self._source.ask())
        return self._waiting.take(now)

    def _permission(self, task: TrialTask) -> Permission:
        try:
            return self._listener.may_start(task)
        except Exception as error:
            self._note(error)
            return GO

    # Called by the runner of attempts, at each event

    def started(self, attempt: TrialAttempt) -> None:
        """Record that the attempt has its resources."""
        attempt.since = self._clock()
        self._notify(self._listener.started, attempt.task)

    def placed(self, attempt: TrialAttempt, hosts: list[str]) -> None:
        """Record the hosts of its workers."""
        attempt.placed, attempt.since = True, self._clock()
        self._notify(self._listener.placed, attempt.task, hosts)

    def noted(self, attempt: TrialAttempt, note: str) -> None:
        """Record a note for the user about the attempt's start."""
        if note != attempt.note:
            attempt.note = note
            self._notify(self._listener.noted, attempt.task, note)

    def epoch(self, attempt: TrialAttempt, record: "EpochRecord", *, durable: bool = True) -> bool:
        """Record an epoch; return whether the attempt ends here. The end of the last epoch is never cut off."""
        now = self._clock()
        attempt.longest, attempt.since = max(attempt.longest, record.seconds), now
        self._notify(self._listener.epoch, attempt.task, record, durable)
        if record.epoch >= attempt.task.config["epochs"]:
            return False
        judged = self._judge.verdict(attempt.task, record) if self._judge is not None else None
        if isinstance(judged, WaitForOthers):
            attempt.waits, attempt.stopped = True, WAITING
            return True
        self._settle()
        stopped = judged or self._stopped_trials.get(attempt.task.trial_id, "")
        if stopped:
            self._stopped_trials[attempt.task.trial_id] = stopped
        attempt.stopped = stopped or self._stop
        return bool(attempt.stopped)

    def ended(self, attempt: TrialAttempt) -> None:
        """Record that the attempt ended: it finished the trial or stopped as requested."""
        if self._attempts.pop(attempt.task.trial_id, None) is None:
            return
        if not attempt.stopped:
            self._notify(self._listener.finished, attempt.task)
            return
        of_its_own = attempt.task.trial_id in self._stopped_trials
        why = self._stopped_trials.get(attempt.task.trial_id, attempt.stopped)
        self._notify(self._listener.stopped, attempt.task, why, of_its_own)
        if of_its_own:
            self._leave(attempt.task)
        if attempt.waits and not of_its_own:
            self._paused[attempt.task.trial_id] = attempt.task
            self._settle()
        elif not of_its_own:
            self._waiting.put_first(attempt.task)

    def died(self, attempt: TrialAttempt, failure: AttemptFailure) -> None:
        """Record that the attempt failed; it is retried if that can help."""
        task = attempt.task
        if self._attempts.pop(task.trial_id, None) is None:
            return
        if failure.kind == AttemptFailure.LOST_NODE:
            self._retry(task, failure, FIRST_PAUSE_SECONDS)
        elif failure.kind in AttemptFailure.RETRIED:
            self.review(at_once=True)
            self._tally.add(task, failure)
            if not self._tally.exceeded(task):
                pause = FIRST_PAUSE_SECONDS * 2.0 ** (self._tally.count(task) - 1)
                self._retry(task, failure, min(pause, LONGEST_PAUSE_SECONDS))
            elif self._tally.undecided(task):
                self._notify(self._listener.held, task, failure)
                self._decide(task)
            else:
                self._fail(task, self._tally.given_up(task))
        else:
            self._fail(task, failure)

    def _fail(self, task: TrialTask, failure: AttemptFailure) -> None:
        self._notify(self._listener.failed, task, failure)
        self._leave(task)

    def _leave(self, task: TrialTask) -> None:
        """Release the trials that wait for this one."""
        if self._judge is not None:
            self._judge.left(task.trial_id)
            self._settle()

    def _standing(self, task: TrialTask) -> Verdict:
        return None if self._judge is None else self._judge.standing(task.trial_id)

    def _is_held(self, task: TrialTask) -> bool:
        """Return whether a trial must not start: it waits for other seeds, or its setting has ended."""
        standing = self._standing(task)
        if isinstance(standing, WaitForOthers):
            self._paused[task.trial_id] = task
        elif standing is not None:
            self._end(task, standing)
        return standing is not None

    def _settle(self) -> None:
        """Continue or end paused trials whose rung is decided."""
        for task in list(self._paused.values()):
            standing = self._standing(task)
            if isinstance(standing, WaitForOthers):
                continue
            del self._paused[task.trial_id]
            if standing is None:
                self._waiting.put_first(task)
            else:
                self._end(task, standing)

    def _end(self, task: TrialTask, why: str) -> None:
        self._stopped_trials[task.trial_id] = why
        self._notify(self._listener.stopped, task, why, True)

    def _retry(self, task: TrialTask, failure: AttemptFailure, pause: float) -> None:
        self._waiting.postpone(task, self._clock() + pause)
        self._notify(self._listener.retried, task, failure, pause)

    def _decide(self, task: TrialTask) -> None:
        """Give up a trial that has failed too often, unless a lost machine may still explain a failure."""
        if self._tally.undecided(task):
            self._waiting.postpone(task, self._clock() + REVIEW_SECONDS)
        else:
            self._fail(task, self._tally.given_up(task))

    def review(self, *, at_once: bool = False) -> None:
        """Review, every few seconds, the failures that a lost machine may explain."""
        for one in self._tally.review(at_once=at_once):
            self._notify(self._listener.reviewed, one.task, one.before, one.after)

    def lost(self, failure: AttemptFailure) -> None:
        """Record that all running attempts were lost together with their runner."""
        for attempt in list(self._attempts.values()):
            self.died(attempt, failure)

    def interrupt(self, why: str) -> None:
        """Record that all running attempts were interrupted and the stage ends; another run continues them."""
        self.stop(why)
        for attempt in list(self._attempts.values()):
            attempt.stopped = why
            self.ended(attempt)

    # Steering

    def stop(self, why: str) -> None:
        """Start no further attempt, and end each running one at the end of its epoch."""
        self._stop = self._stop or why

    def stop_trial(self, trial_id: str, why: str) -> None:
        """End one trial at the end of its epoch, or before it starts."""
        self._stopped_trials.setdefault(trial_id, why)
        for task in self.waiting:
            if task.trial_id == trial_id:
                self._paused.pop(trial_id, None)
                self._waiting.remove(task)
                self._notify(self._listener.stopped, task, why, True)
                self._leave(task)

    @property
    def stopping(self) -> str:
        """Reason why the stage ends early; empty if it doesn't."""
        return self._stop

    @property
    def running(self) -> list[TrialAttempt]:
        """Running attempts."""
        return list(self._attempts.values())

    @property
    def waiting(self) -> list[TrialTask]:
        """Known tasks that aren't running."""
        return self._waiting.tasks() + list(self._paused.values())

    @property
    def over(self) -> bool:
        """Whether every task has ended, with or without success."""
        return not self._attempts and not self._waiting and (self._source is None or self._source.exhausted)

    def silent(self) -> list[TrialAttempt]:
        """Return the attempts without an event for too long; the caller must end them."""
        now = self._clock()
        found = []
        for attempt in self._attempts.values():
            patience = max(2.0 * attempt.task.hang_seconds, 10.0 * attempt.longest)
            if attempt.placed and not attempt.hung and now - attempt.since > patience:
                attempt.hung = f"no news of it for {now - attempt.since:.0f} s"
                found.append(attempt)
        return found

    def raise_first_error(self) -> None:
        """Raise the first exception of a listener, if there was one."""
        if self._first_error is not None:
            raise self._first_error

    def _notify(self, handler: Callable[..., None], *arguments: object) -> None:
        try:
            handler(*arguments)
        except Exception as error:
            self._note(error)

    def _note(self, error: Exception) -> None:
        log.error("the listener raised", exc_info=error)
        self._first_error = self._first_error or error
