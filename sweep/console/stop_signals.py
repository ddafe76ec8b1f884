"""Signals that ask a command to end: Ctrl-C, SIGTERM of service managers, SIGHUP of a closed terminal, SIGQUIT."""

import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

REASONS: Mapping[int, str] = {
    signal.SIGINT: "interrupted",
    signal.SIGTERM: "ended by SIGTERM",
    signal.SIGHUP: "ended by SIGHUP",
    signal.SIGQUIT: "ended by SIGQUIT",
}
"""Reason for a command's end, by signal."""
GRACE_SECONDS = 20.0
"""Seconds that running epochs may continue after any of them but Ctrl-C; Slurm and Kubernetes kill after 30 s."""
Handler = Callable[[int, FrameType | None], Any]


class StopRequestedError(KeyboardInterrupt):
    """A signal asked the command to end; like KeyboardInterrupt, it isn't caught by `except Exception`."""

    def __init__(self, number: int) -> None:
        """Create the error for a signal's number."""
        super().__init__(REASONS[number])


def exit_code(reason: str) -> int | None:
    """Return the exit code for a reason, by the shell's convention; None for other reasons."""
    return next((128 + number for number, text in REASONS.items() if text == reason), None)


def reason_of(error: KeyboardInterrupt) -> str:
    """Return the reason for a command's end; for Python's own KeyboardInterrupt, that of SIGINT."""
    return str(error) or REASONS[signal.SIGINT]


def raise_stop_request(number: int, _frame: FrameType | None) -> NoReturn:
    """Raise StopRequestedError; a signal handler."""
    raise StopRequestedError(number)


@contextmanager
def stop_signals(handler: Handler = raise_stop_request) -> Iterator[None]:
    """Install a handler for these signals during a block, in the main thread only.

    SIGHUP stays ignored under nohup, and SIGQUIT in a shell's background.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    may_be_ignored = (signal.SIGHUP, signal.SIGQUIT)
    ignored = {number for number in may_be_ignored if signal.getsignal(number) == signal.SIG_IGN}
    before = {number: signal.signal(number, handler) for number in REASONS.keys() - ignored}
    try:
        yield
    finally:
        for number, its in before.items():
            signal.signal(number, its)
