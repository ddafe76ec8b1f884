"""MLflow rebuilt from a sweep's records: into an empty store, twice, and for a sweep that isn't done."""

import shutil
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import mlflow
import pytest
import torch
from support.run_contexts import run_context

from sweep.planning.dataset_sizes import size_of
from sweep.planning.plan import Plan, make_plan
from sweep.records.sweep_record import describe
from sweep.records.sweep_storage import SweepStorage
from sweep.running.listeners import RecordsListener, TrackerListener
from sweep.running.trial_events import TrialEventHandler
from sweep.scheduling.failure import AttemptFailure
from sweep.space import Grid, RankingObjective, SearchSpace, Stage
from sweep.track import main
from sweep.tracking.replay import replay
from sweep.tracking.tracker import SweepTracker
from trainables.data.store import ImageStore
from trainables.errors import BadInputError
from trainables.storage.deferred_writes import DeferredWrites
from trainables.storage.trial_records import AttemptRecord
from trainables.training.trial import train

SPACE = SearchSpace(
    name="small",
    description="two temperatures",
    base={
        "dataset": "digits",
        "image_size": 16,
        "encoder": "resnet10",
        "width_factor": 1 / 16,
        "batch_size": 32,
        "epochs": 2,
        "warmup_epochs": 0.0,
        "max_train_images": 64,
        "max_test_images": 40,
        "validation_fraction": 0.1,
    },
    stages=(Stage("grid", (Grid(axes={"temperature": (0.25, 0.5)}),)),),
    objective=RankingObjective("val/top1"),
    baselines=("pixels",),
)


@pytest.fixture(scope="module")
def trained(store: ImageStore, tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, Path]:
    """A sweep of which the pixels and one setting are finished, and the other one stopped after an epoch."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SWEEP_DATA", str(store.path.parent))
        plan = make_plan(SPACE, assignments={}, size_of=size_of)
    storage = SweepStorage(folder := tmp_path_factory.mktemp("trained"))
    storage.write_sweep(describe(plan, name="mine", command="python -m sweep.run", commit=None, versions={"x": "1"}))
    for number, trial in enumerate(plan.trials):
        files = storage.trial(trial.trial_id)
        records = train(trial.config, store=store, files=files, device=torch.device("cpu"))
        if number < 2:
            list(records)
        else:
            next(records)
            records.close()
    return plan, folder


@pytest.fixture
def sweep(
    trained: tuple[Plan, Path],
    store: ImageStore,
    mlflow_database: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> tuple[Plan, SweepStorage]:
    """Its plan, and a copy of its storage; beside it fresh.db, of MLflow."""
    shutil.copy(mlflow_database, tmp_path / "fresh.db")
    monkeypatch.setenv("SWEEP_DATA", str(store.path.parent))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    plan, folder = trained
    shutil.copytree(folder, tmp_path / "storage")
    return plan, SweepStorage(tmp_path / "storage")


def handler(storage: SweepStorage, tracker: Any) -> TrialEventHandler:
    """Return a handler of the sweep's events that writes records and shows them in MLflow."""
    context = run_context(storage, tracker=tracker)
    return TrialEventHandler(context, [RecordsListener(context), TrackerListener(context)])


def shown(uri: str) -> dict[str, Any]:
    """Return MLflow's runs by name."""
    client = mlflow.MlflowClient(tracking_uri=uri)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    return {run.info.run_name: run for run in client.search_runs(experiments)}


def history(uri: str, run: Any) -> dict[tuple[str, int], float]:
    client = mlflow.MlflowClient(tracking_uri=uri)
    points: dict[tuple[str, int], float] = {}
    for name in run.data.metrics:
        for metric in client.get_metric_history(run.info.run_id, name):
            assert (name, metric.step) not in points, "a step is there twice"
            points[name, metric.step] = metric.value
    return points


