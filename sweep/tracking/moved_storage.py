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
"""Tables and columns of MLflow's database that hold addresses of artifacts."""
CHECKPOINT = "sweep.checkpoint"
"""The tag with the address of a trial's checkpoint."""


def follow_move(database: Path, experiment: str, location: str) -> str:
    """Let MLflow look for artifacts where they lie now, beside the database; return where they were, if elsewhere.

    Nothing is changed where the recorded folder is this one by another path, or isn't one that a storage has.

    Args:
        database: MLflow's SQLite file.
        experiment: The experiment whose artifacts lie beside it.
        location: The URI of the folder that they lie in.
    """
    with closing(sqlite3.connect(database, timeout=30.0)) as connection, connection:
        try:
            found = connection.execute("SELECT artifact_location FROM experiments WHERE name = ?", (experiment,))
        except sqlite3.OperationalError:  # nothing is in it yet
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
    """Replace the beginning of addresses, where it is the whole name of a folder."""
    if (column,) not in connection.execute("SELECT name FROM pragma_table_info(?)", (table,)).fetchall():
        return
    begins = f"({column} = :old OR substr({column}, 1, length(:old) + 1) = :old || '/')"
    connection.execute(
        f"UPDATE {table} SET {column} = :new || substr({column}, length(:old) + 1) WHERE {only} {begins}",
        {"old": old, "new": new},
    )


def _folder(location: str) -> Path | None:
    """Return the local folder of an address, None where it is elsewhere."""
    if location.startswith("file:"):
        return Path(unquote(urlsplit(location).path))
    return Path(location) if location.startswith("/") else None


def _same(one: Path, other: Path) -> bool:
    """Return whether two folders lie in the same folder, by whatever links; they needn't exist themselves."""
    return one.parent.exists() and other.parent.exists() and one.parent.samefile(other.parent)
