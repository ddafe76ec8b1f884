"""Background writes: in order per subject, retried after failures, counted if lost.

Submitting a write never blocks and never raises, since the written values are a view of the records.
"""

import logging
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from trainables.printing.printable_text import printable
from trainables.printing.redaction import redact

PAUSES = (0.5, 1.0, 2.0, 4.0)
"""Seconds before each retry of a write."""
REASON_LENGTH = 150
LOOK_SECONDS = 0.5
"""Seconds between two checks, during closing, that writes still make progress."""


@dataclass(frozen=True)
class QueuedWrite:
    """Queued write about one subject; neighbouring writes of values for the same subject are merged."""

    subject: str
    what: str
    perform: Callable[[list[Any]], None]
    values: list[Any] = field(default_factory=list)
    covers: bool = False
    """Whether the write covers everything about its subject, which makes up for earlier failures."""

    @property
    def weight(self) -> int:
        """Return the number of submissions that this write stands for."""
        return max(1, len(self.values))


def merged(writes: Sequence[QueuedWrite]) -> list[QueuedWrite]:
    """Return the writes, with the value writes of each subject merged at the place of the first."""
    result: list[QueuedWrite] = []
    joined: dict[tuple[str, str], list[Any]] = {}
    for write in writes:
        key = (write.subject, write.what)
        if write.values and key in joined:
            joined[key].extend(write.values)
            continue
        if write.values:
            joined[key] = list(write.values)
            write = QueuedWrite(write.subject, write.what, write.perform, joined[key])
        result.append(write)
    return result


