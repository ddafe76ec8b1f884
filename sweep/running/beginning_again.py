"""End or restart of a process after its cluster was lost; avoids Ray's client, which would wait or abort."""

import os
import sys
from typing import NoReturn

_REASON = "SWEEP_CLUSTER_GONE"
"""Environment variable with the reason why the previous process lost its cluster."""
_ONCE = "--retry-failed"
"""Option that a restarted process doesn't get, since failed trials were already retried."""


def begin_again(why: str, *words: str) -> NoReturn:
    """Replace this process by a new one with the same command and `words`; it continues from the last checkpoints."""
    _flush()
    command = [sys.executable, *(word for word in sys.orig_argv[1:] if word != _ONCE), *words]
    os.execve(sys.executable, command, {**os.environ, _REASON: why})


def take_reason() -> str:
    """Return (once) why the replaced process lost its cluster; empty if this process replaces none."""
    return os.environ.pop(_REASON, "")


def leave_at_once(code: int) -> None:
    """End this process without running Ray's shutdown."""
    _flush()
    os._exit(code)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
