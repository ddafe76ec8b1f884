"""The Ray cluster a sweep runs on: one in this process's own children, or one that is there already."""

import contextlib
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from sweep.cluster.autoscaler import within_reach
from sweep.cluster.cluster_watch import unwatch, watch
from sweep.cluster.processes import descendants, see_out
from sweep.cluster.ray_names import DRIVER_RESOURCE, ENVIRONMENT, LOCAL_ENVIRONMENT
from sweep.cluster.ray_private import forget_token
from sweep.cluster.session_folder import RAY, session_folder, write_token
from trainables.errors import BadInputError

_DRIVERS = 10_000
_CONNECT_SECONDS = 5.0
_OBJECT_STORE_BYTES = 100 * 2**20
_AGAIN_SECONDS = 5.0
"""How often a cluster that is waited for is asked."""


class ClusterAwayError(BadInputError):
    """No cluster answers at an address; one may later."""


@contextlib.contextmanager
def connect(
    address: str | None, *, wait: float = 0.0, enough: Callable[[Mapping[str, float]], object] = dict
) -> Iterator[Mapping[str, float]]:
    """Start Ray on this machine's loopback (address None) or connect to the cluster there; yield its resources.

    Where a cluster's autoscaler adds nodes, that is what there can be, not what there is. Raises BadInputError when no
    cluster answers; for `wait` seconds it is asked again, and until `enough` takes its resources without a
    BadInputError. Call it before anything imports ray: some of the environment is read on import.
    """
    os.environ |= {name: value for name, value in ENVIRONMENT.items() if name not in os.environ}
    with session_folder() as folder:
        if address is None:
            with _own_token(folder), _local(folder) as resources:
                yield resources
        else:
            with _joined(address, time.monotonic() + wait, enough) as resources:
                yield resources


def machine_resources() -> dict[str, float]:
    """Return the cores that this process may use and the GPUs that torch sees, in Ray's names."""
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return {"CPU": float(cores), "GPU": float(torch.cuda.device_count())}


def gpu_gib() -> float | None:
    """Return the memory of this machine's first GPU in GiB, or None without a GPU."""
    import torch

    return torch.cuda.get_device_properties(0).total_memory / 2**30 if torch.cuda.is_available() else None


@contextlib.contextmanager
def _own_token(folder: Path) -> Iterator[None]:
    """Let Ray take a token of this session alone, whatever the person's environment says of tokens."""
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
    """Start Ray and end it, with all of its processes."""
    started = _start_local(folder)
    import ray

    try:
        yield ray.cluster_resources()
    finally:
        started = started.union(*(descendants(process) for process in started))
        ray.shutdown()
        see_out(started)


@contextlib.contextmanager
def _joined(
    address: str, deadline: float, enough: Callable[[Mapping[str, float]], object]
) -> Iterator[Mapping[str, float]]:
    """Connect to a cluster and leave it, unless it is gone."""
    _join_patiently(address, deadline)
    import ray

    watch(ray.get_runtime_context().gcs_address)
    try:
        yield _grown(enough, deadline)
    finally:
        # Ray's client would wait for a cluster that is gone, and end the process.
        if not unwatch():
            ray.shutdown()


def _start_local(folder: Path) -> set[int]:
    """Start Ray and return the ids of its processes."""
    os.environ |= {name: value for name, value in LOCAL_ENVIRONMENT.items() if name not in os.environ}
    resources = machine_resources()
    before = descendants(os.getpid())
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
        _temp_dir=str(folder / RAY),
    )
    return descendants(os.getpid()) - before


def _join_patiently(address: str, deadline: float) -> None:
    while True:
        try:
            return _join(address)
        except ClusterAwayError:
            if time.monotonic() >= deadline:
                raise
        time.sleep(_AGAIN_SECONDS)


def _grown(enough: Callable[[Mapping[str, float]], object], deadline: float) -> Mapping[str, float]:
    """Return the resources within reach, once they are enough or the time is up."""
    while True:
        resources = within_reach()
        with contextlib.suppress(BadInputError):
            enough(resources)
            return resources
        if time.monotonic() >= deadline:
            return resources
        time.sleep(_AGAIN_SECONDS)


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
        with contextlib.suppress(Exception):
            ray.shutdown()
        raise ClusterAwayError(f"address {address!r}: can't join the Ray cluster there: {error}") from error


def _knock(address: str) -> None:
    """See whether anything listens; Ray itself would try for a minute."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise BadInputError(f"address {address!r}: give HOST:PORT of the head node, usually port 6379")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_SECONDS).close()
    except OSError as error:
        raise ClusterAwayError(
            f"address {address!r}: no Ray cluster answers there ({error}); start one with ray start --head"
        ) from error
