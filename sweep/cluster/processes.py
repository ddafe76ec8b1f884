"""The processes that Ray starts on this machine."""

import contextlib
import time

import psutil

_EXIT_SECONDS = 10.0


def descendants(process: int) -> set[int]:
    """Return the ids of all processes below one; empty when it is gone."""
    with contextlib.suppress(psutil.Error):
        return {child.pid for child in psutil.Process(process).children(recursive=True)}
    return set()


def see_out(processes: set[int]) -> None:
    """Wait until Ray's processes, which leave by themselves, are gone; kill those that stay."""
    # Not psutil.wait_procs: it takes the exit status of children from those who started them, and waits for zombies.
    deadline = time.monotonic() + _EXIT_SECONDS
    while any(runs(process) for process in processes) and time.monotonic() < deadline:
        time.sleep(0.05)
    kill(processes)


def kill(processes: set[int]) -> None:
    """End processes at once, those that are there."""
    for process in processes:
        with contextlib.suppress(psutil.Error):
            if runs(process):
                psutil.Process(process).kill()


def runs(process: int) -> bool:
    """Whether a process is there and no zombie."""
    with contextlib.suppress(psutil.Error):
        return bool(psutil.Process(process).status() != psutil.STATUS_ZOMBIE)
    return False
