"""What a person sees first on MLflow's pages: numbers at the sweep itself, sorted by its objective."""

import base64
import json
import shutil
import zlib
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sweep.figures import contact_sheet
from sweep.planning.launch import LaunchOptions
from sweep.records.paths import tracking_database
from sweep.records.sweep_record import SweepRecord
from sweep.records.sweep_storage import SweepStorage
from sweep.tracking.mlflow_runs import MlflowRuns
from sweep.tracking.replay import replay
from sweep.tracking.run_tags import flattened, program
from sweep.tracking.shared_view import SharedView
from sweep.tracking.store import TrackingStore
from sweep.tracking.tracker import SweepTracker
from trainables.data.store import ImageStore


@pytest.fixture(scope="module", params=["", pytest.param("mine-alone", marks=pytest.mark.slow)])
def written(
    request: pytest.FixtureRequest,
    swept: tuple[SweepRecord, SweepStorage],
    tmp_path_factory: pytest.TempPathFactory,
    mlflow_database: Path,
) -> tuple[Path, SweepRecord]:
    """A sweep written into MLflow twice: the folder of the database, which tests only read, and the sweep's record."""
    folder = tmp_path_factory.mktemp("written")
    shutil.copy(mlflow_database, tracking_database(folder))
    launch = LaunchOptions(experiment=request.param)
    record = swept[0].model_copy(update={"launch": launch, "columns": ()})  # the view takes the table's
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        for _ in range(2):
            tracker = SweepTracker.open(None, storage=folder, experiment=record.experiment)
            replay(record, swept[1], tracker)
            assert tracker.close(60.0) == 0
    return folder, record


@pytest.fixture
def shown(written: tuple[Path, SweepRecord], monkeypatch: pytest.MonkeyPatch) -> tuple[Any, str, SweepRecord]:
    """The written sweep: the client, the experiment's id and the sweep's record."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return opened(*written)


def opened(folder: Path, record: SweepRecord) -> tuple[Any, str, SweepRecord]:
    client = TrackingStore.choose(None, storage=folder, experiment="").client()
    experiment = client.get_experiment_by_name(record.experiment or "sweep")
    assert experiment is not None
    return client, experiment.experiment_id, record


def test_the_sweeps_run_has_the_best_settings_numbers(
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
    for run in runs:
        assert "None" not in run.data.params.values()


def view_of(tags: Mapping[str, str], key: str = "sweep") -> dict[str, Any]:
    """Return a shared view as MLflow's pages read it."""
    packed = tags[f"mlflow.sharedViewState.{key}"].removeprefix("deflate;")
    view: dict[str, Any] = json.loads(zlib.decompress(base64.b64decode(packed)))
    return view


def test_the_view_shows_the_trials_of_one_sweep_with_its_columns_and_charts(
    shown: tuple[Any, str, SweepRecord],
) -> None:
    client, experiment, record = shown
    tags = client.get_experiment(experiment).tags
    view = view_of(tags)
    assert view == view_of(tags, f"sweep.{record.name}")
    trials = client.search_runs([experiment], view["searchFilter"])
    children = [run for run in client.search_runs([experiment]) if "mlflow.parentRunId" in run.data.tags]
    assert {run.info.run_id for run in trials} == {run.info.run_id for run in children}
    assert (view["orderByKey"], view["orderByAsc"]) == ("metrics.`val/knn_top1`", False)
    shown_columns = view["selectedColumns"]
    assert shown_columns[:3] == ["tags.`sweep.setting`", "tags.`sweep.best`", "metrics.`val/knn_top1`"]
    assert {"metrics.`test/linear_sensitivity`", "params.`temperature`"} <= set(shown_columns)
    assert view["columnOrder"][2:] == shown_columns
    charts = {(chart["type"], chart["displayName"]): chart for chart in view["compareRunCharts"]}
    assert charts["PARALLEL", "settings"]["selectedMetrics"] == ["val/knn_top1"]
    assert "seed" not in charts["PARALLEL", "settings"]["selectedParams"]
    assert {("BAR", "test/linear_specificity"), ("LINE", "train/contrastive_loss")} <= charts.keys()
    sections = {section["uuid"] for section in view["compareRunSections"]}
    assert {chart["metricSectionId"] for chart in charts.values()} == sections