def test_an_emptied_server_is_filled_from_the_records(sweep: tuple[Plan, SweepStorage], tmp_path: Path) -> None:
    plan, storage = sweep
    record = storage.record("mine")
    uri = f"sqlite:///{tmp_path / 'fresh.db'}"
    for _ in range(2):  # twice is once
        tracker = SweepTracker.open(uri, storage=tmp_path)
        assert replay(record, storage, tracker) == []
        assert tracker.close(60.0) == 0
    runs = shown(uri)
    assert runs.keys() == {"mine", *(trial.name for trial in plan.trials)}
    for trial in plan.trials:
        files, run = storage.trial(trial.trial_id), runs[trial.name]
        expected = {
            (name, epoch.epoch): value
            for epoch in files.epochs()
            for name, value in epoch.metrics.items()
            if value == value
        }
        assert history(uri, run) == pytest.approx(expected)
        assert run.data.tags["sweep.status"] == ("finished" if files.final() else "interrupted")
        assert [entry.dataset.name for entry in run.inputs.dataset_inputs] == ["digits"]
    assert runs["mine"].data.tags["sweep.status"] == "interrupted"
    assert runs["mine"].data.tags["sweep.selected_on"] == "validation"

    last = plan.trials[-1]
    storage.write_stopped("mine", last.trial_id, "asked to stop", DeferredWrites())
    tracker = SweepTracker.open(uri, storage=tmp_path)
    replay(record, storage, tracker)
    assert tracker.close(60.0) == 0
    runs = shown(uri)
    assert runs[last.name].data.tags["sweep.status"] == "stopped"
    assert runs["mine"].data.tags["sweep.status"] == "finished"


@pytest.mark.slow
def test_the_command_says_what_it_wrote(
    sweep: tuple[Plan, SweepStorage], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main("mine", storage=str(tmp_path / "storage"), tracking_uri=None)
    assert "mine: 3 trials written to sqlite:///" in capsys.readouterr().out
    with pytest.raises(BadInputError, match="sweep 'yours': not in"):
        main(replayed="yours", storage=str(tmp_path / "storage"), tracking_uri=None)
    with pytest.raises(BadInputError, match=r"^no sweep named: give its name, as in python -m sweep\.track NAME$"):
        main(storage=str(tmp_path / "storage"), tracking_uri=None)
    with pytest.raises(BadInputError, match=r"^--replay yours: the argument names another sweep, mine; give one"):
        main("mine", "yours", storage=str(tmp_path / "storage"), tracking_uri=None)


def test_trials_without_a_record_are_named(sweep: tuple[Plan, SweepStorage], tmp_path: Path) -> None:
    plan, _ = sweep
    empty = SweepStorage(tmp_path / "empty")
    record = describe(plan, name="mine", command="", commit=None, versions={})
    tracker = SweepTracker.open(f"sqlite:///{tmp_path / 'fresh.db'}", storage=tmp_path)
    assert replay(record, empty, tracker) == [trial.name for trial in plan.trials]
    assert tracker.close(60.0) == 0
    with pytest.raises(BadInputError, match="no sweep here"):
        empty.record("mine")


def test_a_trial_whose_sweep_was_killed_after_its_last_word_is_recorded_as_finished(
    sweep: tuple[Plan, SweepStorage],
) -> None:
    _, storage = sweep
    record = storage.record("mine")
    finished = [entry for entry in record.trials if storage.trial_of(entry).final() is not None]
    entry = next(entry for entry in finished if entry.baseline is None)
    files = storage.trial_of(entry)
    final, epochs = files.final(), files.epochs()
    assert final is not None
    begun = AttemptRecord(number=1, sweep="mine", started_ms=epochs[0].time_ms - 1)
    files.write_attempt(begun)
    events = handler(storage, MagicMock())
    assert events.reuse(entry)
    (attempt,) = files.attempts()
    assert (attempt.outcome, attempt.ended_ms, attempt.message) == ("finished", final.time_ms, "")
    assert (attempt.first_epoch, attempt.last_epoch) == (1, len(epochs))
    files.write_attempt(begun.model_copy(update={"sweep": "another"}))
    assert events.reuse(entry)
    assert files.attempts()[0].outcome == "running", "another sweep may be about to say so itself"


def test_a_trial_that_failed_before_it_began_is_shown(sweep: tuple[Plan, SweepStorage], tmp_path: Path) -> None:
    _, storage = sweep
    record = storage.record("mine")
    entry = next(entry for entry in record.trials if entry.baseline is None)
    uri = f"sqlite:///{tmp_path / 'fresh.db'}"
    tracker = SweepTracker.open(uri, storage=tmp_path)
    tracker.start_sweep(record)
    events = handler(storage, tracker)
    events.planned([entry])
    place = storage.storage.child(f"trials/{entry.folder}").address()
    task = MagicMock(trial_id=entry.trial_id, files_address=place, name=entry.name)
    storage.trial_of(entry).storage.delete("final.json")
    events.failed(task, AttemptFailure(AttemptFailure.CRASH, "no process came up"))
    assert tracker.close(60.0) == 0
    run = shown(uri)[entry.name]
    assert run.info.status == "FAILED"
    assert run.data.tags["sweep.failure_message"] == "no process came up"
