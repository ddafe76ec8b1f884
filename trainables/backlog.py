"""Writes that may wait: training goes on while the storage is away, and what is due is caught up in order."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from trainables.errors import StorageAwayError

PAUSES = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds before each further attempt; the last one again and again."""
PATIENCE_SECONDS = 1200.0
"""How long the end of a trial waits for its storage; its other workers wait with it, up to 1800 s."""


@dataclass
class Due:
    """One thing to write; `perform` may be repeated."""

    name: str
    perform: Callable[[], None]


@dataclass
class Backlog:
    """Performs writes at once while that works; else in a thread, in their order, until it works again.

    A later write of a name that still waits takes its place: of checkpoints only the newest is kept in memory.
    """

    pauses: tuple[float, ...] = PAUSES
    error: str = ""
    """Why the oldest one waits; empty when nothing does."""
    _due: list[Due] = field(default_factory=list)
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _thread: threading.Thread | None = None

    @property
    def waiting(self) -> int:
        """How many writes wait."""
        with self._changed:
            return len(self._due)

    def write(self, name: str, perform: Callable[[], None]) -> None:
        """Perform the write, or put it in the queue when others wait or the storage raises OSError."""
        if not self.waiting:
            try:
                perform()
            except OSError as error:
                self.error = _reason(error)
            else:
                return
        with self._changed:
            self._due = [due for due in self._due if due.name != name]
            self._due.append(Due(name, perform))
            self._changed.notify_all()
            if self._thread is None:
                self._thread = threading.Thread(target=self._catch_up, name="storage backlog", daemon=True)
                self._thread.start()

    def flush(self, seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until nothing is due; StorageAwayError when that takes longer than `seconds`."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while self._due:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise StorageAwayError(
                        f"{len(self._due)} files could not be written for {seconds:.0f} s, {self._due[0].name} first: "
                        f"{self.error}"
                    )
                self._changed.wait(min(left, 1.0))

    def _catch_up(self) -> None:
        attempt = 0
        while True:
            with self._changed:
                if not self._due:
                    self.error, self._thread = "", None
                    self._changed.notify_all()
                    return
                due = self._due[0]
            try:
                due.perform()
            except OSError as error:
                self.error = _reason(error)
                time.sleep(self.pauses[min(attempt, len(self.pauses) - 1)])
                attempt += 1
                continue
            attempt = 0
            with self._changed:
                # One that took its place meanwhile stays.
                self._due = [other for other in self._due if other is not due]
                self._changed.notify_all()


def _reason(error: OSError) -> str:
    return str(error).partition("\n")[0][:300]
