"""MLflow as a view of the records: found again, never doubled, never in the sweep's way."""

import shutil
import time
from pathlib import Path

import pytest
from support.tracked_trials import (
    FIGURES,
    artifacts,
    begin,
    entry,
    epoch_record,
    final_record,
    project,
    rows,
    runs,
    trial_files,
)

from sweep.records.sweep_storage import SweepStorage
from sweep.tracking.run_tags import flattened
from sweep.tracking.store import TrackingStore
from sweep.tracking.tracker import SweepTracker
from trainables.data.store_info import StoreInfo
from trainables.storage.trial_records import FailureRecord


def test_a_sweep_and_its_trial_are_shown(storage: Path, digits: StoreInfo) -> None:
    trial_files(storage / "trials" / "t1")
    trial = entry(evaluation_dataset="other")
    assert project(storage, trial) == 0
    found = runs(storage)
    parent, child = found["quick"], found["digits-b64"]
    assert parent.info.status == child.info.status == "FINISHED"
    expected = {
        "sweep.name": "quick",
        "sweep.space": "quickstart",
        "sweep.smoke": "true",
        "mlflow.source.name": "sweep.run",
        "sweep.command": "python -m sweep.run --space quickstart",
        "mlflow.source.git.commit": "c" * 40,
    }
    assert expected.items() <= parent.data.tags.items()
    assert "mlflow.user" in parent.data.tags
    assert parent.data.tags["mlflow.note.content"].startswith(
        "what is best?\n\n[The trials of this sweep](#/experiments/"
    )
    assert artifacts(storage, parent) == {"plan.json"}
    expected = {
        "mlflow.parentRunId": parent.info.run_id,
        "sweep.trial_id": "t1",
        "sweep.status": "finished",
        "sweep.smoke": "true",
        "sweep.selected_on": "test",
        "sweep.checkpoint": f"{storage}/trials/t1/checkpoints/000003.pt",
    }
    assert expected.items() <= child.data.tags.items()
    assert child.data.params == flattened({**trial.config, "bands": "all"})
    assert artifacts(storage, child) == {*FIGURES, "figures", "model.pt"}
    assert child.info.end_time == 1_700_000_009_000
    inputs = {entry.tags[0].value: entry.dataset for entry in child.inputs.dataset_inputs}
    assert inputs.keys() == {"training", "evaluation"}
    assert (inputs["training"].name, inputs["training"].digest) == ("digits", digits.fingerprint[:36])
    assert inputs["evaluation"].name == "other"


def test_metrics_keep_the_records_own_time_and_epoch_and_leave_out_nan(storage: Path) -> None:
    trial_files(storage / "trials" / "t1")
    project(storage)
    client = TrackingStore.choose(None, storage=storage, experiment="sweep").client()
    run = runs(storage)["digits-b64"]
    history = client.get_metric_history(run.info.run_id, "test/top1")
    assert [(entry.step, entry.timestamp, entry.value) for entry in history] == [
        (epoch, 1_700_000_000_000 + epoch, 0.25 * epoch) for epoch in (1, 2, 3)
    ]
    assert "test/roc_auc" not in run.data.metrics


def test_projecting_twice_adds_nothing(storage: Path, digits: StoreInfo) -> None:
    trial_files(storage / "trials" / "t1")
    trial = entry(evaluation_dataset="other")
    tables = ("runs", "metrics", "latest_metrics", "params", "tags", "inputs", "datasets", "experiments")
    project(storage, trial)
    before = {table: rows(storage, table) for table in tables}
    shown = artifacts(storage, runs(storage)["digits-b64"])
    project(storage, trial)
    assert {table: rows(storage, table) for table in tables} == before
    assert before["metrics"] == 3 * 5
    assert artifacts(storage, runs(storage)["digits-b64"]) == shown


def test_an_extended_sweep_with_another_space_and_newer_libraries_is_written_on(storage: Path) -> None:
    """MLflow refuses another value of a param, and with it all that the run would get."""
    trial_files(storage / "trials" / "t1", finished=False)
    project(storage)
    tracker = SweepTracker.open(None, storage=storage)
    begin(tracker, space="longer", versions={"torch": "2.10", "numpy": "3"})
    tracker.finish_sweep()
    assert tracker.close(30.0) == 0
    run = runs(storage)["quick"].data
    assert (run.params["space"], run.tags["sweep.space"]) == ("quickstart", "longer")
    assert (run.params["versions.torch"], run.params["versions.numpy"]) == ("2.9", "3")


