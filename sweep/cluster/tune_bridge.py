"""Bridge to Ray Tune, which runs the dispatcher's attempts, reuses actors and waits for free resources.

Each attempt is one Tune trial. Tune's own retries, searches and restore are not used, since they don't read the
records.
"""

import contextlib
import logging
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from sweep.cluster.cluster_watch import ClusterGoneError, reason_gone, settle, watched
from sweep.cluster.failure_diagnosis import explain
from sweep.cluster.ray_names import DRIVER_RESOURCE
from sweep.cluster.ray_private import actor_of, error_file_of
from sweep.cluster.resource_watch import ResourceWatch
from sweep.cluster.session_folder import current_folder
from sweep.cluster.stop_handler import interruptible
from sweep.cluster.trial_actor import DRIVER_NODE, DURABLE, FAILURE, GROUP, NOTE, PLACES, RECORD, TrialDriver
from sweep.cluster.worker_group import free_orphans, free_placement_group
from sweep.console.stop_signals import GRACE_SECONDS, REASONS, StopRequestedError, reason_of
from sweep.scheduling.dispatcher import FINISHED, Dispatcher, TrialAttempt
from sweep.scheduling.failure import AttemptFailure
from trainables.storage.trial_records import EpochRecord

MAX_RESTARTS = 5
"""Maximum restarts of Tune as a whole; it crashes if one of its own actors is killed for lack of memory."""
MOST_PENDING = 1000
MOST_ERROR_TEXT = 1_000_000
ORPHAN_SECONDS, LOOK_SECONDS = 2.0, 120.0
"""Seconds between two searches for orphaned placement groups, and seconds to search after an attempt died."""
CONFIRM_SECONDS = 3.0
"""Seconds from a crash to its report in a joined cluster, which loses its workers before its head when taken down."""
log = logging.getLogger(__name__)


def run_trials(
    dispatcher: Dispatcher,
    *,
    log_dir: Path,
    tick: Callable[[], None] = lambda: None,
    waits: Callable[[str], None] = lambda _: None,
    grace_seconds: float = GRACE_SECONDS,
) -> None:
    """Run attempts until the dispatcher has no more; errors of listeners are raised at the end.

    Needs `connect`. The first signal of REASONS stops the attempts after their current epochs. A second one, but for
    SIGHUP, stops them at once, as does the end of `grace_seconds` after any but Ctrl-C.

    Args:
        dispatcher: Source of attempts, which also receives their results.
        log_dir: Folder for Ray Train's own files while they are needed.
        tick: Callback that is called often.
        waits: Callback for the message on trials that wait for resources; empty once none waits.
        grace_seconds: Seconds from a signal other than Ctrl-C to the immediate stop.

    Raises:
        StopRequestedError: Attempts were stopped at once.
        ClusterGoneError: The joined cluster is gone; running attempts are interrupted.
    """
    log_dir = log_dir.absolute()
    log_dir.mkdir(parents=True, exist_ok=True)
    with interruptible(dispatcher, grace_seconds) as interruption:
        for restarts_left in range(MAX_RESTARTS, -1, -1):
            try:
                _fit(dispatcher, tick, waits, log_dir)
            except KeyboardInterrupt as error:
                dispatcher.interrupt(reason_of(error))
                raise
            except Exception as error:
                _interrupt_if_gone(dispatcher, error)
                log.exception("Ray Tune crashed; starts again: %d", restarts_left)
                if not restarts_left and not interruption.at_once:
                    raise
                dispatcher.lost(explain(error, nodes=[]))
            if interruption.at_once:
                dispatcher.interrupt(REASONS[interruption.at_once])
                raise StopRequestedError(interruption.at_once)
            if dispatcher.stopping or dispatcher.over:
                break
    dispatcher.raise_first_error()


def _interrupt_if_gone(dispatcher: Dispatcher, error: Exception) -> None:
    try:
        settle(error)
    except ClusterGoneError as gone:
        if (watch := watched()) is not None:
            watch.leave()
        dispatcher.interrupt(str(gone))
        raise


