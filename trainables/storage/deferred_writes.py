"""Ordered, deferred writes: buffered while the storage is unreachable; checkpoints are written during training."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from trainables.errors import StorageAwayError
from trainables.printing.printable_text import printable
from trainables.printing.redaction import redact

PAUSES = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds before each further attempt; the last value repeats."""
PATIENCE_SECONDS = 1200.0
"""Maximum wait at the end of a trial for its storage; the other workers wait for it, up to 1800 s."""


@dataclass
class DeferredWrite:
    """Write operation with its name; `perform` can be repeated."""

    name: str
    perform: Callable[[], None]


@dataclass
class DeferredWrites:
    """Queue of writes: performed at once while the storage is reachable, otherwise in order by a thread.

    A deferred write starts in the thread at once, and the next write waits for it, so order and errors are the same as
    without deferral. A write replaces a queued write of the same name: of checkpoints, only the newest is in memory.
    """

    pauses: tuple[float, ...] = PAUSES
    error: str = ""
    """Reason why the oldest write is queued; empty if none is."""
    _due: list[DeferredWrite] = field(default_factory=list)
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _thread: threading.Thread | None = None
    _fault: Exception | None = None
    """Error of the thread that isn't the storage's; the next write or flush raises it."""

    @property
    def waiting(self) -> int:
        """Number of queued writes."""
        return len(self.names())

    def names(self) -> list[str]:
        """Return the names of the queued writes, in order."""
        with self._changed:
            return [due.name for due in self._due]

    def write(self, name: str, perform: Callable[[], None]) -> None:
        """Perform a write; queue it if others are queued or the storage raises OSError."""
        self.settle()
        if not self.waiting:
            try:
                perform()
            except OSError as error:
                self.error = _reason(error)
            else:
                return
        self._drop(name)
        self._queue(DeferredWrite(name, perform))

    def aside(self, name: str, prepare: Callable[[], Callable[[], None]]) -> None:
        """Perform a write in the thread.

        Args:
            name: Name of the write.
            prepare: Function that returns the write; it is called when the previous write of that name has ended.
        """
        self.settle()
        self._drop(name)
        self._queue(DeferredWrite(name, prepare()))

    def settle(self) -> None:
        """Wait for the deferred write, unless the storage is unreachable."""
        with self._changed:
            while self._due and not self.error:
                self._changed.wait()
            self._raise_fault()

    def flush(self, seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until the queue is empty; StorageAwayError after `seconds`."""
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
            self._raise_fault()

    def _drop(self, name: str) -> None:
        with self._changed:
            self._due = [due for due in self._due if due.name != name]

    def _queue(self, due: DeferredWrite) -> None:
        with self._changed:
            self._due.append(due)
            self._changed.notify_all()
            if self._thread is None:
                self._thread = threading.Thread(target=self._catch_up, name="storage backlog", daemon=True)
                self._thread.start()

    def _raise_fault(self) -> None:
        fault, self._fault = self._fault, None
        if fault is not None:
            raise fault

    def _catch_up(self) -> None:
        failures = 0
        while (due := self._next()) is not None:
            if self._perform(due):
                failures = 0
                continue
            del due  # so that one which takes its place meanwhile frees its memory
            time.sleep(self.pauses[min(failures, len(self.pauses) - 1)])
            failures += 1

    def _next(self) -> DeferredWrite | None:
        """Return the oldest write; None if the queue is empty, and the thread ends."""
        with self._changed:
            if self._due:
                return self._due[0]
            self.error, self._thread = "", None
            return None

    def _perform(self, due: DeferredWrite) -> bool:
        """Perform a write; return False if the storage is unreachable."""
        fault = None
        try:
            due.perform()
        except OSError as error:
            with self._changed:
                self.error = _reason(error)
                self._changed.notify_all()
            return False
        except Exception as error:  # a fault of ours: trying again wouldn't help
            fault = error
        with self._changed:
            self.error, self._fault = "", self._fault or fault
            # One that took its place meanwhile stays.
            self._due = [other for other in self._due if other is not due]
            self._changed.notify_all()
        return True


def _reason(error: OSError) -> str:
    return printable(redact(str(error).partition("\n")[0]))[:300]
