"""The processes that Ray starts on this machine."""

import contextlib
import os
import signal
import time
from pathlib import Path

_EXIT_SECONDS = 10.0


def descendants(process: int) -> set[int]:
    """Return the ids of all processes below one; empty where there is no /proc."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError):
            fields = entry.read_text().rpartition(")")[2].split()
            parents.setdefault(int(fields[1]), []).append(int(entry.parent.name))
    found: set[int] = set()
    layer = [process]
    while layer:
        layer = [child for parent in layer for child in parents.get(parent, []) if child not in found]
        found |= set(layer)
    return found


def see_out(processes: set[int]) -> None:
    """Wait until Ray's processes, which leave by themselves, are gone; kill those that stay."""
    deadline = time.monotonic() + _EXIT_SECONDS
    while any(_runs(process) for process in processes) and time.monotonic() < deadline:
        time.sleep(0.05)
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            if _runs(process):
                os.kill(process, signal.SIGKILL)


def _runs(process: int) -> bool:
    """Whether it is there and no zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
