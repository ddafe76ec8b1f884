"""Output streams that survive a closed pipe or terminal and a full disk: printing ends, and the process continues.

A write to stdout or stderr never fails; lines that couldn't be written go to the running sweep's log, if there is one.
"""

import contextlib
import errno
import io
import os
import select
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

GONE = frozenset({errno.EPIPE, errno.ECONNRESET})
"""Who read it wants no more: nothing to be told of."""
FAILED = 1
_PIECE_BYTES = select.PIPE_BUF
"""So much fits into a pipe that takes anything: a write of it doesn't block."""


class LastingOutput(io.RawIOBase):
    """The raw side of a stream whose writes never fail."""

    def __init__(self, descriptor: int, *, patience: float | None = None) -> None:
        """Args: what isn't read within `patience` seconds is left unprinted; None: it is waited for."""
        self._descriptor, self._patience = descriptor, patience
        self.fault: OSError | None = None
        """Why something couldn't be written, the first time."""
        self.instead: Callable[[bytes], object] | None = None
        """Takes what couldn't be written, but for a table that is drawn again and again."""
        self._paused = False
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)

    def writable(self) -> bool:
        """Whether it can be written: it can."""
        return True

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._descriptor

    def isatty(self) -> bool:
        """Whether it is a terminal that is still there."""
        return self.fault is None and os.isatty(self._descriptor)

    def write(self, content: Any) -> int:
        """Write all of it, or drop what can't be written."""
        view = memoryview(content).cast("B")
        try:
            for start in range(0, len(view), _PIECE_BYTES):
                self._write_piece(view[start : start + _PIECE_BYTES])
        except OSError as fault:
            self._keep(bytes(view), fault)
        return len(view)

    def _keep(self, content: bytes, fault: OSError) -> None:
        heading = f"stdout: {fault.strerror}; what can't be printed stands here\n" if self.fault is None else ""
        self.fault = self.fault or fault
        if self.instead is not None:
            with contextlib.suppress(OSError):  # the disk of the log may be full, too
                self.instead(heading.encode() + (b"" if b"\x1b" in content else content))

    def _write_piece(self, piece: memoryview) -> None:
        while piece:
            if not self._takes_more():
                raise TimeoutError(errno.ETIMEDOUT, f"nobody reads it for {self._patience:g} s")
            with contextlib.suppress(BlockingIOError):  # another program made it so
                piece = piece[os.write(self._descriptor, piece) :]

    def _takes_more(self) -> bool:
        """Wait until something can be written; once that took too long, only look."""
        patience = 0.0 if self._paused else self._patience
        self._paused = not self._poll.poll(None if patience is None else 1000 * patience)
        return not self._paused


def lasting(descriptor: int, *, patience: float | None = None, errors: str = "replace") -> TextIO:
    """Return a text stream over a descriptor whose writes never fail."""
    raw: Any = LastingOutput(descriptor, patience=patience)
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding="utf-8", errors=errors, line_buffering=True)


def raw_of(stream: TextIO | None) -> LastingOutput | None:
    """Return the raw side of a lasting stream; None for others."""
    raw = getattr(getattr(stream, "buffer", None), "raw", None)
    return raw if isinstance(raw, LastingOutput) else None


def keep_unprinted(log_file: Path, stream: TextIO | None = None) -> None:
    """Append what can't be written to a stream, stdout by default, to a file from now on."""
    raw = raw_of(sys.stdout if stream is None else stream)
    if raw is None:
        return

    def append(content: bytes) -> None:
        with log_file.open("ab") as log:
            log.write(content)

    raw.instead = append


def is_lost(stream: TextIO | None) -> bool:
    """Whether something couldn't be written to a lasting stream."""
    raw = raw_of(stream)
    return raw is not None and raw.fault is not None


def open_streams() -> None:
    """Make this process's own stdout and stderr lasting; those that were closed lead nowhere."""
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is not getattr(sys, f"__{name}__"):
            continue  # a caller's, as of a test
        try:
            os.fstat(descriptor)
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)  # else the next file that is opened gets its number
        stream = getattr(sys, name)
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.flush()
        new = lasting(descriptor, errors="backslashreplace" if name == "stderr" else "replace")
        setattr(sys, name, new)
        setattr(sys, f"__{name}__", new)  # at its end Python flushes what it made, and would complain


def check_output(end: SystemExit) -> None:
    """Say when what a command printed is incomplete, as on a full disk: exit code 1, if it was 0."""
    raw = raw_of(sys.stdout)
    if raw is None or raw.fault is None or raw.instead is not None or raw.fault.errno in GONE:
        return
    print(f"error: stdout: {raw.fault.strerror}: what was printed is incomplete", file=sys.stderr)
    if end.code in (None, 0):
        sys.exit(FAILED)
