"""Loop of a warm group's workers: receive a task, train it together, wait for the next.

Rank 0 exchanges messages with the driver through two queues. It broadcasts each decision to the other ranks through a
separate gloo group, on GPUs too, so that all ranks agree before the next collective operation.
"""

import gc
import os
import pickle
import socket
from dataclasses import dataclass
from typing import Any, TypeVar

import ray
import torch
import torch.distributed as dist
from ray.train.torch import get_device
from ray.util.queue import Empty, Queue

from sweep.cluster.attempt import ReportedEpoch, failure_of, open_records
from sweep.cluster.peer_errors import is_peer_error
from sweep.cluster.process_group import form_process_group
from sweep.scheduling.failure import AttemptFailure
from sweep.scheduling.task import TrialTask
from trainables.errors import NonFiniteLossError

GO_ON, STOP, QUIT = "go on", "stop", "quit"
_WAIT = "wait"
HEARTBEAT_SECONDS = 5.0
"""Seconds that rank 0 waits for a command before it checks its driver and sends the other ranks a heartbeat."""
T = TypeVar("T")


@dataclass(frozen=True)
class WorkerPlace:
    """Place of a worker: its machine and process."""

    host: str
    process: int
    node: str
    """Ray's hex id of the node."""


@dataclass(frozen=True)
class WorkersReady:
    """Message that the workers have started."""

    placement_group: str
    """Hex id; Ray Train leaves the placement group behind if its driver is killed."""
    places: list[WorkerPlace]
    """Places by rank."""


@dataclass(frozen=True)
class EpochTrained:
    """Message of a newly trained epoch; the ranks then wait for GO_ON or STOP."""

    news: ReportedEpoch


@dataclass(frozen=True)
class TrialEnded:
    """Message that the trial has ended; the group continues."""

    failure: AttemptFailure | None


@dataclass(frozen=True)
class WorkerFailed:
    """Message that a single rank failed, which ends the group."""

    failure: AttemptFailure


def own_place() -> WorkerPlace:
    """Return the place of this process."""
    return WorkerPlace(socket.gethostname(), os.getpid(), ray.get_runtime_context().get_node_id())


def serve(settings: dict[str, Any]) -> None:
    """Train loop of every worker: run tasks until QUIT. Settings: commands, reports, threads, backend."""
    torch.set_num_threads(settings["threads"])
    form_process_group(settings["backend"])
    gc.freeze()  # the modules' objects, which the collection after each trial would traverse for 0.2 s
    GroupWorker(settings["commands"], settings["reports"]).run()


class GroupWorker:
    """One rank of a warm group."""

    def __init__(self, commands: Queue, reports: Queue) -> None:
        self.commands, self.reports = commands, reports
        self.leads = dist.get_rank() == 0
        self.control: Any = dist.new_group(backend="gloo")  # torch's type stubs include the value of a non-member
        self.quits = False

    def run(self) -> None:
        """Announce the group, then train one task after another."""
        places = self._gather(own_place())
        self._report(WorkersReady(ray.util.get_current_placement_group().id.hex(), places))
        while (command := self._command()) != QUIT:
            if command in (GO_ON, STOP):  # addressed to the previous workers
                continue
            self._attempt(TrialTask.from_json(command))
            if self.quits:
                return

    def _attempt(self, task: TrialTask) -> None:
        try:
            failure = self._train(task)
        except NonFiniteLossError as error:  # raised on every rank, so the ranks stay in step
            failure = failure_of(error)
        except Exception as error:
            self._give_up(error)
            raise
        gc.collect()
        if get_device().type == "cuda":
            torch.cuda.empty_cache()
        self._report(TrialEnded(failure))

    def _train(self, task: TrialTask) -> AttemptFailure | None:
        try:
            records, fault = open_records(task, get_device()), None
        except Exception as error:  # told to all ranks below
            records, fault = iter(()), failure_of(error)
        # A machine may lack data that others have: no rank starts unless all can.
        faults = [one for one in self._gather(fault) if one is not None]
        if faults:
            return faults[0]
        for news in records:
            self._report(EpochTrained(news))
            command = self._command()
            self.quits = command == QUIT
            if command != GO_ON:
                records.close()  # type: ignore[attr-defined]
                break
        return None

    def _give_up(self, error: Exception) -> None:
        failure = failure_of(error)
        lost_peer = failure.kind == AttemptFailure.CRASH and is_peer_error(failure.message)
        # The lost rank is the cause; the driver learns of it from Ray.
        if not lost_peer:
            self._send(WorkerFailed(failure))

    def _command(self) -> str:
        """Return the driver's next command, on every rank."""
        command = _WAIT
        while command == _WAIT:
            box = [self._next_command() if self.leads else ""]
            dist.broadcast_object_list(box, src=0, group=self.control)
            command = box[0]
        return command

    def _next_command(self) -> str:
        try:
            command: str = self.commands.get(timeout=HEARTBEAT_SECONDS)
        except Empty:
            return _WAIT
        return command

    def _gather(self, value: T) -> list[T]:
        values: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(values, value, group=self.control)
        return values

    def _report(self, message: WorkersReady | EpochTrained | TrialEnded) -> None:
        if self.leads:
            self._send(message)

    def _send(self, message: WorkersReady | EpochTrained | TrialEnded | WorkerFailed) -> None:
        # As bytes: the queue's process would import torch, for two seconds, to know the message's class.
        self.reports.put(pickle.dumps(message))
