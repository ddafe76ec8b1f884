"""Processes below this one: found however deep, and seen out; zombies don't count."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from sweep.cluster import processes
from sweep.cluster.processes import descendants, end_processes, runs

PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(900)"])
print(child.pid, flush=True)
time.sleep(900)
"""


@pytest.fixture
def family() -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A child of this process and a child of its own."""
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    yield parent, child
    parent.stdout.close()
    parent.kill()
    parent.wait()
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)


def wait_until_over(process: int) -> None:
    deadline = time.monotonic() + 30
    while runs(process):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_descendants_are_found_however_deep(family: tuple[subprocess.Popen[str], int]) -> None:
    parent, child = family
    assert descendants(parent.pid) == {child}
    assert {parent.pid, child} <= descendants(os.getpid())


def test_of_a_process_that_is_gone_nothing_is_below_and_nothing_runs() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert descendants(gone.pid) == set()
    assert not runs(gone.pid)


def test_a_zombie_is_waited_for_by_nobody() -> None:
    zombie = subprocess.Popen([sys.executable, "-c", ""])
    wait_until_over(zombie.pid)
    begun = time.monotonic()
    end_processes({zombie.pid})
    assert time.monotonic() - begun < 5
    assert zombie.wait() == 0, "its exit status is left to whoever started it"


def test_those_that_stay_are_killed(family: tuple[subprocess.Popen[str], int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_EXIT_SECONDS", 0.1)
    parent, child = family
    end_processes({parent.pid, child})
    for process in (parent.pid, child):
        wait_until_over(process)
    assert parent.wait() == -signal.SIGKILL
