"""The Ray cluster a sweep runs on: one in this process's own children, or one that is there already."""

import contextlib
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from trainables.errors import BadInputError

DRIVER_RESOURCE = "trial_driver"
"""Held by drivers of trials with several workers, which must not hold the CPUs that their workers need."""
HEAD_RESOURCE = "node:__internal_head__"
"""Held by what runs on the head node."""
CORES_A_GPU = "cores_a_gpu"
"""Beside Ray's names in what `connect` yields: the cores that each GPU has of its node, on the worst node."""
_DRIVERS = 10_000
_CONNECT_SECONDS = 5.0
_EXIT_SECONDS = 10.0
_LOOK_SECONDS = 60.0
_TOLD = ("available_node_types", "head_node_type", "max_workers")
_OBJECT_STORE_BYTES = 100 * 2**20

ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",  # Tune's own tables
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # CSV, JSON and TensorBoard copies of what our records hold
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # relative paths keep their meaning in workers
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.1",  # Train looks at its workers every 2 s otherwise, also at start and end
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
"""Read by Ray when it is imported or started; Tune hands those of Train on to the actors."""
LOCAL_ENVIRONMENT = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # off: Ray's servers bind to 127.0.0.1
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # a process a group that asks whether this machine is being reclaimed
}
log = logging.getLogger(__name__)


@contextlib.contextmanager
def connect(address: str | None) -> Iterator[Mapping[str, float]]:
    """Start Ray on this machine's loopback (address None) or connect to the cluster there; yield its resources.

    Where a cluster's autoscaler adds nodes, that is what there can be, not what there is. Raises BadInputError when no
    cluster answers. Call it before anything imports ray: some of the environment is read on import.
    """
    os.environ |= {name: value for name, value in ENVIRONMENT.items() if name not in os.environ}
    if address is None:
        started = _start_local()
    else:
        _join(address)
        started = set()
    import ray

    try:
        yield ray.cluster_resources() if address is None else _within_reach()
    finally:
        started = started.union(*(_descendants(process) for process in started))
        ray.shutdown()
        _see_out(started)


@contextlib.contextmanager
def quiet(log_file: Path) -> Iterator[TextIO]:
    """Send what anybody writes to stdout and stderr, Ray's threads included, to a file; yield the real stdout."""
    log_file.parent.mkdir(parents=True, exist_ok=True)
    _flush()
    kept = [os.dup(1), os.dup(2)]
    with log_file.open("ab") as log, os.fdopen(os.dup(1), "w", encoding="utf-8", errors="replace") as screen:
        for descriptor in (1, 2):
            os.dup2(log.fileno(), descriptor)
        try:
            yield screen
        finally:
            _flush()
            for saved, descriptor in zip(kept, (1, 2), strict=True):
                os.dup2(saved, descriptor)
                os.close(saved)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(ValueError, OSError):
            stream.flush()


def machine_resources() -> dict[str, float]:
    """Return the cores that this process may use and the GPUs that torch sees, in Ray's names."""
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return {"CPU": float(cores), "GPU": float(torch.cuda.device_count())}


def _start_local() -> set[int]:
    """Start Ray and return the ids of its processes."""
    os.environ |= {name: value for name, value in LOCAL_ENVIRONMENT.items() if name not in os.environ}
    resources = machine_resources()
    before = _descendants(os.getpid())
    import ray

    ray.init(
        address="local",  # also where RAY_ADDRESS is set
        num_cpus=int(resources["CPU"]),
        num_gpus=int(resources.get("GPU", 0)),
        resources={DRIVER_RESOURCE: _DRIVERS},
        object_store_memory=_OBJECT_STORE_BYTES,
        include_dashboard=False,
        log_to_driver=False,
        configure_logging=False,
    )
    return _descendants(os.getpid()) - before


def _join(address: str) -> None:
    """Connect to a cluster, which gets this code's packages."""
    if "://" in address:
        raise BadInputError(f"address {address!r}: give HOST:PORT of the head node (Ray's client can't run sweeps)")
    if address != "auto":
        _knock(address)
    import ray

    root = Path(__file__).parents[2]
    packages = [str(root / name) for name in ("sweep", "trainables")]
    environment = {name: os.environ[name] for name in ENVIRONMENT}
    try:
        ray.init(
            address=address,
            runtime_env={"py_modules": packages, "env_vars": environment},
            log_to_driver=False,
            configure_logging=False,
        )
    except Exception as error:  # ConnectionError, RuntimeError, authentication, version mismatch: all say why
        if "AuthToken" in str(error):
            raise BadInputError(
                f"address {address!r}: the cluster asks for a token: export RAY_AUTH_MODE=token, and the token itself "
                "in ~/.ray/auth_token or RAY_AUTH_TOKEN_PATH (ray get-auth-token prints it on the head node)"
            ) from error
        raise BadInputError(f"address {address!r}: can't join the Ray cluster there: {error}") from error


