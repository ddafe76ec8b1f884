"""A running Ray cluster, joined by its address: checked first, waited for, and left at the end."""

import contextlib
import os
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from sweep.cluster.autoscaler import reachable_resources
from sweep.cluster.cluster_watch import unwatch, watch
from sweep.cluster.ray_names import ENVIRONMENT
from sweep.cluster.ray_private import head_fault
from sweep.cluster.ray_signals import own_signals
from trainables.errors import BadInputError

_CONNECT_SECONDS = 5.0
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
def joined(
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
        with own_signals():
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
        ClusterAwayError: No program listens.
        BadInputError: The text isn't an address of a cluster.
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
