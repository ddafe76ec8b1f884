#!/usr/bin/env python
"""Copy of MLflow's database in the bucket: `save` writes it, `restore` fills a database that is empty.

MLFLOW_BACKUP names a folder or an s3:// address; without it nothing is done. The head node's disk goes with `ray down`.
"""

import os
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from pyarrow.fs import FileSystem, FileType

NAME = "mlflow-database"


def save(store: str, copy: Path) -> None:
    """Write a consistent copy of the running database."""
    if store.startswith("sqlite"):
        with closing(sqlite3.connect(_sqlite_path(store))) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)
    else:
        uri, environment = _postgresql(store)
        subprocess.run(["pg_dump", "--format=custom", f"--file={copy}", uri], check=True, env=environment)


def restore(store: str, copy: Path) -> None:
    """Fill an empty database from a copy."""
    if store.startswith("sqlite"):
        _sqlite_path(store).parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(copy)) as source, closing(sqlite3.connect(_sqlite_path(store))) as target:
            source.backup(target)
    else:
        command = ["pg_restore", "--no-owner", "--exit-on-error", "--single-transaction"]
        uri, environment = _postgresql(store)
        subprocess.run([*command, f"--dbname={uri}", str(copy)], check=True, env=environment)


def is_empty(store: str) -> bool:
    """Return whether the database has no table yet."""
    if store.startswith("sqlite"):
        return not _sqlite_path(store).exists()
    query = "select count(*) from pg_tables where schemaname = 'public'"
    uri, environment = _postgresql(store)
    done = subprocess.run(["psql", "-tAc", query, uri], check=True, capture_output=True, text=True, env=environment)
    return done.stdout.strip() == "0"


def _sqlite_path(store: str) -> Path:
    return Path(store.removeprefix("sqlite:///"))


def _postgresql(store: str) -> tuple[str, dict[str, str]]:
    """Return the database's address without its password, and the environment with it: others see command lines."""
    parts = urlsplit("postgresql:" + store.partition(":")[2])
    user, _, host = parts.netloc.rpartition("@")
    name, _, password = user.partition(":")
    query = parse_qsl(parts.query)
    password = dict(query).get("password") or unquote(password)
    kept = urlencode([(key, value) for key, value in query if key != "password"])
    place = f"{name}@{host}" if name else host  # urlunsplit would leave out the slashes of an empty one
    uri = f"postgresql://{place}{parts.path}" + (f"?{kept}" if kept else "")
    return uri, {**os.environ, **({"PGPASSWORD": password} if password else {})}


def main(action: str) -> None:
    """Save or restore the database, with addresses from the environment."""
    store, backup = os.environ["MLFLOW_STORE"], os.environ.get("MLFLOW_BACKUP")
    if not backup:
        return
    files, folder = FileSystem.from_uri(backup)
    kept = f"{folder}/{NAME}"
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / NAME
        if action == "save" and not is_empty(store):
            save(store, copy)
            files.create_dir(folder, recursive=True)
            # A reader finds the old copy or the new one.
            with files.open_output_stream(f"{kept}.part") as stream:
                stream.write(copy.read_bytes())
            files.move(f"{kept}.part", kept)
        elif action == "restore" and files.get_file_info(kept).type == FileType.File and is_empty(store):
            with files.open_input_stream(kept) as stream:
                copy.write_bytes(stream.read())
            restore(store, copy)
            print(f"restored MLflow's database from {backup}")


if __name__ == "__main__":
    main(sys.argv[1])
