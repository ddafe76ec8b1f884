"""Creation of MLflow's SQLite file: complete, or not at all.

MLflow creates its tables by dozens of migrations, and can't open a file in which a killed process left some of them.
"""

import glob
import secrets
from collections.abc import Callable
from pathlib import Path

PART = ".new-"
"""Beginning of the suffix of a file whose tables are being created."""


def create_database(file: Path, uri_of: Callable[[Path], str]) -> None:
    """Create a file with MLflow's tables under another name, and rename it; call it within the file's lock.

    Args:
        file: Path of the file, which doesn't exist.
        uri_of: Function that returns the URI of an SQLite file for MLflow.
    """
    from mlflow.store.tracking import DEFAULT_LOCAL_FILE_AND_ARTIFACT_PATH
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    for left in file.parent.glob(f"{glob.escape(file.name)}{PART}*"):  # by a process that was killed
        left.unlink()
    part = file.with_name(f"{file.name}{PART}{secrets.token_hex(4)}")  # MLflow keeps an engine for each name
    store = SqlAlchemyStore(uri_of(part), DEFAULT_LOCAL_FILE_AND_ARTIFACT_PATH)
    store.engine.dispose()
    part.replace(file)
