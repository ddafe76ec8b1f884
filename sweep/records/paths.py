"""Paths in a sweep's storage on this machine, in one place so that programs agree."""

import re
from pathlib import Path

from trainables.errors import BadInputError

DEFAULT_STORAGE = Path(".sweep")
"""Where a program keeps its results unless told otherwise, in the current folder."""
NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]*"
"""Of a sweep."""


def tracking_database(storage: Path | str) -> Path:
    """Return the SQLite file that holds MLflow's runs when there is no tracking server; absolute."""
    return _absolute(storage) / "mlflow.db"


def artifacts_folder(storage: Path | str) -> Path:
    """Return the folder of the artifacts that belong to `tracking_database`; absolute."""
    return _absolute(storage) / "mlartifacts"


def _absolute(storage: Path | str) -> Path:
    return Path(storage).expanduser().absolute()


def check_name(name: str) -> None:
    """Raise BadInputError for a sweep's name that can't be a folder's."""
    if not re.fullmatch(NAME, name):
        raise BadInputError(f"sweep {name!r}: use letters, digits, '_', '.' and '-' only, a letter or digit first")
