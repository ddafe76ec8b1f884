"""A process that is frozen while another takes its sweep over, and wakes up: only the holder renews and releases."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.paths import ROOT

from sweep.records import lease as lease_module
from sweep.records.lease import LeaseHolder, holder_of, lease, now_ms
from sweep.records.sweep_storage import SweepStorage
from trainables.errors import BadInputError

ANSWER_SECONDS = 20.0
HOLD = """
import sys, threading, time
from sweep.records import lease
from sweep.records.sweep_storage import SweepStorage

clock, lag = lease.now_ms, 60_000 * float(sys.argv[2])
lease.now_ms = lambda: clock() + int(lag)
lease.BEAT_SECONDS, lease.STALE_SECONDS, lease.WATCH_SECONDS = 0.1, 1.0, 0.5
with lease.LeaseHolder(SweepStorage(sys.argv[1]), "mine") as live:
    print("holds", flush=True)
    while not live.taken_over:
        live.claim("trial")
        live.release("trial")
        time.sleep(float(sys.argv[3]))
    print(live.taken_over, flush=True)
    live.claim("trial")
    live.release("trial")
print("left", flush=True)
"""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("BEAT_SECONDS", 0.1), ("STALE_SECONDS", 1.0), ("WATCH_SECONDS", 0.5)):
        monkeypatch.setattr(lease_module, name, seconds)


@pytest.fixture
def storage(tmp_path: Path) -> SweepStorage:
    return SweepStorage(tmp_path)


@contextmanager
def frozen(storage: SweepStorage, minutes: float = 0.0, pause: float = 0.0) -> Iterator["subprocess.Popen[str]"]:
    """Yield a process that holds the lease, by a clock that is `minutes` ahead, and was stopped.

    Without a `pause` between its writes it is stopped in the middle of one.
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", HOLD, str(storage.storage.root), str(minutes), str(pause)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert line(process) == "holds"
            process.send_signal(signal.SIGSTOP)
            yield process
        finally:
            process.kill()


@contextmanager
def taken_over(storage: SweepStorage) -> Iterator[LeaseHolder]:
    """Yield the lease of this process, once nobody is seen to hold it."""
    wait_until(lambda: holder_of(storage, "mine") is None)
    with LeaseHolder(storage, "mine") as live:
        yield live


def line(process: "subprocess.Popen[str]") -> str:
    """Return the next line of a process; an empty one where none comes."""
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], ANSWER_SECONDS)
    return process.stdout.readline().strip() if ready else ""


def wait_until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def token(storage: SweepStorage) -> str:
    held = lease(storage, "mine")
    return "" if held is None else held.token


@pytest.mark.parametrize(
    "minutes", [0.0, pytest.param(-7.0, marks=pytest.mark.slow), pytest.param(7.0, marks=pytest.mark.slow)]
)
def test_one_that_wakes_up_gives_way_and_leaves_the_new_lease_alone(storage: SweepStorage, minutes: float) -> None:
    with frozen(storage, minutes) as first, taken_over(storage) as second:
        mine = token(storage)
        first.send_signal(signal.SIGCONT)
        assert f"process {os.getpid()} on" in line(first)
        assert line(first) == "left"
        assert first.wait(10) == 0
        time.sleep(0.5)
        assert token(storage) == mine, "its release didn't touch the other's lease"
        assert second.taken_over == ""
        with pytest.raises(BadInputError, match="is running already"), LeaseHolder(storage, "mine"):
            pass


@pytest.mark.slow
def test_one_that_wakes_up_after_the_other_has_ended_gives_way_too(storage: SweepStorage) -> None:
    for _ in range(3):
        with frozen(storage, pause=0.5) as first:
            with taken_over(storage):
                pass
            first.send_signal(signal.SIGCONT)
            if not (said := line(first)):
                continue  # it was frozen half-way through a write, so the lease is its own again: nobody else has it
            assert said == "another process, which has ended since"
            assert line(first) == "left"
        assert token(storage) == ""
        return
    pytest.fail("never gave way")


@pytest.mark.slow
def test_one_that_dies_after_the_other_took_over_changes_nothing(storage: SweepStorage) -> None:
    with frozen(storage) as first:
        with pytest.raises(BadInputError, match="is running already"), LeaseHolder(storage, "mine"):
            pass  # a frozen one isn't taken over before its time
        with taken_over(storage) as second:
            first.kill()
            time.sleep(0.5)
            assert second.taken_over == ""
            assert holder_of(storage, "mine") is not None


@pytest.mark.slow
def test_what_was_frozen_in_the_middle_of_a_write_costs_the_holder_nothing(storage: SweepStorage) -> None:
    with frozen(storage):
        old = storage.storage.read("live/mine.json")
        assert old is not None
        with taken_over(storage) as second:
            mine = token(storage)
            storage.storage.write("live/mine.json", json.dumps({**json.loads(old), "time_ms": now_ms()}).encode())
            wait_until(lambda: token(storage) == mine)
            storage.storage.delete("live/mine.json")
            wait_until(lambda: token(storage) == mine)
            assert second.taken_over == ""
    assert token(storage) == ""
