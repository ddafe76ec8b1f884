"""What a person sees first on MLflow's pages: numbers at the sweep itself, sorted by its objective."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sweep.planning.launch import LaunchOptions
from sweep.records.paths import tracking_database
from sweep.records.sweep_record import SweepRecord
from sweep.records.sweep_storage import SweepStorage
from sweep.tracking.mlflow_runs import MlflowRuns
from sweep.tracking.replay import replay
from sweep.tracking.run_tags import flattened, program
from sweep.tracking.store import TrackingStore
from sweep.tracking.tracker import SweepTracker
from trainables.data.store import ImageStore


@pytest.fixture(params=["", pytest.param("mine-alone", marks=pytest.mark.slow)])
def shown(
    request: pytest.FixtureRequest,
    swept: tuple[SweepRecord, SweepStorage],
    tmp_path: Path,
    mlflow_database: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> tuple[Any, str, SweepRecord]:
    """A sweep written into MLflow twice: the client, the experiment's id and the sweep's record."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copy(mlflow_database, tracking_database(tmp_path))
    launch = LaunchOptions(experiment=request.param)
    record = swept[0].model_copy(update={"launch": launch, "columns": ()})  # the view takes the table's
    for _ in range(2):
        tracker = SweepTracker.open(None, storage=tmp_path, experiment=record.experiment)
        replay(record, swept[1], tracker)
        assert tracker.close(60.0) == 0
    client = TrackingStore.choose(None, storage=tmp_path, experiment="").client()
    experiment = client.get_experiment_by_name(request.param or "sweep")
    assert experiment is not None
    return client, experiment.experiment_id, record


def test_the_sweeps_run_has_the_best_settings_numbers_and_the_view_sorts_by_them(
    shown: tuple[Any, str, SweepRecord],
) -> None:
    client, experiment, record = shown
    runs = client.search_runs([experiment])
    (parent,) = (run for run in runs if "mlflow.parentRunId" not in run.data.tags)
    best = [run for run in runs if run.data.tags.get("sweep.best") == "best"]
    assert best
    for name in (record.objective, "test/linear_top1"):
        mean = sum(run.data.metrics[name] for run in best) / len(best)
        assert parent.data.metrics[name] == pytest.approx(mean)
        assert len(client.get_metric_history(parent.info.run_id, name)) == 1, "twice is once"
    assert parent.data.tags["sweep.best_setting"].startswith("temperature 0.")
    view = json.loads(client.get_experiment(experiment).tags["mlflow.sharedViewState.sweep"])
    assert (view["orderByKey"], view["orderByAsc"]) == ("metrics.`val/knn_top1`", False)
    assert "metrics.`test/linear_sensitivity`" in view["selectedColumns"]
    assert "params.`temperature`" in view["selectedColumns"]
    for run in runs:
        assert "None" not in run.data.params.values()


def test_pictures_of_the_data_are_at_the_sweeps_run(
    swept: tuple[SweepRecord, SweepStorage],
    store: ImageStore,
    mlflow_database: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Images come from where they are prepared: a machine without them writes none, and misses nothing."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copy(mlflow_database, tracking_database(tmp_path))
    for root, expected in ((tmp_path / "nothing", []), (store.path.parent, ["data/digits.png"])):
        monkeypatch.setenv("SWEEP_DATA", str(root))
        tracker = SweepTracker.open(None, storage=tmp_path)
        tracker.start_sweep(swept[0])
        assert tracker.close(60.0) == 0
        client = TrackingStore.choose(None, storage=tmp_path, experiment="").client()
        experiment = client.get_experiment_by_name("sweep")
        (run,) = client.search_runs([experiment.experiment_id])
        assert [file.path for file in client.list_artifacts(run.info.run_id, "data")] == expected


def test_the_view_takes_trials_of_which_some_lack_a_later_versions_field() -> None:
    configs = [{"epochs": 1, "later": 2, "same": 3}, {"epochs": 2, "same": 3}]
    sweep = SimpleNamespace(
        trials=[SimpleNamespace(config=config, baseline=None) for config in configs], objective="loss", direction="min"
    )
    tags: dict[str, str] = {}
    client = SimpleNamespace(set_experiment_tag=lambda experiment, name, text: tags.update({name: text}))
    store: Any = SimpleNamespace(experiment_id=lambda client: "1")
    MlflowRuns(store, client, cast("SweepRecord", sweep)).show_view([])
    columns = json.loads(tags["mlflow.sharedViewState.sweep"])["selectedColumns"]
    assert {"params.`epochs`", "params.`later`"} <= set(columns)
    assert "params.`same`" not in columns


def test_params_without_a_value_are_left_out_and_sources_are_short() -> None:
    assert flattened({"a": None, "b": {"c": None, "d": 1}, "e": [1]}) == {"b.d": "1", "e": "[1]"}
    assert program("python -m sweep.evaluate quickstart --labels 0.1") == "sweep.evaluate"
    assert program("sweep.api.run('quickstart', name='x')") == "sweep.api.run"
    assert program("") == "sweep"
