"""Worker processes that are reused from trial to trial within one `TorchTrainer.fit()`, which is slow to start."""

import contextlib
import os
import pickle
import shutil
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import ray
from ray.exceptions import RayError
from ray.train import FailureConfig, RunConfig, ScalingConfig, WorkerGroupError
from ray.train.torch import TorchTrainer
from ray.util.placement_group import PlacementGroup, remove_placement_group
from ray.util.queue import Empty, Queue

from sweep.cluster.attempt import ReportedEpoch
from sweep.cluster.process_group import OwnGroupConfig
from sweep.cluster.ray_private import orphaned_placement_groups
from sweep.cluster.worker_loop import (
    GO_ON,
    QUIT,
    STOP,
    EpochTrained,
    TrialEnded,
    WorkerFailed,
    WorkerPlace,
    WorkersReady,
    serve,
)
from sweep.planning.resources import TrialShape
from sweep.scheduling.failure import AttemptFailure
from sweep.scheduling.task import TrialTask

POLL_SECONDS = 0.5
END_SECONDS = 60.0
"""Seconds to wait for the end of a broken group."""
QUIT_SECONDS = 8.0
"""Seconds that workers have to end; Tune kills an actor whose cleanup takes longer than 10 s."""
RESIZE_SECONDS = float(os.environ.get("SWEEP_RESIZE_SECONDS", "60"))
"""Seconds between an elastic group's checks for room for more workers."""


class GroupDiedError(RuntimeError):
    """Processes of the group died; a new attempt may succeed."""


@dataclass(frozen=True)
class WorkersMoved:
    """Message that the trial's workers have changed."""


class WarmGroup:
    """Worker group of one shape, and its current trial; usable until `alive` is False."""

    def __init__(self, shape: TrialShape, log_dir: Path) -> None:
        """Start the workers; `log_dir` is the folder of Ray Train's own files while the group lives."""
        self.shape = shape
        self._folder = _own_folder(log_dir)
        self._commands, self._reports = (Queue(actor_options={"num_cpus": 0}) for _ in range(2))
        self._ready: WorkersReady | None = None
        self._task: TrialTask | None = None
        self._busy = self._awaited = False
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._fit, name="warm group", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Return whether the group accepts tasks."""
        return self._thread.is_alive()

    def placement_group(self) -> str:
        """Return the hex id of the workers' placement group, after the workers have started."""
        return self._stand().placement_group

    def places(self) -> list[WorkerPlace]:
        """Return the workers' places by rank, after the workers have started."""
        return self._stand().places

    def start(self, task: TrialTask) -> None:
        """Start a trial; the previous trial must have ended or been left."""
        self._stand()
        self._task = task
        self._commands.put(task.to_json())
        self._busy = True

    def next(self) -> ReportedEpoch | WorkersMoved | AttemptFailure | None:
        """Train the next epoch; return None if the trial is finished.

        Returns WorkersMoved if Ray Train has restarted an elastic group with another number of workers; the trial then
        continues from its last checkpoint.

        Raises:
            GroupDiedError: Worker processes died.
        """
        if self._awaited:
            self._commands.put(GO_ON)
            self._awaited = False
        message = self._receive()
        if isinstance(message, WorkersReady):
            assert self._task is not None
            self._ready = message
            self._commands.put(self._task.to_json())
            return WorkersMoved()
        if isinstance(message, EpochTrained):
            self._awaited = True
            return message.news
        self._busy = False
        if isinstance(message, WorkerFailed):
            self._thread.join(END_SECONDS)
            return message.failure
        assert isinstance(message, TrialEnded)
        return message.failure

    def leave(self) -> None:
        """Stop the current trial between two epochs, if there is one."""
        while self._busy:
            if not self._awaited:
                self.next()
                continue
            self._commands.put(STOP)
            self._awaited = False
            self.next()

    def close(self) -> None:
        """End the workers and free their resources."""
        with contextlib.suppress(RayError):
            if self.alive:
                self._commands.put(QUIT)
        self._thread.join(QUIT_SECONDS)
        if self._ready is not None:
            free_placement_group(self._ready.placement_group)
        for queue in (self._commands, self._reports):
            queue.shutdown(force=True)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _fit(self) -> None:
        shape = self.shape
        trainer = TorchTrainer(
            serve,
            train_loop_config={
                "commands": self._commands,
                "reports": self._reports,
                "threads": shape.threads,
                "backend": "nccl" if shape.use_gpu else "gloo",
            },
            torch_config=OwnGroupConfig(),
            scaling_config=ScalingConfig(
                num_workers=shape.workers if shape.most_workers is None else (shape.workers, shape.most_workers),
                elastic_resize_monitor_interval_s=RESIZE_SECONDS,
                use_gpu=shape.use_gpu,
                resources_per_worker=shape.worker_resources(),
            ),
            run_config=RunConfig(
                name="group",
                storage_path=str(self._folder),
                # The driver handles retries: a group that Ray restarted by itself would have lost its task.
                failure_config=FailureConfig(max_failures=0, max_preemption_failures=0),
            ),
        )
        try:
            trainer.fit()
        except Exception as error:  # in a thread of its own: `_receive` reports it
            self._error = error

    def _stand(self) -> WorkersReady:
        if self._ready is None:
            message = self._receive()
            if isinstance(message, WorkerFailed):
                self._thread.join(END_SECONDS)
                raise GroupDiedError(f"the workers didn't start: {message.failure.message}")
            assert isinstance(message, WorkersReady)
            self._ready = message
        return self._ready

    def _receive(self) -> WorkersReady | EpochTrained | TrialEnded | WorkerFailed:
        while True:
            # Checked first, since the queue still contains messages that workers sent before their end.
            ended = not self.alive
            try:
                message: WorkersReady | EpochTrained | TrialEnded | WorkerFailed = pickle.loads(
                    self._reports.get(timeout=POLL_SECONDS)
                )
                return message
            except Empty:
                if ended:
                    raise GroupDiedError(f"the workers died: {_cause(self._error)}") from self._error


def free_placement_group(hex_id: str) -> None:
    """Remove a placement group if it still exists."""
    with contextlib.suppress(RayError, ValueError):
        remove_placement_group(PlacementGroup(ray.PlacementGroupID.from_hex(hex_id)))


def free_orphans() -> None:
    """Remove this job's placement groups whose creating actor is dead.

    Ray keeps them until the job ends. Ray Train's own cleaner misses a group whose controller died while its workers
    were starting, and detects no deaths without a dashboard.
    """
    with contextlib.suppress(RayError, ValueError):
        for hex_id in orphaned_placement_groups():
            free_placement_group(hex_id)


def _own_folder(log_dir: Path) -> Path:
    # The driver's machine may not have the log folder; Ray Train only needs any folder.
    parent = log_dir if log_dir.is_dir() else None
    return Path(tempfile.mkdtemp(prefix=f"train-{time.time_ns()}-", dir=parent))


def _cause(error: Exception | None) -> str:
    if isinstance(error, WorkerGroupError):
        return "; ".join(f"rank {rank}: {failure}" for rank, failure in error.worker_failures.items())
    return str(error) if error else "the group ended"
