"""Processes that Ray starts on this machine."""

import contextlib
import time

import psutil

_EXIT_SECONDS = 10.0


def descendants(process: int) -> set[int]:
    """Return the ids of all descendants of a process; empty if it has ended."""
    with contextlib.suppress(psutil.Error):
        return {child.pid for child in psutil.Process(process).children(recursive=True)}
    return set()


def end_processes(processes: set[int]) -> None:
    """Wait until Ray's processes have ended by themselves; kill those that remain."""
    # psutil.wait_procs would take the exit status of children from their parents, and wait for zombies.
    deadline = time.monotonic() + _EXIT_SECONDS
    while any(runs(process) for process in processes) and time.monotonic() < deadline:
        time.sleep(0.05)
    kill(processes)


def kill(processes: set[int]) -> None:
    """Kill the processes that still exist."""
    for process in processes:
        with contextlib.suppress(psutil.Error):
            if runs(process):
                psutil.Process(process).kill()


def runs(process: int) -> bool:
    """Return whether a process exists and isn't a zombie."""
    with contextlib.suppress(psutil.Error):
        return bool(psutil.Process(process).status() != psutil.STATUS_ZOMBIE)
    return False
