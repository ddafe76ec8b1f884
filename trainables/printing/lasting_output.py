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
"""Errors of a closed reader, which are not reported."""
FAILED = 1
_PIECE_BYTES = select.PIPE_BUF
"""Bytes that a writable pipe always takes at once, so that a write doesn't block."""


class LastingOutput(io.RawIOBase):
    """Raw side of a stream whose writes never fail."""

    def __init__(self, descriptor: int, *, patience: float | None = None) -> None:
        """Open a descriptor; output not read within `patience` seconds is dropped. None: writes wait."""
        self._descriptor, self._patience = descriptor, patience
        self.fault: OSError | None = None
        """First error of a write; None if there was none."""
        self.instead: Callable[[bytes], object] | None = None
        """Function that gets the output that couldn't be written, except frames of a live table."""
        self._paused = False
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)

    def writable(self) -> bool:
        """Whether the stream is writable: always true."""
        return True

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._descriptor

    def isatty(self) -> bool:
        """Whether the stream is a terminal that still exists."""
        return self.fault is None and os.isatty(self._descriptor)

    def write(self, content: Any) -> int:
        """Write all of the content; drop the part that can't be written."""
        view = memoryview(content).cast("B")
        try:
            for start in range(0, len(view), _PIECE_BYTES):
                self._write_piece(view[start : start + _PIECE_BYTES])
        except OSError as fault:
            self._keep(bytes(view), fault)
        return len(view)

    def _keep(self, content: bytes, fault: OSError) -> None:
        heading = f"stdout: {fault.strerror}; output that couldn't be printed follows\n" if self.fault is None else ""
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
        """Wait until the stream is writable; after one timeout, only check without waiting."""
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
    """Append all output that a stream (default: stdout) can't take to a file, from now on."""
    raw = raw_of(sys.stdout if stream is None else stream)
    if raw is None:
        return

    def append(content: bytes) -> None:
        with log_file.open("ab") as log:
            log.write(content)

    raw.instead = append


def is_lost(stream: TextIO | None) -> bool:
    """Whether output to a lasting stream was lost."""
    raw = raw_of(stream)
    return raw is not None and raw.fault is not None


def open_streams() -> None:
    """Make this process's stdout and stderr lasting; closed ones discard their output."""
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
    """Report on stderr if stdout is incomplete, for example on a full disk; an exit code of 0 becomes 1."""
    raw = raw_of(sys.stdout)
    if raw is None or raw.fault is None or raw.instead is not None or raw.fault.errno in GONE:
        return
    print(f"error: stdout: {raw.fault.strerror}: what was printed is incomplete", file=sys.stderr)
    if end.code in (None, 0):
        sys.exit(FAILED)
