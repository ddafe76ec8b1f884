"""End or restart of a process after its cluster was lost; avoids Ray's client, which would wait or abort."""

import os
import sys
from typing import NoReturn

_REASON = "SWEEP_CLUSTER_GONE"
"""Environment variable: why the process before this one lost its cluster."""
_ONCE = "--retry-failed"
"""Not for a process that goes on: what failed meanwhile has been tried again."""


def begin_again(why: str, *words: str) -> NoReturn:
    """Replace this process by a new one of the same command and `words`, which goes on from the last checkpoints."""
    _flush()
    command = [sys.executable, *(word for word in sys.orig_argv[1:] if word != _ONCE), *words]
    os.execve(sys.executable, command, {**os.environ, _REASON: why})


def take_reason() -> str:
    """Return why the process that this one replaces lost its cluster, once; empty if it replaces none."""
    return os.environ.pop(_REASON, "")


def leave_at_once(code: int) -> None:
    """End this process without Ray's own end."""
    _flush()
    os._exit(code)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
