"""A storage that was moved, copied, linked or named strangely: all of it, MLflow's part too, lies in it."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from sweep.records.paths import artifacts_folder, tracking_database
from sweep.records.sweep_record import SweepRecord
from sweep.records.sweep_storage import SweepStorage
from sweep.track import main as track
from sweep.tracking.removal import remove_runs
from sweep.tracking.run_tags import CHECKPOINT, PARENT, SWEEP
from sweep.tracking.server import served_store
from sweep.tracking.store import TrackingStore
from trainables.data.store import ImageStore

NAMES = ["plain", "a?b", "a%20b", "a#b", "100%", "a b", "äöü", 'it\'s "quoted"', "a;b&c=d@e:f", "?#%41"]


@pytest.fixture(autouse=True)
def no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def opened(storage: Path) -> tuple[Any, str]:
    """Return a client of the storage's own store, and its experiment."""
    store = TrackingStore.choose(None, storage=storage, experiment="sweep")
    client = store.connect()
    return client, store.experiment_id(client)


def with_runs(storage: Path, database: Path) -> Path:
    """Return a storage with a sweep's run and its trial's, which have artifacts."""
    storage.mkdir(parents=True)
    shutil.copy(database, tracking_database(storage))
    client, experiment = opened(storage)
    parent = client.create_run(experiment, tags={SWEEP: "mine"}).info.run_id
    tags = {PARENT: parent, CHECKPOINT: f"{storage}/trials/aa/checkpoints/000001.pt"}
    for run in (parent, client.create_run(experiment, tags=tags).info.run_id):
        client.log_text(run, "before", "before.txt")
    return storage


def write_artifacts(storage: Path) -> None:
    """Write an artifact into each run, and a new run."""
    client, experiment = opened(storage)
    client.create_run(experiment)
    for run in client.search_runs([experiment]):
        client.log_text(run.info.run_id, "after", "after.txt")


def texts(storage: Path) -> list[str]:
    return sorted(path.read_text() for path in artifacts_folder(storage).rglob("*.txt"))


def listing(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize("name", NAMES)
def test_a_moved_storage_has_its_artifacts_whatever_its_path(
    tmp_path: Path, mlflow_database: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    old = with_runs(tmp_path / "old" / name, mlflow_database)
    assert listing(tmp_path / "old")[0] == name
    assert len(list((tmp_path / "old").iterdir())) == 1, "no second folder of a quoted name"
    new = tmp_path / "new" / f"{name}!"
    shutil.move(tmp_path / "old", tmp_path / "new")
    (tmp_path / "new" / name).rename(new)
    write_artifacts(new)
    assert texts(new) == ["after"] * 3 + ["before"] * 2
    assert not old.parent.exists()
    assert capsys.readouterr().err.count("MLflow's artifacts are now read from here") == 1
    client, experiment = opened(new)
    tags = [run.data.tags[CHECKPOINT] for run in client.search_runs([experiment]) if CHECKPOINT in run.data.tags]
    assert tags == [f"{new}/trials/aa/checkpoints/000001.pt"]
    assert capsys.readouterr().err == ""


def test_a_copy_writes_and_removes_its_own_alone(tmp_path: Path, mlflow_database: Path) -> None:
    original = with_runs(tmp_path / "original", mlflow_database)
    shutil.copytree(original, copy := tmp_path / "copy")
    whole = listing(original)
    write_artifacts(copy)
    assert listing(original) == whole
    assert remove_runs(None, str(copy), "mine") == 2
    assert listing(original) == whole
    assert texts(copy) == ["after"], "what is left is of the other run"
    client, experiment = opened(original)
    assert len(client.search_runs([experiment])) == 2


def test_a_link_and_a_relative_path_are_the_same_storage(
    tmp_path: Path, mlflow_database: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    storage = with_runs(tmp_path / "storage", mlflow_database)
    (tmp_path / "link").symlink_to("storage")
    monkeypatch.chdir(tmp_path)
    for place in (tmp_path / "link", Path("link"), Path("storage/../storage"), storage):
        write_artifacts(place)
    assert capsys.readouterr().err == ""
    assert {path.name for path in tmp_path.iterdir()} == {"storage", "link"}
    assert texts(storage).count("before") == 2
    shutil.copytree(storage, tmp_path / "copy")
    (tmp_path / "another").symlink_to("copy")
    before = listing(storage)
    write_artifacts(tmp_path / "another")
    assert listing(storage) == before


def test_a_location_that_somebody_chose_stays(tmp_path: Path, mlflow_database: Path) -> None:
    storage = tmp_path / "storage"
    storage.mkdir()
    shutil.copy(mlflow_database, tracking_database(storage))
    client = TrackingStore.choose(None, storage=storage, experiment="sweep").client()
    client.create_experiment("sweep", artifact_location=(tmp_path / "chosen").as_uri())
    opened(storage)
    assert client.get_experiment_by_name("sweep").artifact_location == (tmp_path / "chosen").as_uri()


def test_the_pages_of_a_moved_storage_are_its_own(tmp_path: Path, mlflow_database: Path) -> None:
    storage = with_runs(tmp_path / "old?", mlflow_database).rename(tmp_path / "new %3F")
    store = served_store(None, storage)
    assert store.database == tracking_database(storage)
    client = store.client()
    assert client.get_experiment_by_name("sweep").artifact_location == artifacts_folder(storage).as_uri()


@pytest.mark.slow
def test_the_runs_of_a_real_sweep_move_with_it(
    swept: tuple[SweepRecord, SweepStorage],
    store: ImageStore,
    mlflow_database: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SWEEP_DATA", str(store.path.parent))
    shutil.copytree(swept[1].storage.root, old := tmp_path / "old 100%")
    shutil.copy(mlflow_database, tracking_database(old))
    track("mine", storage=str(old))
    files = listing(artifacts_folder(old))
    assert any(name.endswith("model.pt") for name in files)
    new = old.rename(tmp_path / "new?")
    shutil.rmtree(artifacts_folder(new))
    (database := tracking_database(new)).unlink()
    shutil.copy(mlflow_database, database)
    track("mine", storage=str(new))
    assert len(listing(artifacts_folder(new))) == len(files)
    assert not old.exists()
