"""Background writes: in order per subject, retried when they fail, counted when they are lost.

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

from trainables.printable_text import printable
from trainables.redaction import redact

PAUSES = (0.5, 1.0, 2.0, 4.0)
"""Seconds before each further attempt of a write."""
REASON_LENGTH = 150
LOOK_SECONDS = 0.5
"""How often closing looks whether writes still move."""


@dataclass(frozen=True)
class QueuedWrite:
    """One thing to write about a subject. Neighbouring writes with values for one subject become one."""

    subject: str
    what: str
    perform: Callable[[list[Any]], None]
    values: list[Any] = field(default_factory=list)
    covers: bool = False
    """Whether it writes everything about its subject, so that what failed before is no longer missing."""

    @property
    def weight(self) -> int:
        """How many submissions this write stands for."""
        return max(1, len(self.values))


def merged(writes: Sequence[QueuedWrite]) -> list[QueuedWrite]:
    """Return the writes with those of values joined per subject, at the place of the first."""
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
    """Threads that perform submitted writes, those of one subject in their order.

    `recover` is called after each failure; what the store refused as invalid (`refused`) is named and not tried again,
    as it would be refused for ever. While writes fail one after the other only the first is tried again, so
    that a dead server doesn't hold up the queue; covering writes that failed are tried again as soon as another works.
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
        """By thread, with the time of the first attempt."""
        self._fault = ""
        self._healthy = True
        self._abandoned = threading.Event()
        self._closed = False
        self._queues: list[queue.Queue[QueuedWrite | None]] = [queue.Queue() for _ in range(lanes)]
        # Daemons: a server that hangs must not keep the program from ending.
        self._threads = [
            threading.Thread(target=self._run, args=(lane,), name="background-writer", daemon=True)
            for lane in self._queues
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, write: QueuedWrite) -> None:
        """Put a write at the end of its subject's queue."""
        with self._lock:
            if self._closed:
                raise RuntimeError(f"{write.what} of {write.subject}: submitted after close()")
            self._waiting += write.weight
        self._queues[hash(write.subject) % len(self._queues)].put(write)

    @property
    def missing(self) -> int:
        """Submissions that have not been written: waiting, or failed and not made up for since."""
        with self._lock:
            return self._waiting + self._lost.total()

    def why_missing(self) -> str:
        """Return what holds the writes up, in words; empty where nothing failed and nothing is under way."""
        with self._lock:
            under_way, fault = list(self._under_way.values()), self._fault
        if not under_way:
            return fault
        write, since = min(under_way, key=lambda entry: entry[1])
        tried = f"{write.what} of {write.subject} has been tried for {time.monotonic() - since:.0f} s"
        return f"{tried}: {fault}" if fault else f"{tried}, and nothing answers"

    def close(self, timeout: float) -> int:
        """Write what waits, until nothing was written for `timeout` seconds; return how many are missing then."""
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
            self._pay()
        else:
            self._log(write, error)
            self._healthy = False

    def _attempts(self, write: QueuedWrite, pauses: Sequence[float]) -> Exception | None:
        """Try until it works; return the last error when it doesn't."""
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
            except Exception as error:  # whatever it is, the sweep goes on
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

    def _pay(self) -> None:
        """Try covering writes that failed once more, now that another worked."""
        with self._lock:
            owed, self._owed = list(self._owed.values()), {}
            for write in owed:
                self._waiting += write.weight
                self._lost[write.subject] -= write.weight
        for write in owed:
            self._account(write, self._attempts(write, ()))

    def _log(self, write: QueuedWrite, error: Exception) -> None:
        # Once for an outage, not once for each write in it.
        level = logging.WARNING if self._healthy else logging.DEBUG
        self._logger.log(level, "%s of %s not written (%s)", write.what, printable(write.subject), _reason(error))


def _reason(error: Exception) -> str:
    """Return an error's first line; of a long one both ends, since libraries put the cause last."""
    line = printable(redact(f"{type(error).__name__}: {error}".partition("\n")[0]))
    return line if len(line) <= 2 * REASON_LENGTH else f"{line[:REASON_LENGTH]} ... {line[-REASON_LENGTH:]}"


def _take(lane: "queue.Queue[QueuedWrite | None]") -> tuple[list[QueuedWrite], bool]:
    """Wait for a write; return it with all others that are there, and whether more may come."""
    taken = [lane.get()]
    while not lane.empty():
        taken.append(lane.get_nowait())
    return [write for write in taken if write is not None], None not in taken
