"""Detection of a lost cluster: Ray's own client ends the process when the cluster is gone.

Ray's client ends the process after 60 s without an answer from the head node. It ends it at once if another cluster
answers at the same address, as after a second `ray up`. So this thread watches the head's port, and makes no call to
Ray while the head doesn't answer.
"""

import contextlib
import select
import socket
import threading
import time
from collections.abc import Callable

from sweep.cluster.ray_private import cluster_id_at

LOOK_SECONDS = 1.0
REFUSED_SECONDS, SILENT_SECONDS = 5.0, 30.0
"""How long the head may refuse connections, as while its process starts again, or not answer at all."""
STUCK_SECONDS = 5.0
"""How long the main thread has, once the cluster is gone, to come out of Ray."""
_CONNECT_SECONDS = 3.0
_WRONG = "WrongClusterID"
_current: "ClusterWatch | None" = None


class ClusterGoneError(RuntimeError):
    """The cluster that trials ran on is gone; the message says why."""


class ClusterWatch:
    """A thread that looks whether the head of the joined cluster answers, and is the same as before."""

    def __init__(self, gcs_address: str) -> None:
        """Start it; `gcs_address` is HOST:PORT as Ray says it."""
        self._address = gcs_address
        host, _, port = gcs_address.rpartition(":")
        self._place = (host.strip("[]"), int(port))
        self._identity = cluster_id_at(gcs_address)
        self._doubtful_since: float | None = None
        self._lock = threading.Lock()
        self._left = threading.Event()
        self.gone = ""
        """Why the cluster is gone; empty while it isn't."""
        self.when_stuck: Callable[[], None] = lambda: None
        """Called in the watch's thread when the main thread doesn't come out of Ray."""
        threading.Thread(target=self._follow, name="cluster watch", daemon=True).start()

    def leave(self) -> None:
        """Stop watching: the main thread has come out of Ray."""
        self._left.set()

    def settle(self, error: Exception | None = None) -> None:
        """Return when the cluster certainly answers, as it usually does; raise ClusterGoneError when it is gone."""
        if error is not None and _WRONG in str(error):
            self.gone = self.gone or "another one has started in its place"
        while not self.gone:
            self._look()
            if self._doubtful_since is None:
                return
            time.sleep(LOOK_SECONDS / 2)
        raise ClusterGoneError(self.reason)

    @property
    def reason(self) -> str:
        """What is to be said of it, with the address; empty while the cluster is there."""
        return self.gone and f"the cluster at {self._address} is gone: {self.gone}"

    def _follow(self) -> None:
        while not self.gone and not self._left.is_set():
            with contextlib.suppress(OSError), socket.create_connection(self._place, _CONNECT_SECONDS) as line:
                # It ends with the process behind it, however soon another one listens there.
                while not self._left.is_set() and not select.select([line], [], [], LOOK_SECONDS)[0]:
                    pass
            self._look()
            self._left.wait(LOOK_SECONDS)
        if self.gone and not self._left.wait(STUCK_SECONDS):
            self.when_stuck()

    def _look(self) -> None:
        with self._lock:
            now = time.monotonic()
            fault, patience = self._fault()
            if not fault:
                self._doubtful_since = None
                return
            self._doubtful_since = now if self._doubtful_since is None else self._doubtful_since
            if now - self._doubtful_since >= patience:
                self.gone = fault

    def _fault(self) -> tuple[str, float]:
        """Return what is wrong, or nothing, and how long that may last."""
        try:
            socket.create_connection(self._place, _CONNECT_SECONDS).close()
        except ConnectionRefusedError:
            return "its head node runs no Ray any more", REFUSED_SECONDS
        except OSError as error:
            return f"its head node doesn't answer: {error}", SILENT_SECONDS
        identity = cluster_id_at(self._address)
        if identity is None and self._identity is not None:
            return "its head node doesn't answer", SILENT_SECONDS
        return ("another one has started in its place" if identity != self._identity else ""), 0.0


def watch(gcs_address: str) -> ClusterWatch:
    """Begin to watch the cluster that this process has joined."""
    global _current
    _current = ClusterWatch(gcs_address)
    return _current


def unwatch() -> bool:
    """End the watch; return whether the cluster is gone, so that Ray is better not asked to leave it."""
    global _current
    ended, _current = _current, None
    if ended is None:
        return False
    ended.leave()
    return bool(ended.gone)


def watched() -> ClusterWatch | None:
    """Return the watch of the cluster that this process has joined; None where Ray runs on this machine."""
    return _current


def settle(error: Exception | None = None) -> None:
    """Raise ClusterGoneError if the joined cluster is gone; wait while that isn't clear. `error`: what raises doubt."""
    if _current is not None:
        _current.settle(error)


def reason_gone() -> str:
    """Return why the joined cluster is gone, or nothing, at once."""
    return "" if _current is None else _current.reason
