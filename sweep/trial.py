"""The Tune actor that drives trial after trial: it trains one of one worker itself, and leads a group for several."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import torch
from ray import tune

from sweep.attempt import Failure, failure_of, open_records
from sweep.tasks import TrialShape, TrialTask
from sweep.warm_group import GroupDiedError, WarmGroup
from trainables.trial_files import EpochRecord

RECORD, FAILURE, GROUP = "record", "failure", "placement_group"
"""Keys of a result: EpochRecord as JSON; a Failure's fields; hex id of what must be freed when the driver dies."""


class Run(Protocol):
    """A trial under way."""

    def next(self) -> EpochRecord | Failure | None:
        """Train the next epoch; None when the trial is finished."""

    def leave(self) -> None:
        """Stop between two epochs, if the trial isn't over."""


class InlineRun:
    """A trial of one worker, trained in this process."""

    def __init__(self, task: TrialTask, shape: TrialShape) -> None:
        self._task = task
        self._device = torch.device("cuda", 0) if shape.use_gpu else torch.device("cpu")
        self._records: Iterator[EpochRecord] | None = None
        torch.set_num_threads(shape.threads)

    def next(self) -> EpochRecord | Failure | None:
        """Train the next epoch; the generator's end writes the final record."""
        try:
            if self._records is None:
                self._records = open_records(self._task, self._device)
            return next(self._records, None)
        except Exception as error:
            return failure_of(error)

    def leave(self) -> None:
        """Drop the generator, and with it the model."""
        self._records = None
        if self._device.type == "cuda":
            torch.cuda.empty_cache()


class TrialDriver(tune.Trainable):  # type: ignore[misc]
    """One `step()` is one epoch. The actor is reused, and with it the group of workers.

    Failures come back as values: Tune would at once retry an exception that can't be mended. Only the death of a
    process is raised, and the next attempt resumes from the trial's own checkpoint.
    """

    _group: WarmGroup | None = None
    _run: Run | None = None

    def setup(self, config: dict[str, Any]) -> None:
        """Take the first task."""
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next task; config: task (JSON), workers, threads, use_gpu, log_dir."""
        self._leave_run()
        self._task = TrialTask.from_json(new_config["task"])
        self._shape = TrialShape(new_config["workers"], new_config["threads"], new_config["use_gpu"])
        self._log_dir = Path(new_config["log_dir"])
        return True

    def step(self) -> dict[str, Any]:
        """Return the next epoch's record, a failure, or that the trial is done."""
        try:
            if self._run is None:
                self._run = self._begin()
                if self._group is not None:
                    return {GROUP: self._group.placement_group()}
            outcome = self._run.next()
        except GroupDiedError:
            self._close_group()
            raise
        if isinstance(outcome, EpochRecord):
            return {"epoch": outcome.epoch, RECORD: outcome.model_dump_json()}
        self._leave_run()
        return {"done": True} if outcome is None else {"done": True, FAILURE: outcome.as_dict()}

    def cleanup(self) -> None:
        """End the group of workers."""
        self._leave_run()
        self._close_group()

    def _begin(self) -> Run:
        if self._shape.workers == 1:
            self._close_group()
            return InlineRun(self._task, self._shape)
        if self._group is None or not self._group.alive or self._group.shape != self._shape:
            self._close_group()
            self._group = WarmGroup(self._shape, self._log_dir)
        self._group.start(self._task)
        return self._group

    def _leave_run(self) -> None:
        if self._run is None:
            return
        run, self._run = self._run, None
        try:
            run.leave()
        except GroupDiedError:
            self._close_group()

    def _close_group(self) -> None:
        self._run = None
        if self._group is not None:
            group, self._group = self._group, None
            group.close()
