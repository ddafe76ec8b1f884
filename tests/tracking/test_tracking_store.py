"""Choice of the MLflow store: argument, environment, storage."""

import os
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from sweep.records.paths import DEFAULT_STORAGE, artifacts_folder, tracking_database
from sweep.tracking.server import served_store
from sweep.tracking.store import TrackingStore
from sweep.tracking.tracker import SweepTracker
from trainables.errors import BadInputError


def test_the_argument_wins_over_the_environment_and_that_over_the_storage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def chosen(uri: str | None) -> tuple[str, str]:
        store = TrackingStore.choose(uri, storage=tmp_path, experiment="sweep")
        return store.uri, store.why

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://environment:5000/")
    assert chosen("http://argument:5000") == ("http://argument:5000", "from --tracking-uri")
    assert chosen(None) == ("http://environment:5000", "from MLFLOW_TRACKING_URI")
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert chosen(None) == (f"sqlite:///{tmp_path}/mlflow.db", "the default, a file in the storage")


def test_artifacts_lie_beside_the_database_and_a_server_decides_for_itself(tmp_path: Path) -> None:
    def location(uri: str) -> str | None:
        return TrackingStore.choose(uri, storage="elsewhere", experiment="sweep").artifact_location

    assert location(f"sqlite:///{tmp_path}/mlflow.db") == artifacts_folder(tmp_path).as_uri()
    assert location("http://server:5000") is None


def test_an_object_store_holds_no_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    store = TrackingStore.choose(None, storage="mock:///bucket/sweeps", experiment="sweep")
    assert store.database == tracking_database(DEFAULT_STORAGE)
    assert "can't hold a database" in store.why


@pytest.mark.parametrize("uri", ["http://127.0.0.1:{port}", "./mlruns", "strange://place"])
def test_a_store_that_does_not_answer_is_bad_input_at_once(tmp_path: Path, uri: str) -> None:
    with socket.socket() as taken:  # bound but not listening: refused
        taken.bind(("127.0.0.1", 0))
        started = time.monotonic()
        with pytest.raises(BadInputError, match="can't be used"):
            SweepTracker.open(uri.format(port=taken.getsockname()[1]), storage=tmp_path)
    assert time.monotonic() - started < 10.0


def test_opening_leaves_the_settings_of_the_probe_behind(storage: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "77")
    SweepTracker.open(None, storage=storage).close(1.0)
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "77"
    assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "1"


def test_a_deleted_experiment_says_how_to_restore_it(storage: Path) -> None:
    SweepTracker.open(None, storage=storage).close(1.0)
    store = TrackingStore.choose(None, storage=storage, experiment="sweep")
    client = store.client()
    client.delete_experiment(store.experiment_id(client))
    with pytest.raises(BadInputError, match="experiments restore"):
        SweepTracker.open(None, storage=storage)


def test_the_pages_need_a_store_that_is_there_and_no_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(BadInputError, match="run a sweep first"):
        served_store(None, tmp_path)
    with pytest.raises(BadInputError, match="is a server already"):
        served_store("http://server:5000", tmp_path)


@pytest.mark.slow
def test_a_database_whose_making_is_killed_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow.store.db.utils as database_utils

    chosen = TrackingStore.choose(f"sqlite:///{tmp_path}/mlflow.db", storage=tmp_path, experiment="sweep")
    upgrade = database_utils._upgrade_db

    def killed(engine: Any) -> None:
        upgrade(engine)
        with engine.begin() as connection:  # as a migration leaves it that ends halfway
            connection.exec_driver_sql("DELETE FROM alembic_version")
        raise KeyboardInterrupt

    monkeypatch.setattr(database_utils, "_upgrade_db", killed)
    with pytest.raises(KeyboardInterrupt):
        chosen.connect()
    assert not tracking_database(tmp_path).exists()
    monkeypatch.setattr(database_utils, "_upgrade_db", upgrade)
    client = chosen.connect()
    assert client.get_experiment_by_name("sweep") is not None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mlflow.db", "mlflow.db.lock"]


def test_a_database_in_memory_is_no_file(tmp_path: Path) -> None:
    assert TrackingStore.choose("sqlite:///:memory:", storage=tmp_path, experiment="sweep").database is None
