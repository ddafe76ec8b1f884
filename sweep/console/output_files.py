"""Output paths of commands: made from a record's names, and checked for existing files."""

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

from sweep.console.formatting import slug
from trainables.errors import BadInputError

LONGEST = 150
"""Characters of a name; file systems take 255 bytes, and a suffix comes behind it."""


def file_name(text: str) -> str:
    """Return a name that others chose, a trial's or data set's, as one part of a path: it leads nowhere else."""
    name = slug(text).lstrip(".-") or "unnamed"
    if len(name) <= LONGEST:
        return name
    return f"{name[: LONGEST - 9]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def check_outputs(paths: Iterable[Path], *, overwrite: bool, is_own: Callable[[], bool]) -> None:
    """Raise BadInputError where something is there that would be replaced.

    A command writes again what it wrote before, which `is_own` recognises; anything else it replaces with --overwrite.
    """
    there = [path for path in paths if path.is_symlink() or path.exists()]
    if not there or overwrite:
        return
    try:
        if not any(path.is_symlink() for path in there) and is_own():
            return
    except (OSError, ValueError, LookupError, TypeError, AttributeError, SyntaxError):  # another program's
        pass
    raise BadInputError(
        f"{there[0]}: exists and was not written by this command; choose another --output, or give --overwrite"
    )
