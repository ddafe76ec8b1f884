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
from sweep.scheduling.dispatcher import TrialAttempt
from sweep.scheduling.failure import AttemptFailure
from sweep.scheduling.task import TrialTask
from trainables.config import TrialConfig
from trainables.errors import BadInputError
from trainables.memory.ledger import Device
from trainables.storage.filesystem import Storage
from trainables.storage.trial_files import TrialFiles

_MEMORY = re.compile(r"OutOfMemoryError|NODE_OUT_OF_MEMORY|running low on memory|memory pressure|out of memory", re.I)
_UNREACHABLE = re.compile(r"the actor \S+ is unavailable", re.IGNORECASE)
_NODE = re.compile(r"node (has )?(died|was dead)|its node|NodeDied|preempt", re.IGNORECASE)


def explain(
    cause: Exception | AttemptFailure, *, nodes: Iterable[str], attempt: TrialAttempt | None = None
) -> AttemptFailure:
    """Return the failure that a cause stands for: a reported failure, or an error of Ray.

    The decision uses the error's text, the nodes of the attempt and the trial's files.
    """
    failure = (
        cause
        if isinstance(cause, AttemptFailure)
        else AttemptFailure(AttemptFailure.CRASH, _first_line(cause), str(cause))
    )
    if failure.kind == AttemptFailure.OUT_OF_MEMORY:
        return _with_advice(failure, attempt)
    if failure.kind != AttemptFailure.CRASH:
        return failure
    if isinstance(cause, OutOfMemoryError) or _MEMORY.search(f"{failure.message} {failure.log}"):
        return _with_advice(AttemptFailure(AttemptFailure.OUT_OF_MEMORY, failure.message, failure.log), attempt)
    if attempt is not None and attempt.hung:
        return AttemptFailure(AttemptFailure.HUNG, attempt.hung, failure.log)
    nodes, preempted = tuple(nodes), isinstance(cause, RayActorError) and cause.preempted
    # Tune reports an actor's error as text only.
    unreachable = isinstance(cause, Exception) and _UNREACHABLE.match(str(cause)) is not None
    never_stood = unreachable and not nodes  # and the trial's own process didn't end
    if preempted or never_stood or _NODE.search(f"{failure.message} {failure.log}") or _lost(nodes):
        return AttemptFailure(AttemptFailure.LOST_NODE, failure.message, failure.log)
    if attempt is not None and (hang := _hang(attempt)) is not None:
        return hang
    # A connection breaks together with its machine, which Ray notices half a minute later.
    suspect = unreachable or is_peer_error(f"{failure.message} {failure.log}")
    return replace(failure, nodes=nodes or _alive()) if suspect else failure


def review(failure: AttemptFailure) -> AttemptFailure:
    """Return the failure again, as a lost node if one of its machines has died since."""
    if not _lost(failure.nodes):
        return failure
    return AttemptFailure(AttemptFailure.LOST_NODE, f"a machine of it was lost: {failure.message}", failure.log)


def _with_advice(failure: AttemptFailure, attempt: TrialAttempt | None) -> AttemptFailure:
    said = "take a smaller batch or more workers" if attempt is None else _memory_advice(attempt.task)
    return AttemptFailure(failure.kind, f"out of memory ({failure.message}): {said}", failure.log)


def _memory_advice(task: TrialTask) -> str:
    """Return the advice for a trial that ran out of memory, with the estimates."""
    config = TrialConfig.parse(task.config)
    evaluation = size_of(config.evaluation_dataset) if config.evaluation_dataset else None
    images = PlannedTrial(config, size_of(config.dataset), 1, None, evaluation).images
    device: Device = "cuda" if task.shape.use_gpu else "cpu"
    return advice(config, task.shape.workers, images=images, device=device, recomputed=task.recompute)


def _lost(nodes: Iterable[str]) -> bool:
    """Return whether Ray reports one of the nodes as dead."""
    alive = _alive()
    return bool(alive) and not set(nodes) <= set(alive)


def _alive() -> tuple[str, ...]:
    """Return the ids of the machines that Ray reports as alive; empty if it doesn't answer.

    Raises:
        ClusterGoneError: The cluster is gone.
    """
    settle()
    try:
        return tuple(node["NodeID"] for node in ray.nodes() if node["Alive"])
    except RayError:
        return ()


def _hang(attempt: TrialAttempt) -> AttemptFailure | None:
    """Return the hang that the watchdog recorded during this attempt before ending the process; None without one."""
    try:
        written = TrialFiles(Storage.at(attempt.task.files_address)).failure()
    except (OSError, BadInputError):
        return None
    if written is None or written.kind != AttemptFailure.HUNG:
        return None
    # Each attempt deletes the recorded failure of the previous one at its start.
    return AttemptFailure(AttemptFailure.HUNG, written.message)


def _first_line(error: Exception) -> str:
    """Return the informative line of an error: the last of a traceback, the reason of a dead actor."""
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    if lines[0] == death_heading():
        reason = next((line for line in lines if line.startswith("The actor is dead because")), lines[0])
        return reason.partition(" Some common causes")[0][:300]
    return (lines[-1] if lines[0].startswith(("Traceback", "ray::", "\x1b[36mray::")) else lines[0])[:300]
