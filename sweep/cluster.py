"""The Ray cluster a sweep runs on: one in this process's own children, or one that is there already."""

import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TextIO

from trainables.errors import BadInputError

DRIVER_RESOURCE = "trial_driver"
"""Held by drivers of trials with several workers, which must not hold the CPUs that their workers need."""
_DRIVERS = 10_000
_CONNECT_SECONDS = 5.0
_EXIT_SECONDS = 10.0
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


@contextlib.contextmanager
def connect(address: str | None) -> Iterator[Mapping[str, float]]:
    """Start Ray on this machine's loopback (address None) or connect to the cluster there; yield its resources.

    Raises BadInputError when no cluster answers. Call it before anything imports ray: some of the environment is read
    on import.
    """
    os.environ |= {name: value for name, value in ENVIRONMENT.items() if name not in os.environ}
    if address is None:
        started = _start_local()
    else:
        _join(address)
        started = set()
    import ray

    try:
        yield ray.cluster_resources()
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

    root = Path(__file__).parent.parent
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
        raise BadInputError(f"address {address!r}: can't join the Ray cluster there: {error}") from error


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
