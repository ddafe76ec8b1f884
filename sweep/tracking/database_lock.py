"""Process that holds the lock of a file, as Linux lists it: for an SQLite file that another program keeps locked."""

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import quote

from sweep.console.printing import say
from sweep.records.process_identity import is_stopped
from trainables.errors import BadInputError
from trainables.printing.redaction import redact

LOCKS = Path("/proc/locks")
LOCKED = "database is locked"
"""SQLite's words for a file that another program writes."""
QUIET_SECONDS, MOST_SECONDS = 3.0, 20.0
"""Seconds that a command waits for a locked file without a word, and altogether."""
LOOK_SECONDS = 1.0
LONGEST = 200
"""Maximum number of characters of a command in a message."""


def await_unlocked(database: Path, shown: str) -> None:
    """Wait until no other program writes an SQLite file; after some seconds say who does.

    Raises:
        BadInputError: The file stays locked, or whoever locks it is stopped.
    """
    began, said = time.monotonic(), False
    while _is_locked(database):
        waited, holder = time.monotonic() - began, lock_holder(database)
        if waited > MOST_SECONDS or (holder is not None and is_stopped(holder)):
            raise BadInputError(f"tracking URI {shown!r}: {locked_words(database)}")
        if waited > QUIET_SECONDS and not said:
            said = True
            say(f"MLflow at {shown}: {locked_words(database)}; waiting up to {MOST_SECONDS:.0f} s", error=True)


def _is_locked(database: Path) -> bool:
    """Return whether an SQLite file can't be written for LOOK_SECONDS since another program writes it."""
    if not database.exists():
        return False
    address = f"file:{quote(str(database))}?mode=rw"
    try:
        with closing(sqlite3.connect(address, uri=True, timeout=LOOK_SECONDS, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
    except sqlite3.Error as error:
        return LOCKED in str(error)  # MLflow reports the others
    return False


def lock_holder(*files: Path) -> int | None:
    """Return the number of another process that holds a write lock on one of the files; None if that is unknown."""
    wanted = set()
    for file in files:
        with suppress(OSError):
            found = file.stat()
            wanted.add(f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}")
    return next((process for process, place in _write_locks() if place in wanted and process != os.getpid()), None)


def locked_words(*files: Path) -> str:
    """Return in words who locks the files, and what to do."""
    process = lock_holder(*files)
    if process is None:
        return "another program keeps it locked; end that program, or try again when it has written"
    command = _command(process)
    who = f"process {process}" + (f" ({command})" if command else "")
    if is_stopped(process):
        return f"locked by {who}, which is stopped; continue it (kill -CONT {process}) or end it (kill -9 {process})"
    return f"locked by {who}; wait until it has written, or end it"


def _write_locks() -> Iterator[tuple[int, str]]:
    """Yield process and file of each write lock that isn't waited for."""
    with suppress(OSError):
        for line in LOCKS.read_text().splitlines():
            words = line.split()
            if len(words) > 5 and words[1] != "->" and words[3] == "WRITE" and words[4].isdecimal() and int(words[4]):
                yield int(words[4]), words[5]


def _command(process: int) -> str:
    with suppress(OSError):
        words = Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
        return redact(b" ".join(words).decode(errors="replace").strip())[:LONGEST]
    return ""
