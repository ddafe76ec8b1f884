"""Dispatcher: decides which trial runs next and what follows when one ends; without Ray, MLflow or files.

The caller asks for the `next` attempt while resources are free, and reports the events of each attempt. The clock is a
function, so that a simulation can run faster than real time (benchmarks/rows/simulated_gpus.py).
"""

import heapq
import itertools
import logging
import random
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from sweep.scheduling.failure import Failure
from sweep.scheduling.failure_tally import REVIEW_SECONDS, FailureTally, Review, unchanged
from sweep.scheduling.listener import DONE, GO, WAIT, Listener, Permission
from sweep.scheduling.task import TrialTask
from sweep.scheduling.verdict import WAITING, EpochJudge, Verdict, WaitForOthers

if TYPE_CHECKING:
    from trainables.storage.trial_records import EpochRecord

log = logging.getLogger(__name__)
FINISHED: Literal["finished"] = "finished"
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 60.0
BUSY_PAUSE_SECONDS = 5.0
"""How long a trial that another sweep trains is left alone before it is looked at again."""


class TaskSource(Protocol):
    """Where tasks come from that aren't known yet: a search."""

    def ask(self) -> list[TrialTask]:
        """Return the next tasks; none while results have to be waited for."""

    @property
    def exhausted(self) -> bool:
        """Whether no task will come any more."""


@dataclass
class Attempt:
    """One try at a trial, from its place being asked for to its end."""

    task: TrialTask
    since: float
    """When it was handed out or last heard of."""
    longest: float = 0.0
    """Seconds of its longest epoch so far."""
    placed: bool = False
    """Whether its workers stand; until then it may wait for room, for as long as that takes."""
    stopped: str = ""
    """Why it ends early."""
    waits: bool = False
    """Whether it ends for others to come as far."""
    hung: str = ""
    """Why it was killed."""
    note: str = ""
    """How it began, where that is worth saying."""


@dataclass(frozen=True)
class TrialLimits:
    """Limits of a sweep."""

    max_concurrent: int | None = None
    max_failures: int = 3
    """Failures of a trial that are tried again: crashes and hangs, not lost nodes."""


DEFAULT_RULES = TrialLimits()


@dataclass
class _Book:
    """What is waiting: in order, and those that have to wait for a time."""

    ready: deque[TrialTask] = field(default_factory=deque)
    later: list[tuple[float, int, TrialTask]] = field(default_factory=list)
    _count: "itertools.count[int]" = field(default_factory=itertools.count)

    def __len__(self) -> int:
        return len(self.ready) + len(self.later)

    def postpone(self, task: TrialTask, until: float) -> None:
        heapq.heappush(self.later, (until, next(self._count), task))

    def take(self, now: float) -> TrialTask | None:
        """Return a task whose time has come before one that hasn't run yet, so that trials end."""
        if self.later and self.later[0][0] <= now:
            return heapq.heappop(self.later)[2]
        return self.ready.popleft() if self.ready else None

    def tasks(self) -> list[TrialTask]:
        return [task for _, _, task in sorted(self.later)] + list(self.ready)