def test_the_sweeps_run_has_the_conclusions_its_trials_and_the_records_times(
    shown: tuple[Any, str, SweepRecord], swept: tuple[SweepRecord, SweepStorage]
) -> None:
    client, experiment, record = shown
    (parent,) = (run for run in client.search_runs([experiment]) if "mlflow.parentRunId" not in run.data.tags)
    note = parent.data.tags["mlflow.note.content"]
    address = f"#/experiments/{experiment}/runs?viewStateShareKey=sweep.{record.name}&workflowType=machine_learning"
    assert f"[The trials of this sweep]({address})" in note
    assert "**digits**: Best on validation: temperature 0" in note
    files = [swept[1].trial_of(entry) for entry in record.trials]
    ends = [end.time_ms for one in files if (end := one.final() or one.failure()) is not None]
    assert (parent.info.start_time, parent.info.end_time) == (record.time_ms, max(ends))


def test_a_sweeps_run_that_is_found_again_keeps_its_conclusions_and_view(
    written: tuple[Path, SweepRecord], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by the registration of a model, or by a write after the server was away."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copy(tracking_database(written[0]), tracking_database(tmp_path))
    client, experiment, record = opened(tmp_path, written[1])
    store = TrackingStore.choose(None, storage=tmp_path, experiment=record.experiment or "sweep")
    before = client.get_experiment(experiment).tags
    runs = MlflowRuns(store, client, record)
    assert "**digits**: Best on validation" in client.get_run(runs.parent()).data.tags["mlflow.note.content"]
    assert client.get_experiment(experiment).tags == before
    runs.show_view(["test/linear_top1"])
    shown_view = client.get_experiment(experiment).tags
    runs.forget()
    runs.end("finished")
    assert client.get_experiment(experiment).tags == shown_view
    assert "**digits**" in client.get_run(runs.parent()).data.tags["mlflow.note.content"]


def test_seeds_of_a_setting_have_one_colour_and_baselines_only_what_they_depend_on(
    shown: tuple[Any, str, SweepRecord],
) -> None:
    client, experiment, _ = shown
    runs = [run for run in client.search_runs([experiment]) if "sweep.setting" in run.data.tags]
    colours: dict[str, set[str]] = {}
    for run in runs:
        colours.setdefault(run.data.tags["sweep.setting"], set()).add(run.data.tags["mlflow.runColor"])
        is_baseline = run.data.tags["sweep.best"] == "baseline"
        assert ("temperature" in run.data.params) is not is_baseline
        assert run.data.params["bands"] == "all"
        assert run.data.params["epochs"] == "0" or not is_baseline
    settings = [name for name in colours if name.startswith("temperature")]
    assert all(len(own) == 1 for own in colours.values())
    assert len({min(colours[name]) for name in settings}) == len(settings) > 1


def test_pictures_of_the_data_are_at_the_sweeps_run(
    swept: tuple[SweepRecord, SweepStorage],
    store: ImageStore,
    mlflow_database: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Images come from where they are prepared: a machine without them writes none, and misses nothing.

    A sweep that is resumed has them.
    """
    drawn = []
    draw = contact_sheet.contact_sheet

    def noted(store: ImageStore, config: Any) -> Any:
        drawn.append(store.info.name)
        return draw(store, config)

    monkeypatch.setattr(contact_sheet, "contact_sheet", noted)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copy(mlflow_database, tracking_database(tmp_path))
    prepared = (store.path.parent, ["data/digits.png"])
    for root, expected in ((tmp_path / "nothing", []), prepared, prepared):
        monkeypatch.setenv("SWEEP_DATA", str(root))
        tracker = SweepTracker.open(None, storage=tmp_path)
        tracker.start_sweep(swept[0])
        assert tracker.close(60.0) == 0
        client = TrackingStore.choose(None, storage=tmp_path, experiment="").client()
        experiment = client.get_experiment_by_name("sweep")
        (run,) = client.search_runs([experiment.experiment_id])
        assert [file.path for file in client.list_artifacts(run.info.run_id, "data")] == expected
    assert drawn == ["digits"]


def test_the_view_takes_trials_of_which_some_lack_a_later_versions_field() -> None:
    configs = [{"epochs": 1, "later": 2, "same": 3}, {"epochs": 2, "same": 3}]
    sweep = SimpleNamespace(
        trials=[SimpleNamespace(config=config, baseline=None) for config in configs], objective="loss", direction="min"
    )
    view = SharedView.of(cast("SweepRecord", sweep), "parent", [])
    assert (view.settings, view.metrics, view.ascending) == (("epochs", "later"), ("loss",), True)


def test_params_without_a_value_are_left_out_and_sources_are_short() -> None:
    assert flattened({"a": None, "b": {"c": None, "d": 1}, "e": [1]}) == {"b.d": "1", "e": "[1]"}
    assert program("python -m sweep.evaluate quickstart --labels 0.1") == "sweep.evaluate"
    assert program("sweep.api.run('quickstart', name='x')") == "sweep.api.run"
    assert program("") == "sweep"
