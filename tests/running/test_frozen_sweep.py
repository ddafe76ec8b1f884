"""A real sweep that is frozen, taken over by another process, and wakes up: the one that took it ends it."""

import contextlib
import signal
import sqlite3
import subprocess
import time
from pathlib import Path

import pytest
from support.sweep_shell import ALONE, GRID, Shell, rest, until

from sweep.records.paths import tracking_database
from trainables.data.preparing.prepare import prepare

QUICK = "from sweep.records import lease; lease.BEAT_SECONDS, lease.STALE_SECONDS, lease.WATCH_SECONDS = 0.5, 3.0, 1.0"


def freeze(process: subprocess.Popen[str], database: Path) -> None:
    """Stop a process while it isn't writing to MLflow's file, which it would keep locked."""
    while True:
        process.send_signal(signal.SIGSTOP)
        with contextlib.closing(sqlite3.connect(database, timeout=0.5)) as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
                connection.rollback()
                return
            except sqlite3.OperationalError:
                process.send_signal(signal.SIGCONT)
        time.sleep(0.05)


@pytest.mark.slow
def test_a_sweep_that_wakes_up_leaves_it_to_the_one_that_took_it_over(tmp_path: Path, mlflow_database: Path) -> None:
    prepare("digits", root=tmp_path / "data")
    shell = Shell(tmp_path, tmp_path / "data", mlflow_database)
    space = shell.space(GRID)
    command = ("run", "--space", space, *ALONE, "--set", "epochs=15")
    with shell.background(*command, before=QUICK) as first:
        until(first, "epoch 2/15")
        freeze(first, tracking_database(Path(shell.storage.storage.root)))
        time.sleep(4)
        with shell.background("run", "--resume", "small", *ALONE, before=QUICK) as second:
            until(second, "epoch")
            first.send_signal(signal.SIGCONT)
            said = rest(first)
            assert first.returncode == 3, said
            assert f"taken over by process {second.pid} on" in said
            assert "--resume" not in said.splitlines()[-1]
            said = rest(second)
            assert second.returncode == 0, said
    assert all(files.final() is not None for files in shell.trials("small").values())
    assert list(shell.states().values()) == 4 * ["FINISHED"]
