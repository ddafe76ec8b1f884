"""Signals while Ray starts: this process keeps its handler, and Ray's processes are shielded from its group's."""

import contextlib
import signal
import threading
from collections.abc import Iterator

from sweep.console.stop_signals import StopRequestedError


@contextlib.contextmanager
def own_signals() -> Iterator[None]:
    """Keep this process's SIGTERM handler, which Ray replaces, and shield Ray from signals to the process group.

    A terminal, `timeout`, Slurm and systemd send signals to all processes of a group. Ray's processes inherit the set
    of blocked signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler, group_wide = signal.getsignal(signal.SIGTERM), {signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT}
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, group_wide)
    try:
        yield
    except SystemExit as left:  # Ray's handler
        raise StopRequestedError(signal.SIGTERM) from left
    finally:
        signal.signal(signal.SIGTERM, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
