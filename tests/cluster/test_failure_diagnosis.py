"""What an attempt's end means, by its text and by which machines are alive then and later."""

from typing import Any

import pytest
import ray
from ray.exceptions import ActorUnavailableError

from sweep.cluster.failure_diagnosis import explain, review
from sweep.cluster.peer_errors import is_peer_error
from sweep.scheduling.failure import AttemptFailure

GLOO = "[/__w/pytorch/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:534] Connection closed by peer [10.0.0.2]:389"
PEER_ERRORS = {
    "gloo, closed": f"the workers died: rank 0: RuntimeError: {GLOO}",
    "gloo, reset": "RuntimeError: [.../tcp/pair.cc:538] Read error [10.0.0.2]:38265: Connection reset by peer",
    "gloo, pipe": "RuntimeError: [.../gloo/transport/tcp/pair.cc:452] writev [10.0.0.2]:38265: Broken pipe",
    "store, libuv": "torch.distributed.DistNetworkError: Remote peer closed the connection.",
    "store, socket": "torch.distributed.DistNetworkError: Failed to recv, got 0 bytes. Connection was likely closed. "
    "Did the remote server shutdown or crash?",
    "nccl": "torch.distributed.DistBackendError: NCCL error in: NCCLUtils.cpp:77, remote process exited or "
    "there was a network error, NCCL version 2.26.2\nncclRemoteError: A call failed possibly due to a network error or "
    "a remote process exiting prematurely.",
    "nccl, system": "ncclSystemError: System call (e.g. socket, malloc) or external library call failed or device "
    "error. It can be also caused by unexpected exit of a remote peer, you can check NCCL warnings for failure reason",
    "ray": "The actor 2b00b0 is unavailable: The actor is temporarily unavailable: RpcError.",
}
OTHERS = (
    "LookupError: no such thing",
    "NCCL error: unhandled cuda error",
    "Watchdog caught collective operation timeout",
)


class Machines:
    """The machines that Ray knows of."""

    def __init__(self, *alive: str) -> None:
        self.alive = dict.fromkeys(alive, True)

    def __call__(self) -> list[dict[str, Any]]:
        return [{"NodeID": name, "Alive": alive} for name, alive in self.alive.items()]


@pytest.fixture
def machines(monkeypatch: pytest.MonkeyPatch) -> Machines:
    machines = Machines("a", "b", "c")
    monkeypatch.setattr(ray, "nodes", machines)
    return machines


@pytest.mark.parametrize("text", PEER_ERRORS.values(), ids=PEER_ERRORS)
def test_a_broken_connection_is_a_crash_until_its_machine_is_known_to_be_dead(machines: Machines, text: str) -> None:
    failure = explain(AttemptFailure(AttemptFailure.CRASH, text), nodes=["a", "b"])
    assert failure == AttemptFailure(AttemptFailure.CRASH, text, nodes=("a", "b"))
    assert review(failure) == failure
    machines.alive["c"] = False
    assert review(failure) == failure, "it had no part in it"
    machines.alive["b"] = False
    assert review(failure) == AttemptFailure(AttemptFailure.LOST_NODE, f"a machine of it was lost: {text}")
    assert explain(AttemptFailure(AttemptFailure.CRASH, text), nodes=["a", "b"]).kind == AttemptFailure.LOST_NODE


@pytest.mark.parametrize("text", OTHERS)
def test_other_errors_stay_what_they_are(machines: Machines, text: str) -> None:
    assert not is_peer_error(text)
    assert explain(AttemptFailure(AttemptFailure.CRASH, text), nodes=["a"]) == AttemptFailure(
        AttemptFailure.CRASH, text
    )


def test_where_the_workers_never_stood_any_machine_may_have_been_theirs(machines: Machines) -> None:
    assert explain(AttemptFailure(AttemptFailure.CRASH, GLOO), nodes=[]).nodes == ("a", "b", "c")


def test_a_driver_that_cannot_be_reached_is_judged_later(machines: Machines) -> None:
    unreachable = ActorUnavailableError("RpcError", None)
    failure = explain(unreachable, nodes=["a"])
    assert (failure.kind, failure.nodes) == (AttemptFailure.CRASH, ("a",))
    machines.alive["a"] = False
    assert review(failure).kind == AttemptFailure.LOST_NODE
    assert explain(unreachable, nodes=[]).kind == AttemptFailure.LOST_NODE


def test_a_ray_that_does_not_answer_says_nothing_of_machines(
    machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    failure = explain(AttemptFailure(AttemptFailure.CRASH, GLOO), nodes=["a"])

    def away() -> list[dict[str, Any]]:
        raise ray.exceptions.RpcError("GCS unreachable")

    monkeypatch.setattr(ray, "nodes", away)
    assert review(failure) == failure
