"""Session folder of a sweep: the sockets, files and token of Ray and Tune, accessible only to the sweep's user.

Ray makes its folders and sockets accessible to all users, since several users may share one Ray. Here they are in a
folder of mode 0700. Its path is short, because a Unix socket's path has at most 107 bytes.
"""

import contextlib
import fcntl
import os
import secrets
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from trainables.errors import BadInputError

PREFIX = "sweep-ray-"
TOKEN, LOCK, RAY = "token", "lock", "r"
"""Names in the session folder; Ray makes its own folder accessible to everyone, so that is a subfolder."""
_SOCKET_BYTES = 103 if sys.platform == "darwin" else 107
_BELOW = len(f"/{RAY}/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store.1")
_MOST_PARENT = _SOCKET_BYTES - _BELOW - len(f"/{PREFIX}12345678")
_current: Path | None = None


@contextlib.contextmanager
def session_folder() -> Iterator[Path]:
    """Create this process's session folder, and remove it at the end; remove the folders of killed processes too.

    Raises:
        BadInputError: No suitable place exists.
    """
    global _current
    for parent in _parents():
        _remove_abandoned(parent)
    folder = _make()
    with _locked(folder):
        _current = folder
        try:
            yield folder
        finally:
            _current = None
            _remove(folder)


def current_folder() -> Path:
    """Return this process's session folder; RuntimeError unless `session_folder` is entered."""
    if _current is None:
        raise RuntimeError("no session folder: connect comes first")
    return _current


def write_token(folder: Path) -> Path:
    """Write a new token that only this user can read, and return its file."""
    path = folder / TOKEN
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_hex(32))
    return path


def _make() -> Path:
    for parent in _parents():
        if not _is_safe(parent):
            continue
        with contextlib.suppress(OSError):
            return Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    raise BadInputError(
        f"TMPDIR {tempfile.gettempdir()!r}: no place for Ray's sockets there or in /tmp; set it to a folder that "
        f"only you and root can change, with a path of at most {_MOST_PARENT} bytes"
    )


def _parents() -> list[Path]:
    """Return the candidate parents of session folders, best first: TMPDIR if it is short enough, else the system's."""
    own = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"  # in memory, so only after /tmp
    places = [Path(place).resolve() for place in (tempfile.gettempdir(), "/tmp", "/var/tmp", own, "/dev/shm")]
    return [place for place in dict.fromkeys(places) if len(os.fsencode(place)) <= _MOST_PARENT]


def _is_safe(folder: Path) -> bool:
    """Return whether only this user and root can move a folder's content; all parents are checked too."""
    trusted = _trusted_users()
    for place in (folder, *folder.parents):
        try:
            found = place.stat()
        except OSError:
            return False
        open_to_others = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not found.st_mode & stat.S_ISVTX
        if found.st_uid not in trusted or open_to_others:
            return False
    return True


def _trusted_users() -> set[int]:
    """Return the ids of this user and of root, and of root's substitute in a container that doesn't map root."""
    trusted = {0, os.getuid()}
    with contextlib.suppress(OSError, ValueError):
        mapped = sum(int(line.split()[2]) for line in Path("/proc/self/uid_map").read_text().splitlines())
        if mapped < 2**32 - 1:
            trusted.add(int(Path("/proc/sys/kernel/overflowuid").read_text()))
    return trusted


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, which the system releases when the process ends in any way."""
    fresh = folder / f"{LOCK}.new"
    with fresh.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        fresh.rename(folder / LOCK)  # after locking, since a folder with a free lock counts as abandoned
        yield


def _remove_abandoned(parent: Path) -> None:
    with contextlib.suppress(OSError):
        for folder in parent.glob(f"{PREFIX}*"):
            with contextlib.suppress(OSError), _taken(folder):
                _remove(folder)


@contextlib.contextmanager
def _taken(folder: Path) -> Iterator[IO[str]]:
    """Lock an abandoned folder of this user; OSError if it is another user's or in use."""
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise PermissionError(folder)
    with (folder / LOCK).open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield file


def _remove(folder: Path) -> None:
    """Remove a folder, its lock last, so that an incomplete removal is found again."""
    for entry in folder.iterdir():
        if entry.name == LOCK:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        if [entry.name for entry in folder.iterdir()] == [LOCK]:
            shutil.rmtree(folder)
