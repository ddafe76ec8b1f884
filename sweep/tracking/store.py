"""Choice of the MLflow store of a sweep: a named server, else an SQLite file in the storage."""

import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from sweep.console.printing import say
from sweep.records.paths import DEFAULT_STORAGE, artifacts_folder, tracking_database
from sweep.records.process_identity import is_stopped
from sweep.tracking.database_lock import LOCKED, await_unlocked, lock_holder, locked_words
from sweep.tracking.new_database import create_database
from trainables.errors import BadInputError
from trainables.printing.redaction import redact
from trainables.storage.filesystem import Storage
from trainables.storage.ownership import make_private, refuse_foreign

ENVIRONMENT: Mapping[str, str] = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    # With MLflow's 7 retries, one call to a dead server takes over 200 s; the background writer has its own retries.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    # The wait for a server that accepts a call but doesn't answer is twice this value, instead of twice 120 s.
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    # A proxy before a dead server may request a wait of hours.
    "MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER": "false",
}
"""Environment variables that MLflow reads on import or call; existing values are kept."""
PROBE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
"""Environment variables for opening a store while the user waits."""
EXPERIMENT = "sweep"
"""Experiment of all sweeps in a store."""
EXPERIMENT_TAGS: Mapping[str, str] = {
    # Without the kind, the server guesses one, and may show the experiment on its pages for language models.
    "mlflow.experimentKind": "custom_model_development",
}
SQLITE = "sqlite:///"
QUOTED_SQLITE = "sqlite+pysqlite:///"
"""Prefix for a path that needs quoting; with the plain prefix, MLflow also creates the quoted folder."""
SQLITES = (SQLITE, QUOTED_SQLITE)
FULL = "disk is full"
"""SQLite's words for a file that can't grow."""
HALF_MADE = "already exists"
"""SQLite's words for a table that a killed process created."""
LOCK_SECONDS = 180.0
"""Maximum time to wait for processes that open the same SQLite file; each may create its tables."""
LOOK_SECONDS = 5.0
"""Time between two looks at the process that holds the file."""
SERVER_SCHEMES = ("http://", "https://", "databricks")


@dataclass(frozen=True)
class TrackingStore:
    """One experiment of an MLflow store, and the reason for choosing the store."""

    uri: str
    why: str
    experiment: str
    artifact_location: str | None
    """URI of the artifacts' folder; None if a server decides."""

    @classmethod
    def choose(cls, tracking_uri: str | None, *, storage: Path | str, experiment: str) -> "TrackingStore":
        """Return the store to use: the argument's, else MLFLOW_TRACKING_URI's, else the storage's SQLite file."""
        folder, where = _local_folder(storage)
        named = os.environ.get("MLFLOW_TRACKING_URI")
        if tracking_uri:
            uri, why = tracking_uri, "from --tracking-uri"
        elif named:
            uri, why = named, "from MLFLOW_TRACKING_URI"
        else:
            uri, why = sqlite_uri(tracking_database(folder)), f"the default, {where}"
        uri = _absolute(uri)
        return cls(uri, why, experiment, _artifact_location(uri, folder))

    @property
    def shown(self) -> str:
        """Return the address without its secrets, for display."""
        return redact(self.uri)

    @property
    def is_server(self) -> bool:
        """Return whether the store is reached over HTTP."""
        return self.uri.startswith(SERVER_SCHEMES)

    @property
    def database(self) -> Path | None:
        """Return the store's SQLite file; None for other stores."""
        return _sqlite_file(self.uri)

    def connect(self) -> Any:
        """Return a client of the store, which has the experiment; BadInputError if the store doesn't answer."""
        set_environment()  # first, since the probe's settings are reset afterwards
        try:
            with _settings(PROBE), self._lock():
                if self.database is not None and not self.database.exists():
                    create_database(self.database, sqlite_uri)
                elif self.database is not None:
                    await_unlocked(self.database, self.shown)
                self.follow_move()
                client = self.client()
                self.experiment_id(client)
                return client
        except BadInputError:
            raise
        except Exception as error:  # MLflow, SQLAlchemy and drivers each raise their own errors
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            reason = _in_short(redact(reason, self.uri))
            if LOCKED in reason and self.database is not None:
                raise BadInputError(f"tracking URI {self.shown!r}: {locked_words(self.database)}") from None
            advice = f"start the server or mend the address (http://HOST:PORT or {SQLITE}FILE)"
            advice = "make room on its disk" if FULL in reason else advice
            if HALF_MADE in reason and self.database is not None:
                advice = f"MLflow left its tables half made: move {self.database} away; sweep.track fills a new one"
            raise BadInputError(
                f"tracking URI {self.shown!r} ({self.why}): can't be used: {reason[:400]}; {advice}"
            ) from None  # the cause may contain the address

    def follow_move(self) -> None:
        """Update the database after its storage was moved or copied, and print one line."""
        if self.database is None or self.artifact_location is None or not self.database.exists():
            return
        from sweep.tracking.moved_storage import follow_move

        if before := follow_move(self.database, self.experiment, self.artifact_location):
            say(f"{self.database.parent}: was {before}; MLflow's artifacts are now read from here", error=True)
            from mlflow.tracking._tracking_service import utils

            getattr(utils, "_artifact_repos_cache", {}).clear()  # this process's cache

    def remove_artifacts(self, run_ids: Iterable[str]) -> None:
        """Remove the artifacts of deleted runs, which MLflow leaves, if they are beside the database."""
        if self.database is None or self.artifact_location is None:
            return
        folder = Storage.at(artifacts_folder(self.database.parent))
        for run_id in run_ids:
            folder.delete_folder(run_id)

    def client(self) -> Any:
        """Return a new client, without checking that the store answers."""
        set_environment()
        from mlflow import MlflowClient

        return MlflowClient(tracking_uri=self.uri)

    def experiment_id(self, client: Any) -> str:
        """Return the id of the experiment, created if needed; BadInputError if it was deleted in MLflow."""
        found = client.get_experiment_by_name(self.experiment)
        if found is None:
            found = self._create_experiment(client)
        if found.lifecycle_stage != "active":
            raise BadInputError(
                f"experiment {self.experiment!r} at {self.shown} was deleted; restore it there "
                f"(mlflow experiments restore --experiment-id {found.experiment_id})"
            )
        return str(found.experiment_id)

    def _create_experiment(self, client: Any) -> Any:
        from mlflow.exceptions import MlflowException

        try:
            tags = dict(EXPERIMENT_TAGS)
            client.create_experiment(self.experiment, artifact_location=self.artifact_location, tags=tags)
        except MlflowException:
            if client.get_experiment_by_name(self.experiment) is None:
                raise  # otherwise another sweep created it first
        return client.get_experiment_by_name(self.experiment)

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """Lock an SQLite file while it is opened: processes that migrate a new file at the same time crash."""
        if self.database is None:
            yield
            return
        from filelock import FileLock, Timeout

        make_private(self.database.parent)
        lock = Path(f"{self.database}.lock")
        refuse_foreign(lock)
        held, end = FileLock(lock), time.monotonic() + LOCK_SECONDS
        while not held.is_locked:
            try:
                held.acquire(timeout=LOOK_SECONDS)
            except Timeout:
                holder = lock_holder(lock)
                if (holder is not None and is_stopped(holder)) or time.monotonic() > end:
                    raise BadInputError(f"tracking URI {self.shown!r}: {locked_words(lock)}") from None
        try:
            yield
        finally:
            held.release()


