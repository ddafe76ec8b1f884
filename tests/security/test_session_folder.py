"""Other users of the machine reach neither the sockets nor the token nor the files of the Ray that a sweep starts."""

import os
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.paths import ROOT

from sweep.cluster import session_folder as module
from sweep.cluster.session_folder import LOCK, PREFIX, RAY, current_folder, session_folder, write_token
from trainables.errors import BadInputError

NOBODY = 65534
HOLD = """
import time
from sweep.cluster.session_folder import session_folder
with session_folder() as folder:
    (folder / "r").mkdir()
    print(folder, flush=True)
    time.sleep(60)
"""
TWICE = """
import os, subprocess, sys
from pathlib import Path
from sweep.cluster.connection import connect
from sweep.cluster.session_folder import current_folder

for _ in range(2):
    with connect(None):
        import ray

        folder = current_folder()
        sockets = [path for path in folder.rglob("*") if path.is_socket()]
        assert len(sockets) >= 2, sockets
        assert Path(ray._private.worker._global_node.get_session_dir_path()).is_relative_to(folder)
        assert (folder / "token").stat().st_mode & 0o777 == 0o600
        assert ray.get(ray.remote(lambda: os.environ["RAY_AUTH_TOKEN_PATH"]).remote()) == str(folder / "token")
        if os.geteuid() == 0:
            for program in (["cat", folder / "token"], ["mv", sockets[0], f"{sockets[0]}.moved"], ["ls", folder / "r"]):
                done = subprocess.run(["setpriv", "--reuid=65534", "--clear-groups", *program], capture_output=True)
                assert done.returncode != 0, program
    assert not folder.exists()
print({name: value for name, value in os.environ.items() if "RAY_AUTH" in name})
"""


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A short folder that is taken for the only place."""
    with tempfile.TemporaryDirectory(prefix="p", dir="/tmp") as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield Path(folder)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def start() -> tuple["subprocess.Popen[str]", Path]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": tempfile.gettempdir()}
    holder = subprocess.Popen([sys.executable, "-c", HOLD], env=environment, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    return holder, Path(holder.stdout.readline().strip())


def test_it_is_for_its_user_alone_and_goes_with_the_session(places: Path) -> None:
    old = os.umask(0)
    try:
        with session_folder() as folder:
            assert folder.parent == places
            assert mode(folder) == 0o700
            assert mode(write_token(folder)) == 0o600
            assert current_folder() == folder
            with pytest.raises(FileExistsError):
                write_token(folder)
    finally:
        os.umask(old)
    assert not folder.exists()
    with pytest.raises(RuntimeError, match="connect comes first"):
        current_folder()


def test_a_long_temporary_folder_is_not_taken_for_sockets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = tmp_path / ("long" * 20)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    with session_folder() as folder:
        session = folder / RAY / "session_2026-11-30_02-10-07_625952_4194304"
        assert len(os.fsencode(session / "sockets" / "plasma_store")) <= 107
    assert list(long.iterdir()) == []


@pytest.mark.parametrize("permissions", [0o777, 0o775])
def test_a_place_where_others_may_move_it_is_not_taken(places: Path, permissions: int) -> None:
    places.chmod(permissions)
    with session_folder() as folder:
        assert folder.parent != places
    places.chmod(permissions | stat.S_ISVTX)
    with session_folder() as folder:
        assert folder.parent == places


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_place_of_another_user_is_not_taken(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.chown(places, NOBODY, -1)
    with session_folder() as folder:
        assert folder.parent != places
    monkeypatch.setattr(module, "_parents", lambda: [places])
    with pytest.raises(BadInputError, match="no place for Ray's sockets"), session_folder():
        pass


def test_what_a_killed_sweep_left_goes_with_the_next_and_what_runs_stays(places: Path) -> None:
    first, left = start()
    second, used = start()
    try:
        with first:
            first.send_signal(signal.SIGKILL)
        assert left.is_dir()
        with session_folder():
            assert not left.exists()
            assert (used / RAY).is_dir()
    finally:
        with second:
            second.kill()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_what_another_user_calls_a_session_folder_is_left_alone(places: Path, tmp_path: Path) -> None:
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim" / LOCK).touch()
    (places / f"{PREFIX}link").symlink_to(tmp_path / "victim")
    foreign = places / f"{PREFIX}foreign"
    foreign.mkdir()
    (foreign / LOCK).touch()
    os.chown(foreign, NOBODY, -1)
    with session_folder():
        assert (tmp_path / "victim" / LOCK).exists()
        assert (foreign / LOCK).exists()


@pytest.mark.slow
def test_the_ray_of_a_sweep_lies_there_with_a_token_of_its_own(tmp_path: Path) -> None:
    """Also where HOME can't be written, TMPDIR is long, and the person's environment turns tokens off."""
    long = tmp_path / ("long" * 20)
    long.mkdir()
    planted = {"RAY_AUTH_MODE": "disabled", "RAY_AUTH_TOKEN": "planted" * 8}
    environment = {**os.environ, **planted, "PYTHONPATH": str(ROOT), "TMPDIR": str(long), "HOME": "/proc/none"}
    environment.pop("RAY_AUTH_TOKEN_PATH", None)
    done = subprocess.run([sys.executable, "-c", TWICE], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().splitlines()[-1] == str(planted), "the environment is as before"
    assert not (long / "ray").exists()
