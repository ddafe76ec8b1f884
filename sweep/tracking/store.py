"""Choice of the MLflow store of a sweep: a named server, else an SQLite file in the storage."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from sweep.console.printing import say
from sweep.records.paths import DEFAULT_STORAGE, artifacts_folder, tracking_database
from trainables.errors import BadInputError
from trainables.redaction import redact
from trainables.storage.filesystem import Storage
from trainables.storage.ownership import make_private, refuse_foreign

ENVIRONMENT: Mapping[str, str] = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    # With MLflow's 7 retries one call to a dead server takes over 200 s; the background writer has its own.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    # A server that takes the call and doesn't answer is waited for twice so long, not twice 120 s.
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    # A proxy before a dead server may ask for hours.
    "MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER": "false",
}
"""Settings that MLflow reads when it is imported or called; those already set are left as they are."""
PROBE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
"""Settings while a store is opened: a person waits for the answer."""
EXPERIMENT = "sweep"
"""The experiment that holds all sweeps of a store."""
VIEW = "sweep"
"""Key of the view of MLflow's pages that shows what sweeps vary and how trials did."""
VIEW_TAG = f"mlflow.sharedViewState.{VIEW}"
PARAMS = ("dataset", "batch_size", "temperature", "epochs")
"""Params that the view always shows."""
EXPERIMENT_TAGS: Mapping[str, str] = {
    # Without the kind the server guesses one, and may open the experiment on its pages for language models.
    "mlflow.experimentKind": "custom_model_development",
}
SQLITE = "sqlite:///"
QUOTED_SQLITE = "sqlite+pysqlite:///"
"""The same for a path that has to be quoted: of the other MLflow makes the quoted folder too."""
SQLITES = (SQLITE, QUOTED_SQLITE)
SERVER_SCHEMES = ("http://", "https://", "databricks")


def view(params: Iterable[str], metrics: Sequence[str], *, ascending: bool) -> str:
    """Return the state of MLflow's runs page that shows these columns, sorted by the first metric.

    Sorted by a metric the page lists trials beside their sweeps, none folded, and its charts draw the best ten.
    """
    columns = [*(f"params.`{name}`" for name in params), *(f"metrics.`{name}`" for name in metrics)]
    state = {"selectedColumns": columns, "orderByKey": f"metrics.`{metrics[0]}`", "orderByAsc": ascending}
    return json.dumps(state)


@dataclass(frozen=True)
class TrackingStore:
    """One experiment of one MLflow store, and why this one."""

    uri: str
    why: str
    experiment: str
    artifact_location: str | None
    """None where a server decides."""

    @classmethod
    def choose(cls, tracking_uri: str | None, *, storage: Path | str, experiment: str) -> "TrackingStore":
        """Return the store that wins: the argument, else MLFLOW_TRACKING_URI, else the storage's SQLite file."""
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
        """The address without its secrets, for a person."""
        return redact(self.uri)

    @property
    def is_server(self) -> bool:
        """Whether the store is reached over HTTP."""
        return self.uri.startswith(SERVER_SCHEMES)

    @property
    def database(self) -> Path | None:
        """The SQLite file, where the store is one."""
        return _sqlite_file(self.uri)

    def connect(self) -> Any:
        """Return a client of the store, which answers and has the experiment; BadInputError where it doesn't."""
        set_environment()  # first: what is set among the probe's settings goes with them
        try:
            with _settings(PROBE), self._lock():
                self.follow_move()
                client = self.client()
                self.experiment_id(client)
                return client
        except BadInputError:
            raise
        except Exception as error:  # MLflow, SQLAlchemy and drivers each raise their own
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            reason = _in_short(redact(reason, self.uri))
            raise BadInputError(
                f"tracking URI {self.shown!r} ({self.why}): can't be used: {reason[:400]}; start the server or mend "
                f"the address (http://HOST:PORT or {SQLITE}FILE)"
            ) from None  # the cause may quote the address

    def follow_move(self) -> None:
        """Let the database follow a storage that was moved or copied, and say so in one line."""
        if self.database is None or self.artifact_location is None or not self.database.exists():
            return
        from sweep.tracking.moved_storage import follow_move

        if before := follow_move(self.database, self.experiment, self.artifact_location):
            say(f"{self.database.parent}: was {before}; MLflow's artifacts are now read from here", error=True)
            from mlflow.tracking._tracking_service import utils

            getattr(utils, "_artifact_repos_cache", {}).clear()  # of this process

    def remove_artifacts(self, run_ids: Iterable[str]) -> None:
        """Remove the artifacts of deleted runs, which MLflow leaves, where they lie beside the database."""
        if self.database is None or self.artifact_location is None:
            return
        folder = Storage.at(artifacts_folder(self.database.parent))
        for run_id in run_ids:
            folder.delete_folder(run_id)

    def client(self) -> Any:
        """Return a new client, whether or not the store answers."""
        set_environment()
        from mlflow import MlflowClient

        return MlflowClient(tracking_uri=self.uri)

    def experiment_id(self, client: Any) -> str:
        """Return the id of the experiment, made if need be."""
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
                raise  # else another sweep was faster
        return client.get_experiment_by_name(self.experiment)

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """Let one process at a time open an SQLite file: several that migrate a fresh one crash."""
        if self.database is None:
            yield
            return
        from filelock import FileLock

        make_private(self.database.parent)
        lock = Path(f"{self.database}.lock")
        refuse_foreign(lock)
        with FileLock(lock):
            yield


def set_environment() -> None:
    """Set MLflow's settings for the rest of the process; before MLflow is imported."""
    for key, value in ENVIRONMENT.items():
        os.environ.setdefault(key, value)


def _local_folder(storage: Path | str) -> tuple[Path, str]:
    """Return the folder for a database, and in words why there: object stores can't hold one."""
    place = Storage.at(storage)
    if place.is_local:
        return Path(place.root), "a file in the storage"
    return DEFAULT_STORAGE, f"a file here, as {storage} can't hold a database"


def sqlite_uri(file: Path) -> str:
    """Return the URI of an SQLite file for MLflow, whatever signs its path has."""
    if set("?%") & set(str(file)):
        return QUOTED_SQLITE + quote(str(file))
    return f"{SQLITE}{file}"


def _sqlite_file(uri: str) -> Path | None:
    """Return the file of an SQLite URI as SQLAlchemy reads it."""
    if not uri.startswith(SQLITES):
        return None
    return Path(unquote(uri.partition(":///")[2].partition("?")[0]))


def _absolute(uri: str) -> str:
    """Return the URI such that it means the same in every folder, and without a trailing slash."""
    if uri.startswith(SQLITE) and not uri.startswith(f"{SQLITE}/") and ":memory:" not in uri:
        path, mark, query = uri.removeprefix(SQLITE).partition("?")
        return sqlite_uri(Path.cwd() / unquote(path)) + mark + query
    return uri.rstrip("/")


def _artifact_location(uri: str, folder: Path) -> str | None:
    """Return where clients put artifacts; unless told, those of a database put them under the current folder."""
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
"""What a person needs to know of a connection's error, by words of it."""


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
