"""Heartbeat of the training loop, which tells a slow trial from one that hangs."""

import time

_last: float | None = None


def beat() -> None:
    """Say that a step was taken, or another short piece of work."""
    global _last
    _last = time.monotonic()


def rest() -> None:
    """Say that no work is under way, so that silence means nothing."""
    global _last
    _last = None


def silence() -> float:
    """Return the seconds since the last beat; 0 at rest."""
    return 0.0 if _last is None else time.monotonic() - _last
