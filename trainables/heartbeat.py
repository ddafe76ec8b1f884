"""Heartbeat of the training loop, which distinguishes a slow trial from one that hangs."""

import time

_last: float | None = None


def beat() -> None:
    """Report progress: a training step, or another short piece of work, is done."""
    global _last
    _last = time.monotonic()


def rest() -> None:
    """Report that no work is in progress, so that missing heartbeats are expected."""
    global _last
    _last = None


def seconds_silent() -> float:
    """Return the seconds since the last heartbeat; 0 while no work is in progress."""
    return 0.0 if _last is None else time.monotonic() - _last
