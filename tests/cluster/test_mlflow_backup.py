"""MLflow's database has a copy that fills an empty one: SQLite's, and PostgreSQL's."""

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.paths import ROOT

PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1:]


def backup(action: str, store: str, kept: Path, **variables: str) -> None:
    command = [sys.executable, str(ROOT / "deploy/cluster/mlflow_backup.py"), action]
    environment = {**os.environ, "MLFLOW_STORE": store, "MLFLOW_BACKUP": str(kept), **variables}
    done = subprocess.run(command, check=False, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_sqlite_is_saved_and_fills_an_empty_one(tmp_path: Path) -> None:
    def write(database: Path, value: int) -> None:
        with contextlib.closing(sqlite3.connect(database)) as connection, connection:
            connection.execute("create table if not exists runs (value integer)")
            connection.execute("insert into runs values (?)", (value,))

    def read(database: Path) -> list[tuple[int]]:
        with contextlib.closing(sqlite3.connect(database)) as connection:
            return connection.execute("select value from runs").fetchall()

    lost, new, kept = tmp_path / "lost.db", tmp_path / "new" / "mlflow.db", tmp_path / "kept"
    backup("restore", f"sqlite:///{lost}", kept)
    assert not lost.exists()
    write(lost, 7)
    backup("save", f"sqlite:///{lost}", kept)
    backup("restore", f"sqlite:///{new}", kept)
    assert read(new) == [(7,)]
    write(new, 8)
    backup("restore", f"sqlite:///{new}", kept)
    assert read(new) == [(7,), (8,)]


@pytest.fixture
def postgresql() -> Iterator[Path]:
    """A server on a socket in a folder of its own, which is returned."""
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
    folder.chmod(0o777)
    # PostgreSQL runs under no root.
    start = [str(PROGRAMS[0] / "pg_ctl"), "-D", str(folder / "db"), "-l", str(folder / "log"), "-w"]
    try:
        _postgresql([str(PROGRAMS[0] / "initdb"), "-A", "trust", "-U", "postgres", "-D", str(folder / "db")])
        _postgresql([*start, "-o", f"-k {folder} -c listen_addresses=''", "start"])
        yield folder
    finally:
        with contextlib.suppress(subprocess.CalledProcessError):
            _postgresql([*start, "-m", "immediate", "stop"])
        shutil.rmtree(folder)


def _postgresql(command: list[str]) -> None:
    who = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    subprocess.run([*who, *command], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/tmp")


@pytest.mark.skipif(not PROGRAMS, reason="needs PostgreSQL's server")
def test_postgresql_is_saved_and_fills_an_empty_one(postgresql: Path, tmp_path: Path) -> None:
    variables = {"PGHOST": str(postgresql), "PGUSER": "postgres"}

    def ask(query: str, database: str = "mlflow") -> str:
        command = ["psql", "-v", "ON_ERROR_STOP=1", "-qtAc", query, database]
        done = subprocess.run(command, check=True, env={**os.environ, **variables}, capture_output=True, text=True)
        return done.stdout.strip()

    store, kept = "postgresql+psycopg2:///mlflow", tmp_path / "kept"
    ask("create database mlflow", "postgres")
    backup("save", store, kept, **variables)
    assert not kept.exists()
    ask("create table runs (value integer)")
    ask("insert into runs values (7)")
    backup("save", store, kept, **variables)
    ask("drop database mlflow", "postgres")
    ask("create database mlflow", "postgres")
    for _ in range(2):
        backup("restore", store, kept, **variables)
        assert ask("select value from runs") == "7"
