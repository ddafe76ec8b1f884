"""Tune actor that runs trials: it trains one-worker trials itself and leads a worker group for the others."""

import threading
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import torch
from ray import tune

from sweep.cluster.attempt import ReportedEpoch, failure_of, open_records
from sweep.cluster.ray_names import DRIVER_RESOURCE, HEAD_RESOURCE
from sweep.cluster.worker_group import GroupDiedError, WarmGroup, WorkersMoved
from sweep.cluster.worker_loop import WorkerPlace, this_place
from sweep.console.printing import say
from sweep.scheduling.failure import Failure
from sweep.scheduling.task import TrialTask

RECORD, DURABLE, NOTE, FAILURE, PLACES, GROUP = "record", "durable", "note", "failure", "places", "placement_group"
DRIVER_NODE = "driver_node"
"""Keys of a result: EpochRecord as JSON; whether it is in the storage; how the attempt began; a Failure's fields; the
workers' places; hex id of what must be freed when the driver dies; Ray's id of the driver's machine."""
IDLE_SECONDS = 10.0
"""How long a driver without a trial keeps its workers, which others may wait for."""


class RunningTrial(Protocol):
    """A trial under way."""

    def places(self) -> list[WorkerPlace]:
        """Return where its workers are, by rank."""

    def next(self) -> ReportedEpoch | WorkersMoved | Failure | None:
        """Train the next epoch; None when the trial is finished, WorkersMoved when it has other workers now."""

    def leave(self) -> None:
        """Stop between two epochs, if the trial isn't over."""


class InlineRun:
    """A trial of one worker, trained in this process."""

    def __init__(self, task: TrialTask) -> None:
        self._task = task
        self._device = torch.device("cuda", 0) if task.shape.use_gpu else torch.device("cpu")
        self._records: Iterator[ReportedEpoch] | None = None
        torch.set_num_threads(task.shape.threads)

    def places(self) -> list[WorkerPlace]:
        """Return this process."""
        return [this_place()]

    def next(self) -> ReportedEpoch | Failure | None:
        """Train the next epoch; the generator's end writes the final record."""
        try:
            if self._records is None:
                self._records = open_records(self._task, self._device)
            return next(self._records, None)
        except Exception as error:
            return failure_of(error)

    def leave(self) -> None:
        """Close the generator, which sees its writes through, and drop the model with it."""
        records, self._records = self._records, None
        close = getattr(records, "close", None)
        if close is not None:
            close()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()


class TrialDriver(tune.Trainable):  # type: ignore[misc]
    """One `step()` is one epoch. The actor is reused, and with it the group of workers.

    Failures come back as values, so that the actor lives on; only its own death ends it.
    """

    _group: WarmGroup | None = None
    _run: RunningTrial | None = None
    _idle: threading.Timer | None = None

    @classmethod
    def default_resource_request(cls, config: dict[str, Any]) -> tune.PlacementGroupFactory:
        """Return what the driver holds: what it trains on itself, else its place on a machine that isn't preempted."""
        shape = TrialTask.from_json(config["task"]).shape
        if shape.inline:
            return tune.PlacementGroupFactory([shape.worker_resources()])
        # A driver that held CPUs its workers need would wait for them for ever.
        return tune.PlacementGroupFactory([{DRIVER_RESOURCE: 1.0} if config["drivers"] else {HEAD_RESOURCE: 0.001}])

    def setup(self, config: dict[str, Any]) -> None:
        """Take the first task."""
        self._using = threading.Lock()
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next task; config: task (JSON), log_dir, drivers (whether the cluster has places for drivers)."""
        with self._using:
            self._leave_run()
            self._task = TrialTask.from_json(new_config["task"])
            self._log_dir = Path(new_config["log_dir"])
        return True

    def step(self) -> dict[str, Any]:
        """Return the workers' places, the next epoch's record, a failure, or that the trial is done."""
        with self._using:
            if self._idle is not None:
                self._idle.cancel()
            try:
                if self._run is None:
                    self._run = self._begin()
                    return self._introduce(self._run)
                outcome = self._run.next()
            except GroupDiedError as error:
                self._close_group()
                outcome = Failure(Failure.CRASH, str(error))
            except Exception as error:  # as a value: its class may be one that only workers have
                self._close_group()
                outcome = failure_of(error)
            if isinstance(outcome, WorkersMoved) and self._run is not None:
                return self._introduce(self._run)
            if isinstance(outcome, ReportedEpoch):
                news = {RECORD: outcome.record.model_dump_json(), DURABLE: outcome.durable, NOTE: outcome.note}
                return {"epoch": outcome.record.epoch, **news}
            self._leave_run()
            return {"done": True, FAILURE: asdict(outcome)} if isinstance(outcome, Failure) else {"done": True}

    def leave(self) -> None:
        """Let go of a trial that was told to stop; on return all that it wrote is in the storage."""
        with self._using:
            self._leave_run()

    def cleanup(self) -> None:
        """End the group of workers."""
        with self._using:
            self._leave_run()
            self._close_group()

    def _begin(self) -> RunningTrial:
        shape = self._task.shape
        if shape.inline:
            self._close_group()
            return InlineRun(self._task)
        if self._group is None or not self._group.alive or self._group.shape != shape:
            self._close_group()
            self._group = WarmGroup(shape, self._log_dir)
        self._group.start(self._task)
        return self._group

    def _introduce(self, run: RunningTrial) -> dict[str, Any]:
        group = {} if self._group is None else {GROUP: self._group.placement_group()}
        return {PLACES: [asdict(place) for place in run.places()], DRIVER_NODE: this_place().node, **group}

    def _leave_run(self) -> None:
        if self._run is None:
            return
        run, self._run = self._run, None
        try:
            run.leave()
        except GroupDiedError:
            self._close_group()
        except Exception as error:  # what was left unwritten was trained in vain, and that is all
            say(f"{self._task.name}: {failure_of(error).message}")
        if self._group is not None:
            self._idle = threading.Timer(IDLE_SECONDS, self._give_back)
            self._idle.daemon = True
            self._idle.start()

    def _give_back(self) -> None:
        """Let the workers go when no trial has come for them."""
        with self._using:
            if self._run is None:
                self._close_group()

    def _close_group(self) -> None:
        self._run = None
        if self._group is not None:
            group, self._group = self._group, None
            group.close()
