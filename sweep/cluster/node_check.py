"""Checks of each machine of a cluster: its resources, and what would prevent a sweep."""

import os
import platform
import secrets
import shutil
import socket
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from sweep.console.findings import CheckResult
from trainables.data.dataset_facts import KNOWN
from trainables.errors import BadInputError

PACKAGES = ("ray", "torch", "torchvision", "mlflow", "numpy", "pyarrow")
"""Packages whose versions can change a result."""
MOST_SKEW_SECONDS = 5.0
"""Tolerated clock difference in seconds; leases compare the clocks of two machines (sweep/records/lease.py)."""
LEAST_FREE_GIB = 5.0
LEFT = "left"
"""Key of the machine's clock when it had examined itself."""
ANSWER_SECONDS = 60.0
"""Seconds that a machine has for its first answer, which includes a process's start and imports."""
_WAYS = {
    "ServiceLinkedRole": "make it once: aws iam create-service-linked-role --aws-service-name spot.amazonaws.com",
    "LimitExceeded": "ask for a higher quota of these instances: aws service-quotas request-service-quota-increase",
    "MaxSpotInstanceCount": "ask for a higher quota of spot instances of this kind",
    "InsufficientInstanceCapacity": "the zone has none at the moment: try another zone or type",
    "UnauthorizedOperation": "the head's role may not start instances",
}
"""Remedy for an error of the cloud provider, by a word in the error."""


@dataclass(frozen=True)
class NodeFacts:
    """Facts that one machine reports about itself."""

    host: str
    versions: dict[str, str]
    gpus: list[str]
    skew_seconds: float
    sees_storage: bool
    """Whether the machine can read the main process's file in the storage, and write there."""
    stores: dict[str, str]
    """Fingerprints of the machine's prepared data sets, by name."""
    free_gib: float


def stores_of(space: str | None) -> dict[str, str]:
    """Return the fingerprints of the data sets that a search space needs, by name."""
    from sweep.planning.dataset_sizes import size_of
    from sweep.planning.plan import make_plan
    from sweep.space import load_space

    if space is None:
        return {}
    trials = make_plan(load_space(space), assignments={}, size_of=size_of).trials
    sizes = {trial.config.dataset: trial.data for trial in trials}
    sizes |= {trial.config.labelled_dataset: trial.labelled for trial in trials}
    return {name: size.fingerprint for name, size in sizes.items()}


def judge(
    nodes: Iterable[NodeFacts], wanted: Mapping[str, str] = {}, *, drivers: bool = True, gpus_in_reach: float = 0.0
) -> list[CheckResult]:
    """Return the check results of the machines, at least one.

    Args:
        nodes: Facts of each machine.
        wanted: Fingerprints on this machine of the data sets that a space needs.
        drivers: Whether places for drivers are required.
        gpus_in_reach: GPUs, including those that an autoscaler can add.
    """
    nodes = list(nodes)
    findings = [_same("versions", {node.host: node.versions for node in nodes}), _gpus_found(nodes, gpus_in_reach)]
    skewed = [f"{node.host} {node.skew_seconds:+.1f} s" for node in nodes if abs(node.skew_seconds) > MOST_SKEW_SECONDS]
    findings.append(_finding("clocks", skewed, "agree", "set them by NTP: leases go by them"))
    blind = [node.host for node in nodes if not node.sees_storage]
    findings.append(_finding("storage", blind, "written and read by all", "don't see it: give a folder that all mount"))
    findings += [_data_found(name, fingerprint, nodes) for name, fingerprint in wanted.items()]
    full = [f"{node.host} {node.free_gib:.1f} GiB" for node in nodes if node.free_gib < LEAST_FREE_GIB]
    findings.append(
        CheckResult("disk", "warning" if full else "ok", f"nearly full: {', '.join(full)}" if full else "free")
    )
    if not drivers:
        text = "no node has the resource trial_driver: trials of several workers are driven from the head node"
        findings.append(CheckResult("drivers", "warning", text))
    return findings


def _gpus_found(nodes: Sequence[NodeFacts], in_reach: float) -> CheckResult:
    gpus = {node.host: node.gpus for node in nodes if node.gpus}
    if gpus:
        return CheckResult("GPUs", "ok", "; ".join(f"{host}: {', '.join(found)}" for host, found in gpus.items()))
    if in_reach:
        return CheckResult("GPUs", "ok", f"none yet; the autoscaler can add {in_reach:g} when trials ask for them")
    return CheckResult("GPUs", "ok", "none: trials run on CPUs")


def _data_found(name: str, fingerprint: str, nodes: Sequence[NodeFacts]) -> CheckResult:
    what = f"data {name}"
    if not fingerprint and name in KNOWN and KNOWN[name].layout is None:
        if len(nodes) == 1:
            return CheckResult(what, "ok", "the run prepares it")
        return CheckResult(
            what, "warning", "the run prepares it, but only on its own machine: set SWEEP_DATA to a shared folder"
        )
    lacking = [node.host for node in nodes if node.stores.get(name) != fingerprint]
    return _finding(what, lacking, "the same everywhere", "lack it: prepare it there, or set SWEEP_DATA")


