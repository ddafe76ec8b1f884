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
from sweep.cluster.worker_loop import WorkerPlace, own_place
from sweep.console.printing import say
from sweep.scheduling.failure import AttemptFailure
from sweep.scheduling.task import TrialTask

RECORD, DURABLE, NOTE, FAILURE, PLACES, GROUP = "record", "durable", "note", "failure", "places", "placement_group"
DRIVER_NODE = "driver_node"
"""Keys of a result: EpochRecord as JSON; whether it is durable; remark on the attempt's start; fields of an
AttemptFailure; the workers' places; hex id of the placement group to free if the driver dies; Ray's id of the driver's
node.
"""
IDLE_SECONDS = 10.0
"""Seconds that a driver without a trial keeps its workers, whose resources others may need."""


class RunningTrial(Protocol):
    """Interface of a trial that is being trained."""

    def places(self) -> list[WorkerPlace]:
        """Return the workers' places, by rank."""

    def next(self) -> ReportedEpoch | WorkersMoved | AttemptFailure | None:
        """Train the next epoch; return None if the trial is finished, WorkersMoved if its workers have changed."""

    def leave(self) -> None:
        """Stop between two epochs, unless the trial has ended."""


class InlineRun:
    """Trial with one worker, trained in this process."""

    def __init__(self, task: TrialTask) -> None:
        self._task = task
        self._device = torch.device("cuda", 0) if task.shape.use_gpu else torch.device("cpu")
        self._records: Iterator[ReportedEpoch] | None = None
        torch.set_num_threads(task.shape.threads)

    def places(self) -> list[WorkerPlace]:
        """Return the place of this process."""
        return [own_place()]

    def next(self) -> ReportedEpoch | AttemptFailure | None:
        """Train the next epoch; the generator writes the final record at its end."""
        try:
            if self._records is None:
                self._records = open_records(self._task, self._device)
            return next(self._records, None)
        except Exception as error:  # any error of a trial: its kind decides what follows
            return failure_of(error)

    def leave(self) -> None:
        """Close the generator, which completes its writes, and drop the model."""
        records, self._records = self._records, None
        close = getattr(records, "close", None)
        if close is not None:
            close()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()


class TrialDriver(tune.Trainable):  # type: ignore[misc]
    """Tune actor that trains one epoch per `step()`; actor and worker group are reused for further trials.

    Failures are returned as values, so that the actor survives them.
    """

    _group: WarmGroup | None = None
    _run: RunningTrial | None = None
    _idle: threading.Timer | None = None

    @classmethod
    def default_resource_request(cls, config: dict[str, Any]) -> tune.PlacementGroupFactory:
        """Return the driver's resources: the worker's if it trains itself, else a place on a non-preemptible node."""
        shape = TrialTask.from_json(config["task"]).shape
        if shape.inline:
            return tune.PlacementGroupFactory([shape.worker_resources()])
        # A driver that held its workers' CPUs would wait for them forever.
        return tune.PlacementGroupFactory([{DRIVER_RESOURCE: 1.0} if config["drivers"] else {HEAD_RESOURCE: 0.001}])

    def setup(self, config: dict[str, Any]) -> None:
        """Start the first task."""
        self._using = threading.Lock()
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Start the next task; config: task (JSON), log_dir, drivers (whether the cluster has places for drivers)."""
        with self._using:
            self._leave_run()
            self._task = TrialTask.from_json(new_config["task"])
            self._log_dir = Path(new_config["log_dir"])
        return True

    def step(self) -> dict[str, Any]:
        """Return the workers' places, the next epoch's record, a failure, or the end of the trial."""
        with self._using:
            if self._idle is not None:
                self._idle.cancel()
            try:
                if self._run is None:
                    self._run = self._begin()
                    return self._started_message(self._run)
                outcome = self._run.next()
            except GroupDiedError as error:
                self._close_group()
                outcome = AttemptFailure(AttemptFailure.CRASH, str(error))
            except Exception as error:  # returned as a value, since only workers may have its class
                self._close_group()
                outcome = failure_of(error)
            if isinstance(outcome, WorkersMoved) and self._run is not None:
                return self._started_message(self._run)
            if isinstance(outcome, ReportedEpoch):
                news = {RECORD: outcome.record.model_dump_json(), DURABLE: outcome.durable, NOTE: outcome.note}
                return {"epoch": outcome.record.epoch, **news}
            self._leave_run()
            return {"done": True, FAILURE: asdict(outcome)} if isinstance(outcome, AttemptFailure) else {"done": True}

    def leave(self) -> None:
        """Leave a stopped trial; on return all of its writes are in the storage."""
        with self._using:
            self._leave_run()

    def cleanup(self) -> None:
        """End the worker group."""
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

    def _started_message(self, run: RunningTrial) -> dict[str, Any]:
        group = {} if self._group is None else {GROUP: self._group.placement_group()}
        return {PLACES: [asdict(place) for place in run.places()], DRIVER_NODE: own_place().node, **group}

    def _leave_run(self) -> None:
        if self._run is None:
            return
        run, self._run = self._run, None
        try:
            run.leave()
        except GroupDiedError:
            self._close_group()
        except Exception as error:  # the only consequence is that unwritten epochs are lost
            say(f"{self._task.name}: {failure_of(error).message}")
        if self._group is not None:
            self._idle = threading.Timer(IDLE_SECONDS, self._give_back)
            self._idle.daemon = True
            self._idle.start()

    def _give_back(self) -> None:
        """End the workers if no further trial has come."""
        with self._using:
            if self._run is None:
                self._close_group()

    def _close_group(self) -> None:
        self._run = None
        if self._group is not None:
            group, self._group = self._group, None
            group.close()
