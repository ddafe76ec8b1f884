"""A run inside a calling program or notebook: its output is not redirected, and its process continues afterwards."""

import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator

from sweep.cluster.connection import set_environment
from trainables.errors import BadInputError

_RUNNING = threading.Lock()
"""Held by the run of this process: Ray connects once per process."""


@contextlib.contextmanager
def callers_settings_kept(*, local: bool) -> Iterator[None]:
    """Wait for another run of this process, make Ray log errors only, and restore the caller's settings at the end.

    These are environment variables, the SIGTERM handler, the level of Ray's log, and the hook for uncaught exceptions.

    Raises:
        BadInputError: The program itself is connected to Ray.
    """
    with _RUNNING:
        _check_ray_is_free()
        environment, hook = dict(os.environ), sys.excepthook
        logger, handler = logging.getLogger("ray"), signal.getsignal(signal.SIGTERM)
        level = logger.level
        try:
            set_environment(local=local)
            import ray  # noqa: F401 - sets the level of its log

            level = logger.level
            logger.setLevel(logging.ERROR)  # Ray's `init` removes handlers but keeps levels
            yield
        finally:
            logger.setLevel(level)
            sys.excepthook = hook
            _restore(environment)
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, handler)


def _check_ray_is_free() -> None:
    ray = sys.modules.get("ray")
    if ray is not None and ray.is_initialized():
        raise BadInputError(
            "Ray: this program is connected to Ray already (ray.init), and a sweep makes a connection of its own; call "
            "ray.shutdown() first, or run the sweep in another process"
        )


def _restore(environment: dict[str, str]) -> None:
    for name in os.environ.keys() - environment.keys():
        del os.environ[name]
    os.environ |= {name: value for name, value in environment.items() if os.environ.get(name) != value}
