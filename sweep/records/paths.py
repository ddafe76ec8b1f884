"""Paths in a sweep's storage on this machine, in one place so that programs agree."""

import re
from pathlib import Path

from trainables.errors import BadInputError

DEFAULT_STORAGE = Path(".sweep")
"""Default storage, in the current folder."""
NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]*"
"""Pattern of a sweep's name."""
LONGEST_NAME = 160
"""Maximum length of a sweep's name: file systems take 255 characters, and names of partial files are longer."""


def tracking_database(storage: Path | str) -> Path:
    """Return the SQLite file that holds MLflow's runs when there is no tracking server; absolute."""
    return _absolute(storage) / "mlflow.db"


def artifacts_folder(storage: Path | str) -> Path:
    """Return the folder of the artifacts that belong to `tracking_database`; absolute."""
    return _absolute(storage) / "mlartifacts"


def _absolute(storage: Path | str) -> Path:
    return Path(storage).expanduser().absolute()


def check_name(name: str) -> None:
    """Raise BadInputError if a sweep's name can't be the name of a folder."""
    if not re.fullmatch(NAME, name):
        raise BadInputError(
            f"sweep {name!r}: use the letters a to z, digits, '_', '.' and '-' only, a letter or digit first"
        )
    if len(name) > LONGEST_NAME:
        raise BadInputError(f"sweep {name[:20]}...: has {len(name)} characters, the limit is {LONGEST_NAME}")
