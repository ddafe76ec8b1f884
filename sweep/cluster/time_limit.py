"""Time limit for calls that wait inside Ray's client, where exceptions have no effect."""

import contextlib
import os
import threading
from collections.abc import Iterator
from typing import TextIO


@contextlib.contextmanager
def ends_after(seconds: float, text: str, screen: TextIO) -> Iterator[None]:
    """End the process with one line and exit code 2 if the block takes longer than `seconds`."""

    def end() -> None:
        screen.write(f"error: {text}\n")
        screen.flush()
        os._exit(2)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