def _fit(dispatcher: Dispatcher, tick: Callable[[], None], waits: Callable[[str], None], log_dir: Path) -> None:
    bridge = _TuneBridge(dispatcher, tick, ResourceWatch(waits), log_dir)
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(MOST_PENDING)  # the dispatcher hands out only as many as it wants
    # Tune pickles its own state, so nobody else may write it.
    with tempfile.TemporaryDirectory(prefix="tune-", dir=current_folder(), ignore_cleanup_errors=True) as folder:
        tune.Tuner(
            TrialDriver,
            param_space={},
            tune_config=tune.TuneConfig(
                num_samples=-1,
                search_alg=_AttemptSearch(bridge),
                scheduler=_StopScheduler(bridge),
                reuse_actors=True,
                trial_name_creator=lambda trial: trial.config["name"],
                trial_dirname_creator=lambda trial: trial.trial_id,
            ),
            run_config=tune.RunConfig(
                name="trials",
                storage_path=folder,
                callbacks=[_AttemptCallback(bridge)],
                # The trainer writes its own checkpoints; Tune would take one of a class trainable at the end.
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                failure_config=tune.FailureConfig(max_failures=0),
                verbose=0,
            ),
        ).fit()


@dataclass(frozen=True)
class _Crash:
    """Crash of an attempt that is reported later, unless the whole cluster turns out to be gone."""

    attempt: TrialAttempt
    cause: Exception | AttemptFailure
    nodes: list[str]
    report_at: float


class _TuneBridge:
    """Connection of a dispatcher with one run of Tune."""

    def __init__(self, dispatcher: Dispatcher, tick: Callable[[], None], waiting: ResourceWatch, log_dir: Path) -> None:
        self.dispatcher, self._tick, self._waiting, self._log_dir = dispatcher, tick, waiting, log_dir
        self._has_drivers = DRIVER_RESOURCE in ray.cluster_resources()
        self.attempts: dict[str, TrialAttempt] = {}
        """Attempts by Tune's trial id."""
        self._nodes: dict[str, list[str]] = {}
        self._groups: dict[str, str] = {}
        self._failures: dict[str, AttemptFailure] = {}
        self._actors: dict[str, Any] = {}
        self._leaving: dict[str, Any] = {}
        """Pending answers of stopped drivers, by trial id; they arrive after the last checkpoint is written."""
        self._left: dict[Any, TrialAttempt] = {}
        """Attempts that Tune has released, by their driver's pending answer."""
        self._crashes: list[_Crash] = []
        self._look_at = self._look_until = 0.0
        """Time of the next search for orphans after an attempt died, and time of the last one."""

    def suggest(self, tune_id: str) -> Any:
        self.step()
        attempt = self.dispatcher.next()
        if attempt == FINISHED:
            return Searcher.FINISHED
        if attempt is None:
            return None
        self.attempts[tune_id] = attempt
        task = attempt.task
        config = {"log_dir": str(self._log_dir), "drivers": self._has_drivers}
        return {"name": task.name, "task": task.to_json(), **config}

    def step(self) -> None:
        if reason_gone():
            settle()
        self._tick()
        self._end_left()
        self._report_crashes()
        self._waiting.look(self.dispatcher.running, settle)
        self.dispatcher.review()
        now = time.monotonic()
        if self._look_at <= now < self._look_until:  # processes of a dead driver die a little later
            self._look_at = now + ORPHAN_SECONDS
            settle()
            free_orphans()
        silent = {id(attempt) for attempt in self.dispatcher.silent()}
        for tune_id, attempt in self.attempts.items() if silent else ():
            if id(attempt) in silent and tune_id in self._actors:
                ray.kill(self._actors[tune_id])

    def started(self, trial: Trial) -> None:
        if (actor := actor_of(trial)) is not None:
            self._actors[trial.trial_id] = actor
        self.dispatcher.started(self.attempts[trial.trial_id])

    def result(self, trial: Trial, result: dict[str, Any]) -> bool:
        """Pass a result to the dispatcher; return whether the attempt ends here."""
        attempt = self.attempts[trial.trial_id]
        if PLACES in result:
            self._nodes[trial.trial_id] = [result[DRIVER_NODE], *(place["node"] for place in result[PLACES])]
            if GROUP in result:
                self._groups[trial.trial_id] = result[GROUP]
            self.dispatcher.placed(attempt, [place["host"] for place in result[PLACES]])
        if RECORD not in result:
            return False
        if result[NOTE]:
            self.dispatcher.noted(attempt, result[NOTE])
        record = EpochRecord.model_validate_json(result[RECORD])
        ends = self.dispatcher.epoch(attempt, record, durable=result[DURABLE])
        if ends and (actor := self._actors.get(trial.trial_id)) is not None:
            self._leaving[trial.trial_id] = actor.leave.remote()  # before Tune's own calls to the actor
        return ends

    def failed(self, trial: Trial, failure: AttemptFailure) -> None:
        """Store the failure of an attempt until Tune has released it."""
        self._failures[trial.trial_id] = failure

    def over(self, trial: Trial, error: Exception | None) -> None:
        """Report the end of an attempt to the dispatcher, and free the resources of a dead driver."""
        tune_id = trial.trial_id
        attempt, nodes = self.attempts.pop(tune_id), self._nodes.pop(tune_id, [])
        self._actors.pop(tune_id, None)
        group, failure = self._groups.pop(tune_id, None), self._failures.pop(tune_id, None)
        answer = self._leaving.pop(tune_id, None)
        if error is None and failure is None:
            if answer is None:
                self.dispatcher.ended(attempt)
            else:
                self._left[answer] = attempt
            return
        if error is not None and group is not None:
            free_placement_group(group)
        self._look_until = time.monotonic() + LOOK_SECONDS
        cause = failure if failure is not None else error
        assert cause is not None
        clear = watched() is None or (isinstance(cause, AttemptFailure) and cause.kind != AttemptFailure.CRASH)
        self._crashes.append(_Crash(attempt, cause, nodes, time.monotonic() + (0.0 if clear else CONFIRM_SECONDS)))
        self._report_crashes()

    def _report_crashes(self) -> None:
        """Report the failures whose time has come to the dispatcher."""
        now = time.monotonic()
        due = [crash for crash in self._crashes if crash.report_at <= now]
        self._crashes = [crash for crash in self._crashes if crash.report_at > now]
        for crash in due:
            self.dispatcher.died(crash.attempt, explain(crash.cause, nodes=crash.nodes, attempt=crash.attempt))

    def _end_left(self) -> None:
        """Report stopped attempts to the dispatcher once their drivers have answered or died."""
        if not self._left:
            return
        answered, _ = ray.wait(list(self._left), num_returns=len(self._left), timeout=0)
        for answer in answered:
            self.dispatcher.ended(self._left.pop(answer))


