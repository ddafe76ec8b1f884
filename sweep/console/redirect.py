"""The terminal kept from what others write to it."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO


@contextlib.contextmanager
def quiet(log_file: Path) -> Iterator[TextIO]:
    """Send what anybody writes to stdout and stderr, Ray's threads included, to a file; yield the real stdout."""
    log_file.parent.mkdir(parents=True, exist_ok=True)
    _flush()
    kept = [os.dup(1), os.dup(2)]
    with log_file.open("ab") as log, os.fdopen(os.dup(1), "w", encoding="utf-8", errors="replace") as screen:
        for descriptor in (1, 2):
            os.dup2(log.fileno(), descriptor)
        try:
            yield screen
        finally:
            _flush()
            for saved, descriptor in zip(kept, (1, 2), strict=True):
                os.dup2(saved, descriptor)
                os.close(saved)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(ValueError, OSError):
            stream.flush()
