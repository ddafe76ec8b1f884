"""Maximum resources of a cluster: from Ray's state, else the autoscaler's file, else KubeRay's custom resource."""

import contextlib
import logging
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sweep.cluster.ray_names import HEAD_RESOURCE
from sweep.cluster.ray_private import asks_for_token, autoscaler_errors, kuberay_config, reported_config
from sweep.planning.resources import CORES_A_GPU
from trainables.errors import BadInputError

_LOOK_SECONDS = 30.0
_TOLD = ("available_node_types", "head_node_type", "max_workers")
log = logging.getLogger(__name__)


def reachable_resources() -> dict[str, float]:
    """Return the resources of the joined cluster, including nodes that its autoscaler can add.

    Raises:
        BadInputError: This process sends a token that the cluster's processes don't.
    """
    import ray

    there = ray.cluster_resources()
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    look = ray.remote(num_cpus=0, resources={HEAD_RESOURCE: 0.001}, max_retries=0)(_look_at_head)
    try:
        config, unknown, asks = ray.get(look.remote(ray.get_runtime_context().gcs_address), timeout=_LOOK_SECONDS)
    except Exception as error:  # Ray's errors, or no answer in time
        config, unknown, asks = {}, str(error), None
    if asks is False and asks_for_token():
        # The cluster's processes would send no token to this one, and every trial would fail before it began.
        raise BadInputError(
            "RAY_AUTH_MODE: is 'token' here, but this cluster runs without a token; unset it, or start Ray with one"
        )
    config = reported_config() or config
    if unknown and not config:  # the autoscaler's nodes are then unknown; the present ones aren't
        log.warning("the autoscaler's configuration can't be read, taking the cluster as it is: %s", unknown)
    return reach(there, nodes, config)


def joined_autoscaler_errors() -> list[str]:
    """Return the errors of the joined cluster's autoscaler: why its machines don't come."""
    import ray

    return autoscaler_errors(ray.get_runtime_context().gcs_address)


def reach(
    there: Mapping[str, float], nodes: Sequence[Mapping[str, float]], config: Mapping[str, Any]
) -> dict[str, float]:
    """Return the maximum of each resource in a cluster, and `CORES_A_GPU` if it can have GPUs.

    Args:
        there: Present resources of all nodes together.
        nodes: Present nodes.
        config: The autoscaler's configuration, with the keys of the file that `ray up` takes; empty without an
            autoscaler. Node types without stated resources add nothing.
    """
    kinds = dict(config.get("available_node_types", {}))
    head = kinds.pop(config.get("head_node_type"), {}).get("resources", {})
    limits = config.get("max_resources", {})
    addable = {name for kind in kinds.values() for name in kind["resources"]}
    most = dict(there)
    for name in addable:
        offers = [(kind["resources"].get(name, 0), kind["max_workers"]) for kind in kinds.values()]
        added = _most_of(offers, config.get("max_workers", 0))
        grown = min(head.get(name, 0) + added, limits.get(name, math.inf))
        most[name] = float(max(there.get(name, 0), grown))
    having = [*nodes, *(kind["resources"] for kind in kinds.values() if kind["max_workers"])]
    shares = [node.get("CPU", 0) // node["GPU"] for node in having if node.get("GPU")]
    return most | ({CORES_A_GPU: float(min(shares))} if shares else {})


def _most_of(offers: Sequence[tuple[float, int]], nodes: int) -> float:
    """Return the maximum of a resource on a number of nodes; an offer is (amount per node, maximum number of nodes)."""
    total = 0.0
    for amount, count in sorted(offers, reverse=True):
        taken = min(count, nodes)
        total, nodes = total + amount * taken, nodes - taken
    return total


def _look_at_head(gcs_address: str) -> tuple[dict[str, Any], str, bool | None]:
    """Return the autoscaler's configuration, the reason if it is unknown, and whether the cluster requires a token."""
    try:
        return _autoscaler_config(gcs_address) or _custom_resource(os.environ), "", asks_for_token()
    except Exception as error:  # a missing file, no permission, or an unknown answer
        return {}, f"{type(error).__name__}: {error}", asks_for_token()


def _custom_resource(environment: Mapping[str, str]) -> dict[str, Any]:
    """Return the configuration of the autoscaler in this pod, if KubeRay runs the cluster."""
    if not {"KUBERNETES_SERVICE_HOST", "RAY_CLUSTER_NAME"} <= set(environment):
        return {}
    config = kuberay_config(environment)
    if config is None:
        raise LookupError("this version of Ray can't read KubeRay's RayCluster")
    return {name: config[name] for name in _TOLD if name in config}


def _autoscaler_config(gcs_address: str) -> dict[str, Any]:
    """Return the configuration of this cluster's autoscaler if it runs on this machine; drop the file's other keys."""
    import psutil
    import yaml

    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or ()  # None for another user's process
        path = next((word.partition("=")[2] for word in words if word.startswith("--autoscaling-config=")), "")
        if path and f"--gcs-address={gcs_address}" in words:
            with contextlib.suppress(OSError):
                config = yaml.safe_load(Path(path).expanduser().read_text())
                return {name: config[name] for name in _TOLD if name in config}
    return {}
