"""A process that was stopped with the lock of MLflow's database in its hands is named, with what to do."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sweep.records.paths import tracking_database
from sweep.records.process_identity import is_stopped
from sweep.tracking import database_lock
from sweep.tracking import store as store_module
from sweep.tracking.database_lock import LOCKS, await_unlocked, lock_holder, locked_words
from sweep.tracking.store import TrackingStore
from trainables.errors import BadInputError

SQLITE = "import sqlite3; c = sqlite3.connect({!r}, isolation_level=None); c.execute('BEGIN {}')"
OPENING = "import fcntl; f = open({!r}, 'w'); fcntl.flock(f, fcntl.LOCK_EX)"

pytestmark = pytest.mark.skipif(not LOCKS.exists(), reason="locks are listed by Linux alone")


@contextmanager
def holding(program: str, *, stopped: bool) -> Iterator[int]:
    code = f"{program}; print(1, flush=True); import time; time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        if stopped:
            process.send_signal(signal.SIGSTOP)
            os.waitpid(process.pid, os.WUNTRACED)
        try:
            yield process.pid
        finally:
            process.kill()


@pytest.mark.parametrize("kind", ["IMMEDIATE", "EXCLUSIVE"])
def test_who_writes_a_database_is_named(kind: str, tmp_path: Path) -> None:
    database = tmp_path / "mlflow.db"
    assert lock_holder(database) is None
    assert locked_words(database).startswith("another program keeps it locked; end that program")
    with holding(SQLITE.format(str(database), kind), stopped=True) as process:
        assert lock_holder(database) == process
        assert is_stopped(process)
        said = locked_words(database)
        assert said.startswith(f"locked by process {process} ({sys.executable} -c import sqlite3; ")
        assert said.endswith(f"which is stopped; continue it (kill -CONT {process}) or end it (kill -9 {process})")
    with holding(SQLITE.format(str(database), kind), stopped=False):
        assert locked_words(database).endswith("; wait until it has written, or end it")


def test_a_stopped_process_that_opens_the_database_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "LOOK_SECONDS", 0.1)
    chosen = TrackingStore.choose(None, storage=tmp_path, experiment="sweep")
    with (
        holding(OPENING.format(f"{chosen.database}.lock"), stopped=True) as process,
        pytest.raises(BadInputError, match=rf"mlflow.db': locked by process {process} .*kill -CONT {process}"),
    ):
        chosen.connect()


def test_a_locked_database_is_waited_for_aloud_and_then_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, seconds in {"QUIET_SECONDS": 0.0, "MOST_SECONDS": 0.3, "LOOK_SECONDS": 0.1}.items():
        monkeypatch.setattr(database_lock, name, seconds)
    database = tmp_path / "a?b %20.db"
    with holding(SQLITE.format(str(database), "EXCLUSIVE"), stopped=False) as process:
        with pytest.raises(BadInputError, match=rf"'x': locked by process {process} .*; wait until it has written"):
            await_unlocked(database, "x")
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"MLflow at x: locked by process {process} ")
    await_unlocked(database, "x")
    assert capsys.readouterr().err == ""


def test_a_database_that_a_stopped_process_locks_is_refused_at_once(tmp_path: Path) -> None:
    chosen = TrackingStore.choose(None, storage=tmp_path, experiment="sweep")
    with (
        holding(SQLITE.format(str(chosen.database), "IMMEDIATE"), stopped=True) as process,
        pytest.raises(BadInputError, match=rf"mlflow.db': locked by process {process} .*kill -CONT {process}"),
    ):
        chosen.connect()


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("database is locked", "another program keeps it locked"),
        ("database or disk is full", ".* disk is full; make room on its disk$"),
    ],
)
def test_a_locked_or_full_database_is_no_wrong_address(
    fault: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(self: TrackingStore) -> None:
        raise RuntimeError(f"(sqlite3.OperationalError) {fault}")

    monkeypatch.setattr(TrackingStore, "client", failing)
    tracking_database(tmp_path).touch()
    chosen = TrackingStore.choose(None, storage=tmp_path, experiment="sweep")
    with pytest.raises(BadInputError, match=rf"tracking URI '.*mlflow.db'.*: {said}"):
        chosen.connect()
