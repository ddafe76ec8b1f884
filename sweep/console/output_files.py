"""Output paths of commands: made from a record's names, and checked for existing files."""

import hashlib
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from sweep.console.formatting import slug
from trainables.errors import BadInputError

LONGEST = 150
"""Maximum characters of a name; file systems allow 255 bytes, including the suffix."""


def file_name(text: str) -> str:
    """Return a foreign name, such as a trial's or data set's, as a single and safe path component."""
    name = slug(text).lstrip(".-") or "unnamed"
    if len(name) <= LONGEST:
        return name
    return f"{name[: LONGEST - 9]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def check_model_name(name: str) -> None:
    """Raise BadInputError for a name that MLflow's model registry refuses."""
    if not name.strip() or re.search("[/:]", name):
        raise BadInputError(f"--register {name}: a model's name has no '/' and no ':'; choose another")


def check_outputs(
    paths: Iterable[Path],
    *,
    overwrite: bool,
    is_own: Callable[[], bool],
    otherwise: str = "was not written by this command",
) -> None:
    """Raise BadInputError if an existing file would be replaced.

    A command replaces its own earlier output, which `is_own` recognises; any other file only with --overwrite.
    `otherwise` says what other files are.
    """
    try:
        there = [path for path in paths if path.is_symlink() or path.exists()]
    except OSError as error:  # such as a name that is too long
        raise BadInputError(f"{error.filename}: can't be written ({error.strerror}); choose another --output") from None
    if not there or overwrite:
        return
    try:
        if not any(path.is_symlink() for path in there) and is_own():
            return
    except (OSError, ValueError, LookupError, TypeError, AttributeError, SyntaxError):  # written by another program
        pass
    raise BadInputError(f"{there[0]}: exists and {otherwise}; choose another --output, or give --overwrite")
