"""Ordered, deferred writes: buffered while the storage is unreachable; checkpoints are written during training."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from trainables.errors import StorageAwayError
from trainables.printable_text import printable
from trainables.redaction import redact

PAUSES = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds before each further attempt; the last one again and again."""
PATIENCE_SECONDS = 1200.0
"""How long the end of a trial waits for its storage; its other workers wait with it, up to 1800 s."""


@dataclass
class DeferredWrite:
    """One thing to write; `perform` may be repeated."""

    name: str
    perform: Callable[[], None]


@dataclass
class DeferredWrites:
    """Performs writes at once while that works; else in a thread, in their order, until it works again.

    What is put aside goes to the thread at once, and the next write waits for it: so order and errors are those of
    writes that nobody puts aside. A later write of a name that waits for the storage takes its place: of checkpoints
    only the newest is kept in memory.
    """

    pauses: tuple[float, ...] = PAUSES
    error: str = ""
    """Why the oldest one waits; empty when nothing does."""
    _due: list[DeferredWrite] = field(default_factory=list)
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _thread: threading.Thread | None = None
    _fault: Exception | None = None
    """Error of the thread other than the storage's; the next write or flush raises it."""

    @property
    def waiting(self) -> int:
        """How many writes wait."""
        return len(self.names())

    def names(self) -> list[str]:
        """Return the names of what isn't written yet, in order."""
        with self._changed:
            return [due.name for due in self._due]

    def write(self, name: str, perform: Callable[[], None]) -> None:
        """Perform the write, or put it in the queue when others wait or the storage raises OSError."""
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
        """Perform what `prepare` returns in the thread; it is called when the write before of that name is over."""
        self.settle()
        self._drop(name)
        self._queue(DeferredWrite(name, prepare()))

    def settle(self) -> None:
        """Wait for what was put aside, unless the storage is away."""
        with self._changed:
            while self._due and not self.error:
                self._changed.wait()
            self._raise_fault()

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
        """Return the oldest; None when nothing is due, and the thread ends."""
        with self._changed:
            if self._due:
                return self._due[0]
            self.error, self._thread = "", None
            return None

    def _perform(self, due: DeferredWrite) -> bool:
        """Return whether it is done with; if not, the storage is away."""
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
