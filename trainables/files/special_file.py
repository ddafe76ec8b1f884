"""Paths that are neither files nor folders: a pipe would be waited for, a device may have no end."""

import stat
from pathlib import Path

from trainables.errors import BadInputError

KINDS = ((stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"), (stat.S_ISCHR, "a device"), (stat.S_ISBLK, "a device"))


def special_kind(path: Path) -> str:
    """Return what a path is if it is a pipe, socket or device; empty for a file, a folder, or nothing."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return ""  # opening it reports the error
    return next((kind for is_kind, kind in KINDS if is_kind(mode)), "")


def refuse_special(path: Path, where: str = "") -> None:
    """Raise BadInputError for a pipe, socket or device; `where` names it in the message."""
    if kind := special_kind(path):
        raise BadInputError(f"{where}: is {kind}; give a file".removeprefix(": "))
