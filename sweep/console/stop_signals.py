"""Signals that ask a command to end: Ctrl-C, SIGTERM of service managers, SIGHUP of a closed terminal."""

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
}
"""Why a command ends, by the signal."""
GRACE_SECONDS = 20.0
"""How long running epochs may go on after SIGTERM or SIGHUP: Slurm and Kubernetes kill after 30 s."""
Handler = Callable[[int, FrameType | None], Any]


class StopRequestedError(KeyboardInterrupt):
    """A signal asked the command to end; like Ctrl-C it passes what catches errors."""

    def __init__(self, number: int) -> None:
        """Args: `number` is the signal's."""
        super().__init__(REASONS[number])


def exit_code(reason: str) -> int | None:
    """Return the exit code of a command that ended for such a reason, as a shell says it; None for other reasons."""
    return next((128 + number for number, text in REASONS.items() if text == reason), None)


def reason_of(error: KeyboardInterrupt) -> str:
    """Return why a command ends: Python's own KeyboardInterrupt says nothing of it."""
    return str(error) or REASONS[signal.SIGINT]


def raise_it(number: int, _frame: FrameType | None) -> NoReturn:
    """Raise StopRequestedError: a handler."""
    raise StopRequestedError(number)


@contextmanager
def stop_signals(handler: Handler = raise_it) -> Iterator[None]:
    """Call a handler for each of the signals meanwhile; SIGHUP stays ignored under nohup. Only in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ignored = {signal.SIGHUP} if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN else set()
    before = {number: signal.signal(number, handler) for number in REASONS.keys() - ignored}
    try:
        yield
    finally:
        for number, its in before.items():
            signal.signal(number, its)