def judge_autoscaler(errors: Iterable[str]) -> list[CheckResult]:
    """Return the check results for the autoscaler's errors, each with its remedy."""
    return [
        CheckResult("autoscaler", "missing", "; ".join([error, *(way for sign, way in _WAYS.items() if sign in error)]))
        for error in errors
    ]


def _finding(what: str, bad: list[str], well: str, advice: str) -> CheckResult:
    return CheckResult(what, "missing", f"{', '.join(bad)} {advice}") if bad else CheckResult(what, "ok", well)


def _same(what: str, by_host: Mapping[str, Mapping[str, str]]) -> CheckResult:
    hosts = list(by_host)
    differences = [
        f"{name}: " + ", ".join(f"{host} {by_host[host].get(name, 'not there')}" for host in hosts)
        for name in by_host[hosts[0]]
        if len({by_host[host].get(name) for host in hosts}) > 1
    ]
    if differences:
        return CheckResult(what, "missing", f"differ, install the same: {'; '.join(differences)}")
    return CheckResult(what, "ok", ", ".join(f"{name} {number}" for name, number in by_host[hosts[0]].items()))


def examine(storage: str, written: str, sent: float) -> dict[str, Any]:
    """Return this machine's NodeFacts and LEFT as a mapping.

    Args:
        storage: Address of the storage.
        written: Name of a file in the storage.
        sent: The caller's clock when it asked.
    """
    now = time.time()
    facts = NodeFacts(
        host=socket.gethostname(),
        versions={"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}},
        gpus=_gpus(),
        skew_seconds=now - sent,
        sees_storage=_sees_storage(storage, written),
        stores=_stores(),
        free_gib=shutil.disk_usage(os.path.expanduser("~")).free / 2**30,  # noqa: PTH111
    )
    return {**asdict(facts), LEFT: time.time()}


def facts_of(answer: dict[str, Any], *, back: float) -> NodeFacts:
    """Return the facts in an answer of `examine` that came back at this time.

    As NTP does, the way there is taken to last as long as the way back; the check itself isn't part of either.
    """
    skew = (answer["skew_seconds"] + answer[LEFT] - back) / 2
    return NodeFacts(**{**{name: value for name, value in answer.items() if name != LEFT}, "skew_seconds": skew})


def _sees_storage(storage: str, written: str) -> bool:
    """Return whether this machine reads the file `written`, and can write and delete one."""
    from trainables.storage.filesystem import Storage

    place = Storage.at(storage)
    try:
        found = place.read(written) is not None
        own = f"{written}-{secrets.token_hex(4)}"
        place.write(own, b"")
        place.delete(own)
    except (OSError, BadInputError):
        return False
    return found


def _stores() -> dict[str, str]:
    """Return the fingerprints of this machine's readable stores, by name."""
    from trainables.data.store_addresses import data_root, remote_root
    from trainables.data.store_info import readable_info

    stores = {}
    if remote_root() is None and data_root().is_dir():
        for folder in data_root().iterdir():
            if (info := readable_info(folder.name)) is not None:
                stores[folder.name] = info.fingerprint
    return stores


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not there"


def _gpus() -> list[str]:
    import torch

    devices = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
    return [f"{device.name} {device.total_memory / 2**30:.0f} GiB" for device in devices]


def ask_nodes(storage: str) -> tuple[list[NodeFacts], list[CheckResult]]:
    """Check every machine of the cluster; return the facts, and a check result for each machine that doesn't answer."""
    import ray
    from ray.exceptions import RayError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    from trainables.storage.filesystem import Storage

    place, written = Storage.at(storage), f".doctor-{secrets.token_hex(4)}"
    place.write(written, b"")
    task = ray.remote(num_cpus=0)(examine)
    answers, silent = [], []
    try:
        for node in ray.nodes():
            if not node["Alive"]:
                continue
            strategy = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            pinned = task.options(scheduling_strategy=strategy)
            try:  # the first call imports for seconds
                ray.get(pinned.remote(place.address(), written, time.time()), timeout=ANSWER_SECONDS)
                facts = ray.get(pinned.remote(place.address(), written, time.time()), timeout=ANSWER_SECONDS)
            except RayError as error:
                silent.append(_silent(node["NodeManagerAddress"], error))
                continue
            answers.append(facts_of(facts, back=time.time()))
    finally:
        place.delete(written)
    return answers, silent


def _silent(host: str, error: Exception) -> CheckResult:
    if isinstance(error, TimeoutError):
        why = (
            f"doesn't answer within {ANSWER_SECONDS:g} s: its processes may lack the token, or the head can't reach it"
        )
    else:
        lines = str(error).strip().splitlines()
        why = f"can't be asked: {lines[-1] if lines else type(error).__name__}"
    return CheckResult("machine", "missing", f"{host} {why}")
