"""A real sweep whose stdout goes away: a quit pager, a full disk, a closed terminal, a reader that sleeps."""

import os
import pty
import subprocess
import time

import pytest
from support.sweep_shell import ALONE, GRID, Shell, until

ONE_TRIAL = 'Stage("grid", (Grid(axes={"temperature": (0.1,)}),))'


def went_on(shell: Shell, running: "subprocess.Popen[str]", *, lines: bool = True) -> None:
    """The sweep finishes, with exit code 0, and its log has what wasn't printed, without a table's control signs."""
    assert running.wait(timeout=300) == 0
    assert all(files.final() is not None for files in shell.trials("small").values())
    assert set(shell.states().values()) == {"FINISHED"}
    log = (shell.folder / ".sweep/sweeps/small/logs/ray.log").read_bytes().decode()
    assert "output that couldn't be printed follows" in log
    assert "\x1b[" not in log.partition("output that couldn't be printed follows")[2]
    if lines:
        assert log.count("  finished\n") == 3
    assert "not significant" in log or "best" in log, "the final table"


@pytest.mark.slow
def test_a_reader_that_leaves(shell: Shell) -> None:
    with shell.background("run", "--space", shell.space(GRID), *ALONE, "--set", "epochs=10") as running:
        until(running, "started")  # before a trial has finished
        assert running.stdout is not None
        running.stdout.close()
        went_on(shell, running)


@pytest.mark.slow
def test_a_full_disk(shell: Shell) -> None:
    with (
        open("/dev/full", "w") as full,  # noqa: PTH123
        shell.background("run", "--space", shell.space(GRID), *ALONE, stdout=full) as running,
    ):
        went_on(shell, running)


@pytest.mark.slow
def test_a_closed_terminal_under_nohup(shell: Shell) -> None:
    ignored = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)"
    command = ("run", "--space", shell.space(GRID), "--set", "epochs=20", *ALONE)
    master, slave = pty.openpty()
    streams = {"stdin": slave, "stdout": slave, "stderr": slave}
    with shell.background(*command, before=ignored, start_new_session=True, **streams) as running:
        os.close(slave)
        seen = b""
        while b"running" not in seen:
            seen += os.read(master, 65536)
        os.close(master)
        went_on(shell, running)


@pytest.mark.slow
def test_a_reader_that_sleeps_does_not_hold_a_sweep_up(shell: Shell) -> None:
    """What one trial of so many epochs prints is more than a pipe takes."""
    command = ("run", "--space", shell.space(ONE_TRIAL), "--set", "epochs=120", "--json")
    with shell.background(*command) as running:
        line = until(running, '"epoch": 1,').splitlines()[-1]
        assert 120 * len(line) > 2**16
        deadline = time.monotonic() + 300
        while not any(files.final() for files in shell.trials("small").values()):
            assert time.monotonic() < deadline
            time.sleep(0.5)
        assert running.stdout is not None
        running.stdout.read()
        assert running.wait(timeout=120) == 0
