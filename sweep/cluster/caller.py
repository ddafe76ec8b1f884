"""Ray inside a calling program or notebook: its output is not redirected, and its process continues afterwards."""

import contextlib
import logging
import signal
import threading
from collections.abc import Iterator

from sweep.cluster.connection import set_environment


@contextlib.contextmanager
def as_a_guest(*, local: bool) -> Iterator[None]:
    """Let Ray log errors alone, and take back its handler of SIGTERM at the end. Comes before `connect`."""
    set_environment(local=local)
    import ray  # noqa: F401 - sets the level of its log

    logger = logging.getLogger("ray")
    level, handler = logger.level, signal.getsignal(signal.SIGTERM)
    logger.setLevel(logging.ERROR)  # its `init` drops handlers and keeps levels
    try:
        yield
    finally:
        logger.setLevel(level)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)
