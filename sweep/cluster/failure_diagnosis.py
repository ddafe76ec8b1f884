"""Causes of a failed attempt: crash, hang, lost node, out of memory."""

import re
from collections.abc import Iterable
from dataclasses import replace

import ray
from ray.exceptions import OutOfMemoryError, RayActorError, RayError

from sweep.cluster.cluster_watch import settle
from sweep.cluster.peer_errors import is_peer_error
from sweep.cluster.ray_private import death_heading
from sweep.planning.dataset_sizes import size_of
from sweep.planning.memory_budget import advice
from sweep.planning.trial import PlannedTrial
from sweep.scheduling.dispatcher import Attempt
from sweep.scheduling.failure import Failure
from sweep.scheduling.task import TrialTask
from trainables.config import TrialConfig
from trainables.errors import BadInputError
from trainables.memory.ledger import Device
from trainables.storage.filesystem import Storage
from trainables.storage.trial_files import TrialFiles

_MEMORY = re.compile(r"OutOfMemoryError|NODE_OUT_OF_MEMORY|running low on memory|memory pressure|out of memory", re.I)
_UNREACHABLE = re.compile(r"the actor \S+ is unavailable", re.IGNORECASE)
_NODE = re.compile(r"node (has )?(died|was dead)|its node|NodeDied|preempt", re.IGNORECASE)


def explain(cause: Exception | Failure, *, nodes: Iterable[str], attempt: Attempt | None = None) -> Failure:
    """Return what a failure that was told, or an error of Ray's, is: by its text, its nodes and the trial's files."""
    failure = cause if isinstance(cause, Failure) else Failure(Failure.CRASH, _first_line(cause), str(cause))
    if failure.kind == Failure.OUT_OF_MEMORY:
        return _with_advice(failure, attempt)
    if failure.kind != Failure.CRASH:
        return failure
    if isinstance(cause, OutOfMemoryError) or _MEMORY.search(f"{failure.message} {failure.log}"):
        return _with_advice(Failure(Failure.OUT_OF_MEMORY, failure.message, failure.log), attempt)
    if attempt is not None and attempt.hung:
        return Failure(Failure.HUNG, attempt.hung, failure.log)
    nodes, preempted = tuple(nodes), isinstance(cause, RayActorError) and cause.preempted
    # What Tune says of an actor is its text alone.
    unreachable = isinstance(cause, Exception) and _UNREACHABLE.match(str(cause)) is not None
    never_stood = unreachable and not nodes  # and it wasn't its process that ended
    if preempted or never_stood or _NODE.search(f"{failure.message} {failure.log}") or _lost(nodes):
        return Failure(Failure.LOST_NODE, failure.message, failure.log)
    if attempt is not None and (hang := _hang(attempt)) is not None:
        return hang
    # A connection breaks at once with its machine, which Ray learns of half a minute later.
    suspect = unreachable or is_peer_error(f"{failure.message} {failure.log}")
    return replace(failure, nodes=nodes or _alive()) if suspect else failure


def review(failure: Failure) -> Failure:
    """Return what a failure is now: a lost node if one of the machines that it names has died since."""
    if not _lost(failure.nodes):
        return failure
    return Failure(Failure.LOST_NODE, f"a machine of it was lost: {failure.message}", failure.log)


def _with_advice(failure: Failure, attempt: Attempt | None) -> Failure:
    said = "take a smaller batch or more workers" if attempt is None else _memory_advice(attempt.task)
    return Failure(failure.kind, f"out of memory ({failure.message}): {said}", failure.log)


def _memory_advice(task: TrialTask) -> str:
    """Return what a trial that ran out of memory may take instead, with the estimates."""
    config = TrialConfig.parse(task.config)
    evaluation = size_of(config.evaluation_dataset) if config.evaluation_dataset else None
    images = PlannedTrial(config, size_of(config.dataset), 1, None, evaluation).images
    device: Device = "cuda" if task.shape.use_gpu else "cpu"
    return advice(config, task.shape.workers, images=images, device=device, recomputed=task.recompute)


def _lost(nodes: Iterable[str]) -> bool:
    """Return whether Ray knows that one of the nodes is dead."""
    alive = _alive()
    return bool(alive) and not set(nodes) <= set(alive)


def _alive() -> tuple[str, ...]:
    """Return the ids of the machines that Ray takes for alive; none where it doesn't say.

    ClusterGoneError where that is why.
    """
    settle()
    try:
        return tuple(node["NodeID"] for node in ray.nodes() if node["Alive"])
    except RayError:
        return ()


def _hang(attempt: Attempt) -> Failure | None:
    """Return what the watchdog of a process that it ended wrote during this attempt."""
    try:
        written = TrialFiles(Storage.at(attempt.task.files_address)).failure()
    except (OSError, BadInputError):
        return None
    if written is None or written.kind != Failure.HUNG:
        return None
    # Each attempt forgets the failure of the one before as it starts.
    return Failure(Failure.HUNG, written.message)


def _first_line(error: Exception) -> str:
    """Return the line of an error that says what happened: of a traceback the last one, of a dead actor its reason."""
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    if lines[0] == death_heading():
        reason = next((line for line in lines if line.startswith("The actor is dead because")), lines[0])
        return reason.partition(" Some common causes")[0][:300]
    return (lines[-1] if lines[0].startswith(("Traceback", "ray::", "\x1b[36mray::")) else lines[0])[:300]