def test_live_epochs_and_the_files_are_one(storage: Path) -> None:
    files = trial_files(storage / "trials" / "t1", finished=False)
    tracker = SweepTracker.open(None, storage=storage)
    begin(tracker)
    tracker.start_trial(entry(), SweepStorage(storage))
    for record in files.epochs():
        tracker.submit_epoch("t1", record)
    files.write_final(final_record(3))
    tracker.finish_trial("t1")
    tracker.finish_sweep()
    assert tracker.close(30.0) == 0
    assert rows(storage, "metrics") == 3 * 5
    assert runs(storage)["digits-b64"].info.status == "FINISHED"


def test_an_epoch_that_was_trained_again_is_shown_once(storage: Path) -> None:
    """Its record was lost: the new one has another time, and the same numbers."""
    files = trial_files(storage / "trials" / "t1", finished=False)
    tracker = SweepTracker.open(None, storage=storage)
    begin(tracker)
    for first in (1, 2):  # two attempts
        tracker.start_trial(entry(), SweepStorage(storage))
        for record in files.epochs()[first - 1 :]:
            tracker.submit_epoch("t1", record.model_copy(update={"time_ms": record.time_ms + 100 * first}))
    tracker.finish_trial("t1", "interrupted")
    tracker.finish_sweep()
    assert tracker.close(30.0) == 0
    assert rows(storage, "metrics") == 3 * 5
    shutil.rmtree(storage / "trials" / "t1" / "epochs")
    files.write_epoch(epoch_record(1).model_copy(update={"metrics": {"train/contrastive_loss": 7.0}}))
    project(storage)
    assert rows(storage, "metrics") == 3 * 5 + 1, "other numbers are another training, and are shown"


def test_a_failure_is_shown_and_goes_when_it_is_overcome(storage: Path) -> None:
    files = trial_files(storage / "trials" / "t1", finished=False)
    files.write_failure(FailureRecord(time_ms=1_700_000_005_000, kind="out_of_memory", message="take batch 32"))
    project(storage)
    run = runs(storage)["digits-b64"]
    assert run.info.status == "FAILED"
    assert run.data.tags["sweep.failure_kind"] == "out_of_memory"
    assert run.data.tags["sweep.failure_message"] == "take batch 32"
    files.write_final(final_record(3))
    project(storage)
    run = runs(storage)["digits-b64"]
    assert run.info.status == "FINISHED"
    assert "sweep.failure_kind" not in run.data.tags


def test_a_stopped_trial_is_told_so(storage: Path) -> None:
    trial_files(storage / "trials" / "t1", finished=False)
    project(storage, status="stopped")
    run = runs(storage)["digits-b64"]
    assert (run.info.status, run.data.tags["sweep.status"]) == ("KILLED", "stopped")


@pytest.mark.parametrize("finished", [False, True])
def test_trials_in_the_middle_end_with_an_interrupted_sweep(storage: Path, finished: bool) -> None:
    trial_files(storage / "trials" / "t1", finished=finished)
    tracker = SweepTracker.open(None, storage=storage)
    begin(tracker)
    tracker.start_trial(entry(), SweepStorage(storage))
    tracker.finish_sweep("interrupted")
    assert tracker.close(30.0) == 0
    run = runs(storage)["digits-b64"]
    expected = ("FINISHED", "finished") if finished else ("KILLED", "interrupted")
    assert (run.info.status, run.data.tags["sweep.status"]) == expected
    assert run.data.metrics  # what it had until then


def test_a_deleted_child_is_made_again_while_the_sweep_runs(storage: Path) -> None:
    trial_files(storage / "trials" / "t1")
    tracker = SweepTracker.open(None, storage=storage)
    begin(tracker)
    tracker.start_trial(entry(), SweepStorage(storage))
    deadline = time.monotonic() + 20.0
    while tracker.missing and time.monotonic() < deadline:
        time.sleep(0.05)
    client = TrackingStore.choose(None, storage=storage, experiment="sweep").client()
    client.delete_run(runs(storage)["digits-b64"].info.run_id)
    tracker.write_trial(entry(), SweepStorage(storage))
    assert tracker.close(30.0) == 0
    assert runs(storage)["digits-b64"].info.status == "FINISHED"


def test_values_become_text() -> None:
    assert flattened({"a": {"b": 1}, "c": (0.5, 1.0), "d": None}) == {"a.b": "1", "c": "[0.5, 1.0]"}
