"""Repair of a storage that was moved or copied: MLflow's SQLite file stores artifact locations as absolute paths."""

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOCATIONS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
"""Tables and columns of MLflow's database that contain artifact addresses."""
CHECKPOINT = "sweep.checkpoint"
"""Tag with the address of a trial's checkpoint."""


def follow_move(database: Path, experiment: str, location: str) -> str:
    """Update MLflow's artifact locations to the database's present folder; return the old location, if different.

    Nothing is changed if the recorded folder is the same folder by another path, or isn't a storage's.

    Args:
        database: MLflow's SQLite file.
        experiment: Experiment whose artifacts are beside the database.
        location: URI of the artifacts' folder.
    """
    with closing(sqlite3.connect(database, timeout=30.0)) as connection, connection:
        try:
            found = connection.execute("SELECT artifact_location FROM experiments WHERE name = ?", (experiment,))
        except sqlite3.OperationalError:  # the database is still empty
            return ""
        recorded = next((row[0] for row in found if row[0]), "")
        here = _folder(location)
        there = _folder(recorded)
        if recorded == location or there is None or here is None or there.name != here.name or _same(there, here):
            return ""
        for table, column in LOCATIONS:
            _replace(connection, table, column, recorded, location)
        _replace(connection, "tags", "value", str(there.parent), str(here.parent), f"key = '{CHECKPOINT}' AND")
    return str(there.parent)


def _replace(connection: sqlite3.Connection, table: str, column: str, old: str, new: str, only: str = "") -> None:
    """Replace the start of stored addresses, if it is a complete folder path."""
    if (column,) not in connection.execute("SELECT name FROM pragma_table_info(?)", (table,)).fetchall():
        return
    begins = f"({column} = :old OR substr({column}, 1, length(:old) + 1) = :old || '/')"
    connection.execute(
        f"UPDATE {table} SET {column} = :new || substr({column}, length(:old) + 1) WHERE {only} {begins}",
        {"old": old, "new": new},
    )


def _folder(location: str) -> Path | None:
    """Return the local folder of an address; None if the address isn't local."""
    if location.startswith("file:"):
        return Path(unquote(urlsplit(location).path))
    return Path(location) if location.startswith("/") else None


def _same(one: Path, other: Path) -> bool:
    """Return whether two folders have the same parent, with links resolved; the folders needn't exist."""
    return one.parent.exists() and other.parent.exists() and one.parent.samefile(other.parent)
