"""Signals that stop a sweep: in order at the first, at once at the second or after a grace period."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

from sweep.console.stop_signals import REASONS, StopRequestedError, stop_signals
from sweep.scheduling.dispatcher import Dispatcher


class StopHandler:
    """Signal handler: the first signal stops in order; its repetition, or the end of the grace period, kills.

    A closed terminal may send SIGHUP twice, from the kernel and from the shell; so a second SIGHUP is ignored.
    """

    def __init__(self, dispatcher: Dispatcher, grace_seconds: float) -> None:
        self._dispatcher, self._grace = dispatcher, grace_seconds
        self._seen = set[int]()
        self._grace_over = threading.Event()
        self._timer: threading.Timer | None = None
        self.at_once = 0
        """Signal that caused the immediate stop; 0 if there was none."""

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Stop the dispatcher; at once after a repetition or the grace period."""
        again = number in self._seen and number != signal.SIGHUP
        if self.at_once and again:
            raise StopRequestedError(number)
        self._dispatcher.stop(REASONS[number])
        if again or self._grace_over.is_set():
            self.at_once = number
            signal.raise_signal(signal.SIGUSR1)
        elif number != signal.SIGINT and self._timer is None:
            self._timer = threading.Timer(self._grace, self._end_grace, (number,))
            self._timer.daemon = True
            self._timer.start()
        self._seen.add(number)

    def _end_grace(self, number: int) -> None:
        self._grace_over.set()
        os.kill(os.getpid(), number)  # Python runs signal handlers only in the main thread

    def close(self) -> None:
        """Cancel the timer of the grace period."""
        if self._timer is not None:
            self._timer.cancel()


@contextlib.contextmanager
def interruptible(dispatcher: Dispatcher, grace_seconds: float) -> Iterator[StopHandler]:
    """Install handlers for the signals that request a stop."""
    interruption = StopHandler(dispatcher, grace_seconds)
    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return
    # Tune installs its own SIGUSR1 handler in `fit`; outside of it, the signal must be harmless.
    before: Any = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    try:
        with stop_signals(interruption.handle):
            yield interruption
    finally:
        interruption.close()
        signal.signal(signal.SIGUSR1, before)
