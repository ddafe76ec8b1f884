"""Connection to Ray: start it as child processes of this process, or join a running cluster."""

import contextlib
import os
import queue
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from sweep.cluster.autoscaler import reachable_resources
from sweep.cluster.cluster_watch import unwatch, watch
from sweep.cluster.processes import descendants, end_processes, kill
from sweep.cluster.ray_names import DRIVER_RESOURCE, ENVIRONMENT, LOCAL_ENVIRONMENT
from sweep.cluster.ray_private import forget_token, has_left, head_fault
from sweep.cluster.session_folder import RAY, session_folder, write_token
from sweep.console.stop_signals import StopRequestedError
from trainables.errors import BadInputError

_DRIVERS = 10_000
_CONNECT_SECONDS = 5.0
_OBJECT_STORE_BYTES = 100 * 2**20
_LOOK_SECONDS = 0.02
ANSWER_SECONDS = 20.0
"""Seconds that a head has for its first answer."""
LIKELY_CAUSES = (
    "the token (RAY_AUTH_MODE=token and the same token on both sides, or none on either), an address that the head "
    "doesn't listen on (ray start --node-ip-address), another version of Ray, or a firewall"
)
_WANTS_TOKEN = "AuthToken"
_AGAIN_SECONDS = 5.0
"""Seconds between two attempts to reach a cluster."""


class ClusterAwayError(BadInputError):
    """No cluster answers at an address yet."""


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
            with _joined(address, time.monotonic() + wait, enough) as resources:
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
def _joined(
    address: str, deadline: float, enough: Callable[[Mapping[str, float]], object]
) -> Iterator[Mapping[str, float]]:
    """Join a cluster, and leave it at exit unless it is gone."""
    _join_patiently(address, deadline)
    import ray

    watch(ray.get_runtime_context().gcs_address)
    try:
        yield _grown(enough, deadline)
    finally:
        # Ray's client would wait for the lost cluster, and then end the process.
        if not unwatch():
            ray.shutdown()


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
        with _own_signals():
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


@contextlib.contextmanager
def _own_signals() -> Iterator[None]:
    """Keep this process's SIGTERM handler, which Ray replaces, and shield Ray from signals to the process group.

    A closed terminal, `timeout`, Slurm and systemd send signals to all processes of a group. Ray's processes inherit
    the set of blocked signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler, group_wide = signal.getsignal(signal.SIGTERM), {signal.SIGTERM, signal.SIGHUP}
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, group_wide)
    try:
        yield
    except SystemExit as left:  # Ray's handler
        raise StopRequestedError(signal.SIGTERM) from left
    finally:
        signal.signal(signal.SIGTERM, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def _join_patiently(address: str, deadline: float) -> None:
    while True:
        try:
            return _join(address)
        except ClusterAwayError:
            if time.monotonic() >= deadline:
                raise
        time.sleep(_AGAIN_SECONDS)


def _grown(enough: Callable[[Mapping[str, float]], object], deadline: float) -> Mapping[str, float]:
    """Return the maximum resources, once they are enough or the deadline has passed."""
    while True:
        resources = reachable_resources()
        with contextlib.suppress(BadInputError):
            enough(resources)
            return resources
        if time.monotonic() >= deadline:
            return resources
        time.sleep(_AGAIN_SECONDS)


def _join(address: str) -> None:
    """Join a cluster, and ship this code's packages to it."""
    check_listening(address)
    _await_answer(address)
    import ray

    root = Path(__file__).parents[2]
    packages = [str(root / name) for name in ("sweep", "trainables")]
    environment = {name: os.environ[name] for name in ENVIRONMENT}
    try:
        with _own_signals():
            ray.init(
                address=address,
                runtime_env={"py_modules": packages, "env_vars": environment},
                log_to_driver=False,
                configure_logging=False,
            )
    except Exception as error:  # ConnectionError, RuntimeError, authentication, version mismatch: each states why
        if _WANTS_TOKEN in str(error):
            raise _token_error(address) from error
        with contextlib.suppress(Exception):
            ray.shutdown()
        raise ClusterAwayError(f"address {address!r}: can't join the Ray cluster there: {error}") from error


def _token_error(address: str) -> BadInputError:
    return BadInputError(
        f"address {address!r}: the cluster asks for a token: export RAY_AUTH_MODE=token, and the token itself "
        "in ~/.ray/auth_token or RAY_AUTH_TOKEN_PATH (ray get-auth-token prints it on the head node)"
    )


def _await_answer(address: str) -> None:
    """Check that a Ray head answers, since Ray's client waits for minutes if another program listens there."""
    if (place := _place(address)) is None:
        return
    faults: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=lambda: faults.put(head_fault(place)), name="first call", daemon=True).start()
    try:
        fault = faults.get(timeout=ANSWER_SECONDS)
    except queue.Empty:
        fault = f"no answer within {ANSWER_SECONDS:g} s"
    if _WANTS_TOKEN in fault:
        raise _token_error(address)
    if fault:
        raise ClusterAwayError(
            f"address {address!r}: something listens there, but no Ray head answers ({fault.splitlines()[0]}); likely: "
            f"{LIKELY_CAUSES}, or another program has that port"
        )


def _place(address: str) -> str | None:
    """Return HOST:PORT of the head; None if Ray finds the head by itself."""
    return address if address != "auto" else os.environ.get("RAY_ADDRESS")


def check_listening(address: str) -> None:
    """Check within seconds that a program listens at an address, since Ray itself tries for a minute.

    Raises:
        BadInputError: No program listens.
    """
    if "://" in address:
        raise BadInputError(f"address {address!r}: give HOST:PORT of the head node (Ray's client can't run sweeps)")
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise BadInputError(f"address {address!r}: give HOST:PORT of the head node, usually port 6379")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_SECONDS).close()
    except OSError as error:
        raise ClusterAwayError(
            f"address {address!r}: no Ray cluster answers there ({error}); start one with ray start --head"
        ) from error