def _within_reach() -> dict[str, float]:
    """Return the resources of the cluster that was joined, counting nodes that its autoscaler can add."""
    import ray

    there = ray.cluster_resources()
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    look = ray.remote(num_cpus=0, resources={HEAD_RESOURCE: 0.001}, max_retries=0)(_look_at_head)
    try:
        config, asks = ray.get(look.remote(ray.get_runtime_context().gcs_address), timeout=_LOOK_SECONDS)
    except Exception as error:  # what it would bring is then unknown, what there is isn't
        log.warning("the autoscaler's configuration can't be read, taking the cluster as it is: %s", error)
        return reach(there, nodes, {})
    if asks is False and _asks_for_token():
        # Its processes would show none to this one, and every trial would die before it began.
        raise BadInputError(
            "RAY_AUTH_MODE: is 'token' here, and this cluster runs without a token; unset it, or start Ray there so"
        )
    return reach(there, nodes, config)


def reach(
    there: Mapping[str, float], nodes: Sequence[Mapping[str, float]], config: Mapping[str, Any]
) -> dict[str, float]:
    """Return the most that a cluster can have of each resource, and `CORES_A_GPU` where it can have GPUs.

    `there` are its resources now, of all `nodes`; `config` is its autoscaler's file (cluster.yaml as `ray up` leaves it
    on the head node), empty where there is none. A node type whose resources the file doesn't tell adds nothing.
    """
    kinds = dict(config.get("available_node_types", {}))
    head = kinds.pop(config.get("head_node_type"), {}).get("resources", {})
    limit = config.get("max_workers", 0)
    addable = {name for kind in kinds.values() for name in kind["resources"]}
    most = dict(there)
    for name in addable:
        amounts = [kind["resources"].get(name, 0) for kind in kinds.values() for _ in range(kind["max_workers"])]
        added = sum(sorted(amounts, reverse=True)[:limit])
        most[name] = float(max(there.get(name, 0), head.get(name, 0) + added))
    having = [*nodes, *(kind["resources"] for kind in kinds.values() if kind["max_workers"])]
    shares = [node.get("CPU", 0) // node["GPU"] for node in having if node.get("GPU")]
    return most | ({CORES_A_GPU: float(min(shares))} if shares else {})


def _look_at_head(gcs_address: str) -> tuple[dict[str, Any], bool | None]:
    """Return the autoscaler's configuration, and whether the cluster's processes want a token of each other."""
    return _autoscaler_config(gcs_address), _asks_for_token()


def _asks_for_token() -> bool | None:
    """Return whether Ray wants a token of whoever calls this process; None where this version can't say."""
    try:
        from ray._private.authentication.authentication_utils import is_token_auth_enabled
    except ImportError:
        return None
    return bool(is_token_auth_enabled())


def _autoscaler_config(gcs_address: str) -> dict[str, Any]:
    """Return what the autoscaler of this cluster was told, if it runs on this machine; the rest of the file stays."""
    import yaml

    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = entry.read_text().split("\0")
            path = next((word.partition("=")[2] for word in words if word.startswith("--autoscaling-config=")), "")
            if path and f"--gcs-address={gcs_address}" in words:
                config = yaml.safe_load(Path(path).expanduser().read_text())
                return {name: config[name] for name in _TOLD if name in config}
    return {}


def _knock(address: str) -> None:
    """See whether anything listens; Ray itself would try for a minute."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise BadInputError(f"address {address!r}: give HOST:PORT of the head node, usually port 6379")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_SECONDS).close()
    except OSError as error:
        raise BadInputError(
            f"address {address!r}: no Ray cluster answers there ({error}); start one with ray start --head"
        ) from error


def _descendants(process: int) -> set[int]:
    """Return the ids of all processes below one; empty where there is no /proc."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError):
            fields = entry.read_text().rpartition(")")[2].split()
            parents.setdefault(int(fields[1]), []).append(int(entry.parent.name))
    found: set[int] = set()
    layer = [process]
    while layer:
        layer = [child for parent in layer for child in parents.get(parent, []) if child not in found]
        found |= set(layer)
    return found


def _see_out(processes: set[int]) -> None:
    """Wait until Ray's processes, which leave by themselves, are gone; kill those that stay."""
    deadline = time.monotonic() + _EXIT_SECONDS
    while any(_runs(process) for process in processes) and time.monotonic() < deadline:
        time.sleep(0.05)
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            if _runs(process):
                os.kill(process, signal.SIGKILL)


def _runs(process: int) -> bool:
    """Whether it is there and no zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