class Dispatcher:
    """The tasks of one stage: waiting, running or ended."""

    def __init__(
        self,
        tasks: Iterable[TrialTask],
        listener: Listener,
        *,
        rules: TrialLimits = DEFAULT_RULES,
        source: TaskSource | None = None,
        judge: EpochJudge | None = None,
        review: Review = unchanged,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._book = _Book(deque(tasks))
        self._listener, self._rules, self._source, self._judge, self._clock = listener, rules, source, judge, clock
        self._attempts: dict[str, Attempt] = {}
        self._paused: dict[str, TrialTask] = {}
        self._tally = FailureTally(rules.max_failures, review, clock)
        self._stopped_trials: dict[str, str] = {}
        self._stop = ""
        self._first_error: Exception | None = None

    # Asked by whoever has room

    def next(self) -> Attempt | Literal["finished"] | None:
        """Return an attempt to run; None when there is none at the moment, FINISHED when there won't be any."""
        if self._stop:
            return None if self._attempts else FINISHED
        if self._rules.max_concurrent is not None and len(self._attempts) >= self._rules.max_concurrent:
            return None
        task = self._take()
        if task is not None:
            attempt = self._attempts[task.trial_id] = Attempt(task, self._clock())
            return attempt
        over = not self._attempts and not self._book and (self._source is None or self._source.exhausted)
        return FINISHED if over else None

    def _take(self) -> TrialTask | None:
        now = self._clock()
        for _ in range(len(self._book) + 1):
            task = self._book.take(now)
            if task is not None and self._tally.exceeded(task):
                self._decide(task)
                continue
            if task is None:
                if self._source is None or self._source.exhausted:
                    return None
                self._book.ready.extend(self._source.ask())
                task = self._book.take(now)
            if task is not None and self._is_held(task):
                continue
            permission = GO if task is None else self._permission(task)
            if permission == GO:
                return task
            if permission == DONE and task is not None:
                self._leave(task)
            if permission == WAIT and task is not None:
                # Not all at the same time: of two sweeps that ask at once both are refused.
                self._book.postpone(task, now + random.uniform(0.5, 1.5) * BUSY_PAUSE_SECONDS)
        return None

    def _permission(self, task: TrialTask) -> Permission:
        try:
            return self._listener.may_start(task)
        except Exception as error:
            self._note(error)
            return GO

    # Told by whoever runs them

    def started(self, attempt: Attempt) -> None:
        """Hear that the attempt has its place."""
        attempt.since = self._clock()
        self._tell(self._listener.started, attempt.task)

    def placed(self, attempt: Attempt, hosts: list[str]) -> None:
        """Hear where its workers are."""
        attempt.placed, attempt.since = True, self._clock()
        self._tell(self._listener.placed, attempt.task, hosts)

    def noted(self, attempt: Attempt, note: str) -> None:
        """Hear what a person should know of how the attempt began."""
        if note != attempt.note:
            attempt.note = note
            self._tell(self._listener.noted, attempt.task, note)

    def epoch(self, attempt: Attempt, record: "EpochRecord", *, durable: bool = True) -> bool:
        """Hear of an epoch; return whether the attempt ends here. A trial's last epoch is never cut off."""
        now = self._clock()
        attempt.longest, attempt.since = max(attempt.longest, record.seconds), now
        self._tell(self._listener.epoch, attempt.task, record, durable)
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

    def ended(self, attempt: Attempt) -> None:
        """Hear that the attempt came to its end, or to where it was told to stop."""
        if self._attempts.pop(attempt.task.trial_id, None) is None:
            return
        if not attempt.stopped:
            self._tell(self._listener.finished, attempt.task)
            return
        of_its_own = attempt.task.trial_id in self._stopped_trials
        why = self._stopped_trials.get(attempt.task.trial_id, attempt.stopped)
        self._tell(self._listener.stopped, attempt.task, why, of_its_own)
        if of_its_own:
            self._leave(attempt.task)
        if attempt.waits and not of_its_own:
            self._paused[attempt.task.trial_id] = attempt.task
            self._settle()
        elif not of_its_own:
            self._book.ready.appendleft(attempt.task)

    def died(self, attempt: Attempt, failure: Failure) -> None:
        """Hear that the attempt failed; it is tried again where that can help."""
        task = attempt.task
        if self._attempts.pop(task.trial_id, None) is None:
            return
        if failure.kind == Failure.LOST_NODE:
            self._retry(task, failure, FIRST_PAUSE_SECONDS)
        elif failure.kind in Failure.RETRIED:
            self.review(at_once=True)
            self._tally.add(task, failure)
            if not self._tally.exceeded(task):
                pause = FIRST_PAUSE_SECONDS * 2.0 ** (self._tally.count(task) - 1)
                self._retry(task, failure, min(pause, LONGEST_PAUSE_SECONDS))
            elif self._tally.undecided(task):
                self._tell(self._listener.held, task, failure)
                self._decide(task)
            else:
                self._fail(task, self._tally.given_up(task))
        else:
            self._fail(task, failure)

    def _fail(self, task: TrialTask, failure: Failure) -> None:
        self._tell(self._listener.failed, task, failure)
        self._leave(task)

    def _leave(self, task: TrialTask) -> None:
        """Let nobody wait for a trial."""
        if self._judge is not None:
            self._judge.left(task.trial_id)
            self._settle()

    def _standing(self, task: TrialTask) -> Verdict:
        return None if self._judge is None else self._judge.standing(task.trial_id)

    def _is_held(self, task: TrialTask) -> bool:
        """Return whether a trial about to start is not to: it waits for others, or its setting has ended."""
        standing = self._standing(task)
        if isinstance(standing, WaitForOthers):
            self._paused[task.trial_id] = task
        elif standing is not None:
            self._end(task, standing)
        return standing is not None

    def _settle(self) -> None:
        """Let paused trials go on, or end them, as soon as that is decided."""
        for task in list(self._paused.values()):
            standing = self._standing(task)
            if isinstance(standing, WaitForOthers):
                continue
            del self._paused[task.trial_id]
            if standing is None:
                self._book.ready.appendleft(task)
            else:
                self._end(task, standing)

    def _end(self, task: TrialTask, why: str) -> None:
        self._stopped_trials[task.trial_id] = why
        self._tell(self._listener.stopped, task, why, True)

    def _retry(self, task: TrialTask, failure: Failure, pause: float) -> None:
        self._book.postpone(task, self._clock() + pause)
        self._tell(self._listener.retried, task, failure, pause)

    def _decide(self, task: TrialTask) -> None:
        """Give a trial up that has failed too often, unless a lost machine may still explain it."""
        if self._tally.undecided(task):
            self._book.postpone(task, self._clock() + REVIEW_SECONDS)
        else:
            self._fail(task, self._tally.given_up(task))

    def review(self, *, at_once: bool = False) -> None:
        """Judge failures again that a lost machine may explain, every few seconds."""
        for one in self._tally.review(at_once=at_once):
            self._tell(self._listener.reviewed, one.task, one.before, one.after)

    def lost(self, failure: Failure) -> None:
        """Hear that whoever ran the attempts is gone, and they with it."""
        for attempt in list(self._attempts.values()):
            self.died(attempt, failure)

    def interrupt(self, why: str) -> None:
        """Hear that the attempts under way are gone for a reason that ends the stage; another run goes on with them."""
        self.stop(why)
        for attempt in list(self._attempts.values()):
            attempt.stopped = why
            self.ended(attempt)

    # Steering

    def stop(self, why: str) -> None:
        """Start nothing more, and end every attempt at the end of its epoch."""
        self._stop = self._stop or why

    def stop_trial(self, trial_id: str, why: str) -> None:
        """End one trial at the end of its epoch, or before it starts."""
        self._stopped_trials.setdefault(trial_id, why)
        for task in self.waiting:
            if task.trial_id == trial_id:
                self._paused.pop(trial_id, None)
                self._book.ready = deque(one for one in self._book.ready if one is not task)
                self._book.later = [one for one in self._book.later if one[2] is not task]
                heapq.heapify(self._book.later)
                self._tell(self._listener.stopped, task, why, True)
                self._leave(task)

    @property
    def stopping(self) -> str:
        """Why the stage ends early; empty while it doesn't."""
        return self._stop

    @property
    def running(self) -> list[Attempt]:
        """The attempts under way."""
        return list(self._attempts.values())

    @property
    def waiting(self) -> list[TrialTask]:
        """The tasks that are known and not under way."""
        return self._book.tasks() + list(self._paused.values())

    @property
    def over(self) -> bool:
        """Whether every task ended, one way or the other."""
        return not self._attempts and not self._book and (self._source is None or self._source.exhausted)

    def silent(self) -> list[Attempt]:
        """Return the attempts that were heard of too long ago; whoever runs them ends them."""
        now = self._clock()
        found = []
        for attempt in self._attempts.values():
            patience = max(2.0 * attempt.task.hang_seconds, 10.0 * attempt.longest)
            if attempt.placed and not attempt.hung and now - attempt.since > patience:
                attempt.hung = f"no news of it for {now - attempt.since:.0f} s"
                found.append(attempt)
        return found

    def raise_first_error(self) -> None:
        """Raise what a listener raised first, if any did."""
        if self._first_error is not None:
            raise self._first_error

    def _tell(self, hear: Callable[..., None], *news: object) -> None:
        try:
            hear(*news)
        except Exception as error:
            self._note(error)

    def _note(self, error: Exception) -> None:
        log.error("the listener raised", exc_info=error)
        self._first_error = self._first_error or error
