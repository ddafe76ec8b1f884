"""Whether a joined cluster is still there, by its head's port alone."""

import socket
from collections.abc import Iterator

import pytest

from sweep.cluster import cluster_watch
from sweep.cluster.cluster_watch import ClusterGoneError, ClusterWatch


class Head:
    """A port, and which cluster is behind it."""

    def __init__(self) -> None:
        self.cluster: str | None = "first"
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]

    def stop(self) -> None:
        self._listener.close()

    def start(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port))


@pytest.fixture
def head(monkeypatch: pytest.MonkeyPatch) -> Iterator[Head]:
    head = Head()
    for name, seconds in {"LOOK_SECONDS": 0.05, "REFUSED_SECONDS": 0.3, "STUCK_SECONDS": 0.1}.items():
        monkeypatch.setattr(cluster_watch, name, seconds)
    monkeypatch.setattr(cluster_watch, "cluster_id_at", lambda _: head.cluster)
    yield head
    head.stop()
    cluster_watch.unwatch()


def watch(head: Head) -> ClusterWatch:
    return cluster_watch.watch(f"127.0.0.1:{head.port}")


def test_a_cluster_that_answers_is_no_reason_for_anything(head: Head) -> None:
    watch(head).settle(RuntimeError("Tune fell over"))
    assert cluster_watch.reason_gone() == ""
    assert not cluster_watch.unwatch()


def test_a_head_that_refuses_for_a_while_is_gone(head: Head) -> None:
    watched = watch(head)
    head.stop()
    with pytest.raises(ClusterGoneError, match=rf"the cluster at 127.0.0.1:{head.port} is gone: its head node runs no"):
        watched.settle()
    assert cluster_watch.unwatch()


def test_a_head_that_comes_back_is_the_same_cluster_or_another(head: Head) -> None:
    watched = watch(head)
    head.stop()
    head.start()
    watched.settle()
    head.stop()
    head.cluster = "second"
    head.start()
    with pytest.raises(ClusterGoneError, match="another one has started in its place"):
        watched.settle()


def test_a_head_that_answers_late_at_the_start_is_no_other_cluster(head: Head) -> None:
    head.cluster = None
    watched = watch(head)
    head.cluster = "first"
    watched.settle()
    head.cluster = "second"
    with pytest.raises(ClusterGoneError, match="another one has started in its place"):
        watched.settle()


def test_rays_own_word_for_another_cluster_is_enough(head: Head) -> None:
    with pytest.raises(ClusterGoneError, match="another one has started"):
        watch(head).settle(RuntimeError("RPC error: WrongClusterID: Perhaps the client is accessing GCS after it has"))


def test_a_main_thread_that_does_not_come_out_of_ray_is_not_waited_for(head: Head) -> None:
    ended: list[str] = []
    watched = watch(head)
    watched.when_stuck = lambda: ended.append(watched.reason)
    head.stop()
    with pytest.raises(ClusterGoneError):
        watched.settle()
    deadline = 100
    while not ended and deadline:
        watched._left.wait(0.05)
        deadline -= 1
    assert ended == [watched.reason]


def test_a_ray_of_this_machine_is_not_watched() -> None:
    cluster_watch.settle(RuntimeError("anything"))
    assert cluster_watch.reason_gone() == ""
