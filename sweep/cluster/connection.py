"""Connection to Ray: start it as child processes of this process, or join a running cluster."""

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from sweep.cluster.joined_cluster import joined
from sweep.cluster.processes import descendants, end_processes, kill
from sweep.cluster.ray_names import DRIVER_RESOURCE, ENVIRONMENT, LOCAL_ENVIRONMENT
from sweep.cluster.ray_private import forget_token, has_left
from sweep.cluster.ray_signals import own_signals
from sweep.cluster.session_folder import RAY, session_folder, write_token

_DRIVERS = 10_000
_OBJECT_STORE_BYTES = 100 * 2**20
_LOOK_SECONDS = 0.02


@contextlib.contextmanager
def connect(
    address: str | None, *, wait: float = 0.0, enough: Callable[[Mapping[str, float]], object] = dict
) -> Iterator[Mapping[str, float]]:
    """Start Ray on this machine or join a cluster, and yield the resources by name.

    With an autoscaler, the resources are the maximum that the cluster can grow to. Call it before anything imports ray,
    since Ray reads some of its environment on import.

    Args:
        address: Address of the cluster; None starts Ray on this machine's loopback interface.
        wait: Seconds to wait for a cluster that doesn't answer yet or is too small.
        enough: Check of the resources, which raises BadInputError if they are too few; after `wait` seconds they are
            yielded regardless.

    Raises:
        BadInputError: No cluster answers within `wait` seconds.
    """
    set_environment(local=address is None)
    with session_folder() as folder:
        if address is None:
            with _own_token(folder), _local(folder) as resources:
                yield resources
        else:
            with joined(address, time.monotonic() + wait, enough) as resources:
                yield resources


def set_environment(*, local: bool) -> None:
    """Set Ray's unset environment variables, also those of a local cluster; call it before Ray's import."""
    settings = ENVIRONMENT | (LOCAL_ENVIRONMENT if local else {})
    os.environ |= {name: value for name, value in settings.items() if name not in os.environ}


def machine_resources() -> dict[str, float]:
    """Return the cores that this process may use and the GPUs that torch finds, by Ray's resource names."""
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return {"CPU": float(cores), "GPU": float(torch.cuda.device_count())}


def gpu_gib() -> float | None:
    """Return the memory of this machine's first GPU in GiB; None without a GPU."""
    import torch

    return torch.cuda.get_device_properties(0).total_memory / 2**30 if torch.cuda.is_available() else None


@contextlib.contextmanager
def _own_token(folder: Path) -> Iterator[None]:
    """Use a token for this session only, regardless of token settings in the environment."""
    names = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
    before = {name: os.environ.pop(name) for name in names if name in os.environ}
    os.environ["RAY_AUTH_TOKEN_PATH"] = str(write_token(folder))
    forget_token()
    try:
        yield
    finally:
        for name in names:
            os.environ.pop(name, None)
        os.environ |= before
        forget_token()


@contextlib.contextmanager
def _local(folder: Path) -> Iterator[Mapping[str, float]]:
    """Start Ray on this machine, and end all of its processes at exit."""
    started = _start_local(folder)
    import ray

    try:
        yield ray.cluster_resources()
    finally:
        started = started.union(*(descendants(process) for process in started))
        with _ended_quickly(started):
            ray.shutdown()
        end_processes(started)


@contextlib.contextmanager
def _ended_quickly(processes: set[int]) -> Iterator[None]:
    """Kill Ray's processes after this process has left: they ignore SIGTERM, and Ray waits a second for each."""
    over = threading.Event()

    def end() -> None:
        while not has_left():
            if over.wait(_LOOK_SECONDS):
                return
        kill(processes)

    killing = threading.Thread(target=end, name="end of Ray", daemon=True)
    killing.start()
    try:
        yield
    finally:
        over.set()
        killing.join()


def _start_local(folder: Path) -> set[int]:
    """Start Ray and return the ids of its processes."""
    resources = machine_resources()
    before = descendants(os.getpid())
    import ray

    try:
        with own_signals():
            ray.init(
                address="local",  # even if RAY_ADDRESS is set
                num_cpus=int(resources["CPU"]),
                num_gpus=int(resources.get("GPU", 0)),
                resources={DRIVER_RESOURCE: _DRIVERS},
                object_store_memory=_OBJECT_STORE_BYTES,
                include_dashboard=False,
                log_to_driver=False,
                configure_logging=False,
                _temp_dir=str(folder / RAY),
            )
    except BaseException:
        with _ended_quickly(descendants(os.getpid()) - before), contextlib.suppress(Exception):
            ray.shutdown()
        raise
    return descendants(os.getpid()) - before