class BackgroundWriter:
    """Threads that perform submitted writes, in order per subject.

    `recover` is called after each failure. A write that the store rejects as invalid (`refused`) is reported and not
    retried, since it would fail again. During a series of failures only the first write is retried, so that a dead
    server doesn't delay the queue. Failed covering writes are retried as soon as another write succeeds.
    """

    def __init__(
        self,
        *,
        logger: logging.Logger,
        recover: Callable[[], None],
        refused: Callable[[Exception], bool] = lambda error: False,
        lanes: int = 1,
        pauses: Sequence[float] = PAUSES,
    ) -> None:
        self._logger, self._recover, self._refused, self._pauses = logger, recover, refused, pauses
        self._lock = threading.Lock()
        self._waiting = 0
        self._lost: Counter[str] = Counter()
        self._owed: dict[str, QueuedWrite] = {}
        self._under_way: dict[int, tuple[QueuedWrite, float]] = {}
        """Current write of each thread, with the time of its first attempt."""
        self._fault = ""
        self._healthy = True
        self._abandoned = threading.Event()
        self._closed = False
        self._queues: list[queue.Queue[QueuedWrite | None]] = [queue.Queue() for _ in range(lanes)]
        # Daemon threads: a server that hangs must not keep the program from ending.
        self._threads = [
            threading.Thread(target=self._run, args=(lane,), name="background-writer", daemon=True)
            for lane in self._queues
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, write: QueuedWrite) -> None:
        """Append a write to its subject's queue."""
        with self._lock:
            if self._closed:
                raise RuntimeError(f"{write.what} of {write.subject}: submitted after close()")
            self._waiting += write.weight
        self._queues[hash(write.subject) % len(self._queues)].put(write)

    @property
    def missing(self) -> int:
        """Return the number of missing submissions: waiting, or failed and not covered since."""
        with self._lock:
            return self._waiting + self._lost.total()

    def why_missing(self) -> str:
        """Return the reason for missing writes, in words; empty if nothing failed and nothing is in progress."""
        with self._lock:
            under_way, fault = list(self._under_way.values()), self._fault
        if not under_way:
            return fault
        write, since = min(under_way, key=lambda entry: entry[1])
        tried = f"{write.what} of {write.subject} has been tried for {time.monotonic() - since:.0f} s"
        return f"{tried}: {fault}" if fault else f"{tried}, and nothing answers"

    def close(self, timeout: float) -> int:
        """Perform the waiting writes until none has succeeded for `timeout` seconds; return how many are missing."""
        with self._lock:
            first, self._closed = not self._closed, True
        for lane in self._queues if first else ():
            lane.put(None)
        left, moved = self.missing, time.monotonic()
        while (alive := self._alive()) and time.monotonic() < moved + timeout:
            alive[0].join(min(LOOK_SECONDS, timeout))
            if self.missing < left:
                left, moved = self.missing, time.monotonic()
        self._abandoned.set()
        return self.missing

    def _alive(self) -> list[threading.Thread]:
        return [thread for thread in self._threads if thread.is_alive()]

    def _run(self, lane: "queue.Queue[QueuedWrite | None]") -> None:
        open_ = True
        while open_ and not self._abandoned.is_set():
            writes, open_ = _take(lane)
            for write in merged(writes):
                if self._abandoned.is_set():
                    return
                self._perform(write)

    def _perform(self, write: QueuedWrite) -> None:
        error = self._attempts(write, self._pauses if self._healthy else ())
        self._account(write, error)
        if error is not None and self._refused(error):
            self._logger.warning("%s of %s refused (%s)", write.what, printable(write.subject), _reason(error))
        elif error is None:
            self._healthy = True
            self._retry_failed()
        else:
            self._log(write, error)
            self._healthy = False

    def _attempts(self, write: QueuedWrite, pauses: Sequence[float]) -> Exception | None:
        """Try a write until it succeeds; return the last error if it doesn't."""
        thread = threading.get_ident()
        with self._lock:
            self._under_way[thread] = write, time.monotonic()
        try:
            return self._attempt_again(write, pauses)
        finally:
            with self._lock:
                del self._under_way[thread]

    def _attempt_again(self, write: QueuedWrite, pauses: Sequence[float]) -> Exception | None:
        for pause in (*pauses, None):
            try:
                write.perform(write.values)
            except Exception as error:  # any error: the sweep continues
                self._fault = _reason(error)
                self._recover()
                if self._refused(error):
                    return error
                if pause is None or self._abandoned.wait(pause):
                    return error
            else:
                return None
        return None

    def _account(self, write: QueuedWrite, error: Exception | None) -> None:
        with self._lock:
            self._waiting -= write.weight
            if error is not None:
                self._lost[write.subject] += write.weight
            elif write.covers:
                del self._lost[write.subject]
            if write.covers and error is not None and not self._refused(error):
                self._owed[write.subject] = write
            elif write.covers:
                self._owed.pop(write.subject, None)

    def _retry_failed(self) -> None:
        """Retry failed covering writes once, after another write has succeeded."""
        with self._lock:
            owed, self._owed = list(self._owed.values()), {}
            for write in owed:
                self._waiting += write.weight
                self._lost[write.subject] -= write.weight
        for write in owed:
            self._account(write, self._attempts(write, ()))

    def _log(self, write: QueuedWrite, error: Exception) -> None:
        # Once per outage, not once per write.
        level = logging.WARNING if self._healthy else logging.DEBUG
        self._logger.log(level, "%s of %s not written (%s)", write.what, printable(write.subject), _reason(error))


def _reason(error: Exception) -> str:
    """Return an error's first line; a long line keeps both ends, since libraries put the cause last."""
    line = printable(redact(f"{type(error).__name__}: {error}".partition("\n")[0]))
    return line if len(line) <= 2 * REASON_LENGTH else f"{line[:REASON_LENGTH]} ... {line[-REASON_LENGTH:]}"


def _take(lane: "queue.Queue[QueuedWrite | None]") -> tuple[list[QueuedWrite], bool]:
    """Wait for a write; return it with all others in the queue, and whether more may come."""
    taken = [lane.get()]
    while not lane.empty():
        taken.append(lane.get_nowait())
    return [write for write in taken if write is not None], None not in taken