class _AttemptSearch(Searcher):  # type: ignore[misc]
    """Tune search algorithm that supplies the dispatcher's attempts."""

    def __init__(self, bridge: _TuneBridge) -> None:
        super().__init__(metric=None, mode=None)
        self._bridge = bridge

    def suggest(self, trial_id: str) -> Any:
        return self._bridge.suggest(trial_id)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        pass

    def save(self, checkpoint_path: str) -> None:
        Path(checkpoint_path).touch()

    def restore(self, checkpoint_path: str) -> None:
        raise NotImplementedError("a sweep is resumed from its records")

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as nothing: Tune writes its parts to disk, and the dispatcher holds locks and files."""
        return Searcher, ()


class _StopScheduler(FIFOScheduler):  # type: ignore[misc]
    """Tune scheduler that ends a trial after an epoch at the dispatcher's request."""

    def __init__(self, bridge: _TuneBridge) -> None:
        super().__init__()
        self._bridge = bridge

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        decision: str = TrialScheduler.STOP if self._bridge.result(trial, result) else TrialScheduler.CONTINUE
        return decision

    def __reduce__(self) -> tuple[Any, ...]:
        return FIFOScheduler, ()


class _AttemptCallback(tune.Callback):  # type: ignore[misc]
    """Tune callback for the starts and ends of attempts."""

    def __init__(self, bridge: _TuneBridge) -> None:
        self._bridge = bridge

    def on_step_begin(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        self._bridge.step()

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._bridge.started(trial)

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        if FAILURE in result:
            self._bridge.failed(trial, AttemptFailure(**result[FAILURE]))

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._bridge.over(trial, None)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._bridge.over(trial, _error_of(trial))

    def __reduce__(self) -> tuple[Any, ...]:
        return tune.Callback, ()


def _error_of(trial: Trial) -> Exception:
    """Return Tune's error of an actor as text, since only workers may have the error's class."""
    file = error_file_of(trial)
    if file is not None:
        with contextlib.suppress(OSError), file.open(errors="replace") as lines:
            heading, _, text = lines.read(MOST_ERROR_TEXT).strip().partition("\n")
            if text.strip():
                return RuntimeError(text.strip())
            if heading and not heading.startswith("Failure #"):
                return RuntimeError(heading)
    return RuntimeError("the process that drives it died")
