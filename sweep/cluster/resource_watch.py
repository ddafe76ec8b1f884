"""Trials that wait for resources: what they need, what is free, and which jobs hold the rest."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sweep.cluster.ray_private import ResourceClaim, autoscaler_errors, resource_claims
from sweep.console.formatting import plural, shortened
from sweep.scheduling.dispatcher import TrialAttempt
from trainables.printing.printable_text import printable
from trainables.printing.redaction import redact

PATIENCE_SECONDS = 10.0
"""Seconds that a trial may wait for resources before a message is printed."""
LOOK_SECONDS = 2.0
MOST_TEXT = 80
"""Maximum characters of another job's command, and of an autoscaler's error, in the message."""
Resources = Mapping[str, float]


@dataclass(frozen=True)
class ClusterSnapshot:
    """Snapshot of a cluster: its resources, and the jobs that claim them."""

    total: Resources
    free: Resources
    claims: Sequence[ResourceClaim]
    jobs: Mapping[str, str]
    """Commands of the other running jobs, by job id."""
    own_job: str
    errors: Sequence[str] = ()
    """Errors of the autoscaler: why its machines don't come."""


class ResourceWatch:
    """Check, every few seconds while a trial isn't placed, whether trials wait for resources."""

    def __init__(self, say: Callable[[str], None]) -> None:
        """Create the check; `say` receives the message, and an empty text once no trial waits any more."""
        self._say, self._said, self._look_at = say, "", 0.0
        self._since: dict[str, float] = {}
        """Time since which each claim is known to wait, by claim id."""

    def look(self, attempts: Sequence[TrialAttempt], settled: Callable[[], None]) -> None:
        """Report trials that have waited long enough; `settled` returns once the cluster certainly answers."""
        now = time.monotonic()
        unplaced = [attempt for attempt in attempts if not attempt.placed]
        if now < self._look_at or not (unplaced or self._said):
            return
        self._look_at = now + LOOK_SECONDS
        settled()
        cluster = look_at_cluster() if unplaced else None
        self._report("" if cluster is None else waiting_text(self._waiting(cluster, unplaced, now), cluster))

    def _waiting(self, cluster: ClusterSnapshot, unplaced: Sequence[TrialAttempt], now: float) -> list[Resources]:
        """Return the resources of each trial that has waited long enough."""
        wanted = wanted_resources(cluster, unplaced)
        self._since = {name: self._since.get(name, now) for name in wanted}
        return [needed for name, needed in wanted.items() if now - self._since[name] >= PATIENCE_SECONDS]

    def _report(self, text: str) -> None:
        if text != self._said:
            self._said = text
            self._say(text)


def wanted_resources(cluster: ClusterSnapshot, unplaced: Sequence[TrialAttempt]) -> dict[str, Resources]:
    """Return the resources of each waiting trial, by id of its placement group, or of the trial if it has none yet.

    Ray Train creates no placement group for an elastic trial before its minimum of workers fits.
    """
    own = [claim for claim in cluster.claims if claim.job == cluster.own_job]
    wanted = {claim.claim_id: claim.resources for claim in own if claim.pending}
    elastic = [attempt.task for attempt in unplaced if attempt.task.shape.most_workers is not None]
    grouped = sum(not claim.pending and "CPU" in claim.resources for claim in own)
    for task in elastic[: max(0, len(elastic) - grouped)]:
        wanted[task.trial_id] = {
            name: amount * task.shape.workers for name, amount in task.shape.worker_resources().items()
        }
    return wanted


def look_at_cluster() -> ClusterSnapshot:
    """Return a snapshot of the joined cluster."""
    import ray

    context = ray.get_runtime_context()
    claims, jobs = resource_claims()
    own = context.get_job_id()
    others = {job: command for job, command in jobs.items() if job != own}
    errors = autoscaler_errors(context.gcs_address)
    return ClusterSnapshot(ray.cluster_resources(), ray.available_resources(), claims, others, own, errors)


def waiting_text(waiting: Sequence[Resources], cluster: ClusterSnapshot) -> str:
    """Return the message on waiting trials: their needs, the resources and their holders; empty if none waits."""
    if not waiting:
        return ""
    needed = waiting[0]
    names = list(needed)
    there = ", ".join(f"{cluster.free.get(name, 0):g} of {cluster.total.get(name, 0):g} {name}" for name in names)
    what = f"waits for {amount_text(needed)}" if len(waiting) == 1 else f"wait for {amount_text(needed)} each"
    holders = holders_of(names, cluster)
    parts = [f"{plural(len(waiting), 'trial')} {what}", f"free: {there}"]
    parts += [f"held by {'; '.join(holders)}"] if holders else []
    if all(cluster.free.get(name, 0) >= amount for name, amount in needed.items()):
        parts.append("no machine has that much free")
    if any(cluster.total.get(name, 0) < amount for name, amount in needed.items()):
        parts.append("machines have to come")
    return "; ".join([*parts, *(f"autoscaler: {_short(error)}" for error in cluster.errors)])


def holders_of(names: Sequence[str], cluster: ClusterSnapshot) -> list[str]:
    """Return the holders of the named resources, with their amounts."""
    held: dict[str, dict[str, float]] = {}
    for claim in cluster.claims:
        if not claim.pending:
            of_job = held.setdefault(claim.job, dict.fromkeys(names, 0.0))
            for name in names:
                of_job[name] += claim.resources.get(name, 0.0)
    known = {name: sum(of_job[name] for of_job in held.values()) for name in names}
    tasks = {name: cluster.total.get(name, 0) - cluster.free.get(name, 0) - known[name] for name in names}
    shown = {_job_text(job, cluster): of_job for job, of_job in held.items()}
    if any(amount > 0 for amount in tasks.values()):  # Ray has no public table of tasks
        maybe = ", ".join(_job_text(job, cluster) for job in cluster.jobs if job not in held)
        shown[f"tasks of {maybe}" if maybe else "tasks"] = tasks
    return [
        f"{who} ({amount_text(what)})" for who, what in shown.items() if any(amount > 0 for amount in what.values())
    ]


def amount_text(resources: Resources) -> str:
    """Return resources as text, such as "4 CPU and 1 GPU"."""
    return " and ".join(f"{amount:g} {name}" for name, amount in resources.items() if amount > 0)


def _job_text(job: str, cluster: ClusterSnapshot) -> str:
    if job == cluster.own_job:
        return "this sweep"
    return f"job {job}, {_short(cluster.jobs[job])}" if job in cluster.jobs else f"job {job}, which has ended"


def _short(text: str) -> str:
    return shortened(printable(redact(" ".join(text.split()))), MOST_TEXT)
