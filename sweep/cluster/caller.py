"""Ray inside a calling program or notebook: its output is not redirected, and its process continues afterwards."""

import contextlib
import logging
import signal
import threading
from collections.abc import Iterator

from sweep.cluster.connection import set_environment


@contextlib.contextmanager
def callers_settings_kept(*, local: bool) -> Iterator[None]:
    """Make Ray log errors only, and restore the SIGTERM handler at the end; enter it before `connect`."""
    set_environment(local=local)
    import ray  # noqa: F401 - sets the level of its log

    logger = logging.getLogger("ray")
    level, handler = logger.level, signal.getsignal(signal.SIGTERM)
    logger.setLevel(logging.ERROR)  # Ray's `init` removes handlers but keeps levels
    try:
        yield
    finally:
        logger.setLevel(level)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)
