"""A real sweep that is asked to end by signals, to its process alone and to its whole group."""

import json
import os
import signal
import subprocess
import time

import pytest
from support.sweep_shell import ALONE, GRID, Shell, rest, until

from sweep.console.stop_signals import StopRequestedError, exit_code, stop_signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT])
def test_each_signal_has_its_reason_and_exit_code(number: signal.Signals) -> None:
    before = signal.signal(number, signal.SIG_DFL)  # the tests themselves may run in a shell's background
    try:
        with pytest.raises(StopRequestedError, match=f"ended by {number.name}") as caught, stop_signals():
            signal.raise_signal(number)
    finally:
        signal.signal(number, before)
    assert exit_code(str(caught.value)) == 128 + number


def test_in_the_background_of_a_shell_its_ctrl_backslash_is_not_heard() -> None:
    before = signal.signal(signal.SIGQUIT, signal.SIG_IGN)
    try:
        with stop_signals():
            signal.raise_signal(signal.SIGQUIT)
    finally:
        signal.signal(signal.SIGQUIT, before)


def ended_in_good_order(shell: Shell) -> None:
    begun = [files for files in shell.trials("small").values() if files.attempts()]
    assert begun
    for files in begun:
        assert files.attempts()[-1].outcome == "interrupted"
        assert files.checkpoint_epochs()[-1] == files.attempts()[-1].last_epoch
    assert set(shell.states().values()) == {"KILLED"}
    assert json.loads(shell("status", "small", "--json"))["running"] is False


@pytest.mark.slow
@pytest.mark.parametrize(
    "number",
    [signal.SIGTERM, *(pytest.param(number, marks=pytest.mark.long) for number in (signal.SIGHUP, signal.SIGQUIT))],
)
def test_a_signal_to_the_whole_group_ends_a_sweep_as_ctrl_c_does(shell: Shell, number: signal.Signals) -> None:
    space = shell.space(GRID)
    command = ("run", "--space", space, "--set", "epochs=400")
    # The tests themselves may run under nohup, whose children ignore SIGHUP, or in a shell's background (SIGQUIT).
    heard = f"import signal; signal.signal({int(number)}, signal.SIG_DFL)"
    with shell.background(*command, before=heard, start_new_session=True) as running:
        until(running, "epoch 1")
        os.killpg(running.pid, number)
        said = rest(running)
        assert running.returncode == 128 + number, said
    assert f"ended by {number.name}; 3 trials are left" in said
    assert "Traceback" not in said
    ended_in_good_order(shell)


@pytest.mark.slow
@pytest.mark.parametrize("options", [("--grace", "2"), pytest.param((), marks=pytest.mark.long)])
def test_an_epoch_that_outlasts_the_grace_is_lost_and_the_records_are_right(
    shell: Shell, options: tuple[str, ...]
) -> None:
    """Without a short grace the signal comes twice."""
    space = shell.space(GRID)
    path = shell.folder / space
    path.write_text(path.read_text().replace('"max_train_images": 64', '"max_train_images": 1400'))
    large = ("--set", "image_size=32", "--set", "width_factor=0.5", "--set", "epochs=400")
    command = ("run", "--space", space, *ALONE, *large, *options)
    with shell.background(*command) as running:
        until(running, "started")
        time.sleep(6)  # into the epoch, in which a signal costs the most
        began = time.monotonic()
        running.terminate()
        if not options:
            time.sleep(1)
            running.terminate()
        said = rest(running)
        took = time.monotonic() - began
    assert running.returncode == 143, said
    assert "Traceback" not in said
    assert took < 60, f"{took:.0f} s, with an epoch that is lost"
    assert set(shell.states().values()) == {"KILLED"}
    (begun,) = (files for files in shell.trials("small").values() if files.attempts())
    assert [attempt.outcome for attempt in begun.attempts()] == ["interrupted"]
    assert json.loads(shell("status", "small", "--json"))["running"] is False


@pytest.mark.slow
def test_under_nohup_a_closed_terminal_says_nothing(shell: Shell) -> None:
    space = shell.space(GRID)
    command = ("run", "--space", space, *ALONE, "--set", "epochs=10")
    ignored = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)"
    with shell.background(*command, before=ignored, start_new_session=True) as running:
        until(running, "epoch 1")
        os.killpg(running.pid, signal.SIGHUP)
        said = rest(running)
        assert running.returncode == 0, said


@pytest.mark.slow
def test_a_signal_before_the_first_trial_ends_a_sweep_at_once(shell: Shell) -> None:
    space = shell.space(GRID)
    with shell.background("run", "--space", space) as running:
        until(running, "MLflow")
        time.sleep(1)
        running.terminate()
        said = rest(running)
        assert running.returncode == 143, said
    assert "Traceback" not in said
    assert subprocess.run(["ps", "-o", "pid=", "--ppid", str(running.pid)], check=False).returncode == 1
