"""Identity of a process, and whether a process that another program named has certainly ended.

A process number is valid in one PID namespace of one running machine, until it is reused. A host name doesn't identify
the namespace, since containers may share it. /proc may hide processes of other users, but kill finds them.
"""

import contextlib
import os
from pathlib import Path

_PROC = Path("/proc")
_START_FIELD = 19
"""Index of the start time in /proc/PID/stat, counted from the state."""
_DEAD = frozenset("ZX")
"""States of a process that has ended but wasn't reaped by its parent."""

_STOPPED = frozenset("tT")


def machine_identity() -> str:
    """Return the id of the running system and PID namespace in which process numbers are valid; empty if unknown."""
    with contextlib.suppress(OSError):
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        return "/".join((boot, *((_PROC / "self/ns" / kind).readlink().name for kind in ("pid", "time"))))
    return ""


def start_time(process: int) -> str:
    """Return a process's start time in kernel ticks; empty if it isn't visible."""
    return _stat(process)[1]


def has_ended(machine: str, process: int, started: str) -> bool:
    """Return whether a process has certainly ended; False if it runs, or may run where it isn't visible.

    Args:
        machine: `machine_identity` that the process itself recorded.
        process: Number of the process.
        started: Its `start_time`, since another process may have the same number now.
    """
    if not machine or machine != machine_identity():
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):  # another user's
        pass
    state, now = _stat(process)
    return state in _DEAD or (bool(started and now) and started != now)


def is_stopped(process: int) -> bool:
    """Return whether a process of this machine is stopped, by Ctrl-Z, a signal or a debugger."""
    return _stat(process)[0] in _STOPPED


def _stat(process: int) -> tuple[str, str]:
    """Return a process's state and start; empty if the process is invisible."""
    with contextlib.suppress(OSError, IndexError):
        if (_PROC / "self").readlink().name == str(os.getpid()):  # else another namespace's /proc
            # The second field may hold spaces and brackets.
            fields = (_PROC / str(process) / "stat").read_text(errors="replace").rpartition(")")[2].split()
            return fields[0], fields[_START_FIELD]
    return "", ""
