"""From Tune's callbacks to the listener: which task a result belongs to, and how each trial ended."""

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.experiment import Trial

from sweep.attempt import CRASH, Failure
from sweep.tasks import Listener, TrialTask
from sweep.trial import FAILURE, GROUP, RECORD
from sweep.warm_group import free_placement_group
from trainables.trial_files import EpochRecord, FailureRecord

log = logging.getLogger(__name__)


class Relay(tune.Callback):  # type: ignore[misc]
    """Forwards to the listener in the main process, keeps who is unfinished, and frees what a killed driver left."""

    def __init__(self, tasks: Sequence[TrialTask], log_dir: Path, listener: Listener) -> None:
        self._unfinished = {task.to_json(): task for task in tasks}
        self._log_dir, self._listener = log_dir, listener
        self._placement_groups: dict[str, str] = {}
        self._first_error: Exception | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as a callback that does nothing: Tune writes callbacks to disk, and listeners hold locks."""
        return tune.Callback, ()

    def unfinished(self) -> list[TrialTask]:
        """Return the tasks that neither finished nor failed, in order."""
        return list(self._unfinished.values())

    def raise_first_error(self) -> None:
        """Raise what a listener raised first, if any did."""
        if self._first_error is not None:
            raise self._first_error

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Forward the start of an attempt."""
        self._tell(self._listener.started, _task(trial))

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """Forward an epoch or a failure."""
        if GROUP in result:
            self._placement_groups[trial.trial_id] = result[GROUP]
        if RECORD in result:
            self._tell(self._listener.epoch, _task(trial), EpochRecord.model_validate_json(result[RECORD]))
        if FAILURE in result:
            self._fail(_task(trial), Failure(**result[FAILURE]))

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Forward a good end; a failure was told with its result."""
        self._placement_groups.pop(trial.trial_id, None)
        task = self._unfinished.pop(trial.config["task"], None)
        if task is not None:
            self._tell(self._listener.finished, task)

    def on_trial_recover(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Free the workers of the driver that died, so that the next attempt finds room."""
        self._free(trial)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Forward that Tune gave the trial up."""
        self._free(trial)
        error = trial.get_error()
        first = str(error).strip().split("\n", maxsplit=1)[0]
        self._fail(_task(trial), Failure(CRASH, f"given up after {trial.num_failures} attempts: {first}", str(error)))

    def _free(self, trial: Trial) -> None:
        group = self._placement_groups.pop(trial.trial_id, None)
        if group is not None:
            free_placement_group(group)

    def _fail(self, task: TrialTask, failure: Failure) -> None:
        if self._unfinished.pop(task.to_json(), None) is None:
            return
        now = time.time_ns() // 1_000_000
        message = failure.message
        if failure.traceback:
            path = self._log_dir / f"{task.name}.log"
            with path.open("a", encoding="utf-8") as file:
                file.write(failure.traceback.rstrip() + "\n")
            message = f"{message}; log: {path}"
        self._tell(self._listener.failed, task, FailureRecord(time_ms=now, kind=failure.kind, message=message))

    def _tell(self, hear: Callable[..., None], *news: Any) -> None:
        try:
            hear(*news)
        except Exception as error:
            log.exception("the listener raised")
            self._first_error = self._first_error or error


def _task(trial: Trial) -> TrialTask:
    return TrialTask.from_json(trial.config["task"])
