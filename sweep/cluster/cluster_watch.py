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
"""Seconds for which the head may refuse connections, as during a restart, and for which it may not answer at all."""
STUCK_SECONDS = 5.0
"""Seconds that the main thread has to leave Ray's client after the cluster is gone."""
_CONNECT_SECONDS = 3.0
_WRONG = "WrongClusterID"
_current: "ClusterWatch | None" = None


class ClusterGoneError(RuntimeError):
    """Error for a lost cluster; the message is the reason."""


class ClusterWatch:
    """Thread that checks that the head of the joined cluster answers and is still the same."""

    def __init__(self, gcs_address: str) -> None:
        """Start the thread; `gcs_address` is HOST:PORT as Ray states it."""
        self._address = gcs_address
        host, _, port = gcs_address.rpartition(":")
        self._place = (host.strip("[]"), int(port))
        self._identity = cluster_id_at(gcs_address)
        self._doubtful_since: float | None = None
        self._lock = threading.Lock()
        self._left = threading.Event()
        self.gone = ""
        """Reason why the cluster is gone; empty while it answers."""
        self.when_stuck: Callable[[], None] = lambda: None
        """Callback in the watch's thread, called if the main thread doesn't leave Ray's client."""
        threading.Thread(target=self._follow, name="cluster watch", daemon=True).start()

    def leave(self) -> None:
        """Stop watching; called after the main thread has left Ray's client."""
        self._left.set()

    def settle(self, error: Exception | None = None) -> None:
        """Return once the cluster certainly answers, usually at once; raise ClusterGoneError if it is gone."""
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
        """Return the reason why the cluster is gone, with its address; empty while it answers."""
        return self.gone and f"the cluster at {self._address} is gone: {self.gone}"

    def _follow(self) -> None:
        while not self.gone and not self._left.is_set():
            with contextlib.suppress(OSError), socket.create_connection(self._place, _CONNECT_SECONDS) as line:
                # This connection ends with the head's process, even if another one soon listens at the address.
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
        """Return the present fault, empty if there is none, and the seconds for which it is tolerated."""
        try:
            socket.create_connection(self._place, _CONNECT_SECONDS).close()
        except ConnectionRefusedError:
            return "its head node runs no Ray any more", REFUSED_SECONDS
        except OSError as error:
            return f"its head node doesn't answer: {error}", SILENT_SECONDS
        identity = cluster_id_at(self._address)
        if identity is None and self._identity is not None:
            return "its head node doesn't answer", SILENT_SECONDS
        if self._identity is None:  # it didn't answer in time at the start
            self._identity = identity
        return ("another one has started in its place" if identity != self._identity else ""), 0.0


def watch(gcs_address: str) -> ClusterWatch:
    """Start watching the cluster that this process has joined."""
    global _current
    _current = ClusterWatch(gcs_address)
    return _current


def unwatch() -> bool:
    """Stop watching; return whether the cluster is gone, in which case Ray must not be asked to leave it."""
    global _current
    ended, _current = _current, None
    if ended is None:
        return False
    ended.leave()
    return bool(ended.gone)


def watched() -> ClusterWatch | None:
    """Return the watch of the joined cluster; None if Ray runs on this machine."""
    return _current


def settle(error: Exception | None = None) -> None:
    """Raise ClusterGoneError if the joined cluster is gone; wait while that is unclear. `error` causes the doubt."""
    if _current is not None:
        _current.settle(error)


def reason_gone() -> str:
    """Return the reason why the joined cluster is gone, or an empty text; doesn't wait."""
    return "" if _current is None else _current.reason