def set_environment() -> None:
    """Set MLflow's environment variables for this process; called before MLflow is imported."""
    for key, value in ENVIRONMENT.items():
        os.environ.setdefault(key, value)


def _local_folder(storage: Path | str) -> tuple[Path, str]:
    """Return the folder for a database, and the reason in words: object stores can't hold one."""
    place = Storage.at(storage)
    if place.is_local:
        return Path(place.root), "a file in the storage"
    return DEFAULT_STORAGE, f"a file here, as {storage} can't hold a database"


def sqlite_uri(file: Path) -> str:
    """Return an SQLite file's URI for MLflow, with any characters in its path."""
    if set("?%") & set(str(file)):
        return QUOTED_SQLITE + quote(str(file))
    return f"{SQLITE}{file}"


def _sqlite_file(uri: str) -> Path | None:
    """Return the file of an SQLite URI, as SQLAlchemy reads it; None for a database in memory."""
    if not uri.startswith(SQLITES) or ":memory:" in uri:
        return None
    return Path(unquote(uri.partition(":///")[2].partition("?")[0]))


def _absolute(uri: str) -> str:
    """Return the URI in absolute form, valid from any folder, without a trailing slash."""
    if uri.startswith(SQLITE) and not uri.startswith(f"{SQLITE}/") and ":memory:" not in uri:
        path, mark, query = uri.removeprefix(SQLITE).partition("?")
        return sqlite_uri(Path.cwd() / Path(unquote(path)).expanduser()) + mark + query
    return uri.rstrip("/")


def _artifact_location(uri: str, folder: Path) -> str | None:
    """Return the folder for artifacts; by default, MLflow clients of a database use the current folder."""
    if uri.startswith(SERVER_SCHEMES):
        return None
    file = _sqlite_file(uri)
    beside = folder if file is None else file.parent
    return artifacts_folder(beside).as_uri()


_FAULTS = {
    "Connection refused": "no server answers there (connection refused)",
    "Failed to resolve": "there is no host of that name",
    "Name or service not known": "there is no host of that name",
    "timed out": "no answer in time",
    "No route to host": "the host can't be reached",
    "Network is unreachable": "the network can't be reached",
}
"""Explanation of a connection error, by words in it."""


def _in_short(reason: str) -> str:
    return next((said for words, said in _FAULTS.items() if words in reason), reason)


@contextmanager
def _settings(values: Mapping[str, str]) -> Iterator[None]:
    before = {key: os.environ.get(key) for key in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for key, value in before.items():
            os.environ.pop(key, None)
            if value is not None:
                os.environ[key] = value
