"""Redirection of the output of Ray and other libraries into a log file."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from trainables.printing.lasting_output import keep_unprinted, lasting

READER_SECONDS = 5.0
"""Seconds to wait for a pager or paused terminal; then lines go to the log, so that the sweep isn't delayed."""


@contextlib.contextmanager
def quiet(log_file: Path) -> Iterator[TextIO]:
    """Redirect all output to stdout and stderr, including Ray's threads, to a file; yield the real stdout.

    A write to the real stdout never fails; lines that can't be printed go to the file too.
    """
    log_file.parent.mkdir(parents=True, exist_ok=True)
    _flush()
    kept = [os.dup(1), os.dup(2)]
    screen = lasting(os.dup(1), patience=READER_SECONDS)
    with log_file.open("ab") as log:
        keep_unprinted(log_file, screen)
        for descriptor in (1, 2):
            os.dup2(log.fileno(), descriptor)
        try:
            yield screen
        finally:
            _flush()
            screen.flush()
            os.close(screen.fileno())
            for saved, descriptor in zip(kept, (1, 2), strict=True):
                os.dup2(saved, descriptor)
                os.close(saved)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(ValueError, OSError):
            stream.flush()
