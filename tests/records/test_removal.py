"""Removing and archiving sweeps; trials that others list stay."""

import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from sweep.comparison.ranking import compare
from sweep.planning.plan import make_plan
from sweep.planning.trial import DataSize
from sweep.records.lease import LeaseHolder
from sweep.records.removal import older_than
from sweep.records.sweep_record import describe
from sweep.records.sweep_storage import SweepStorage
from sweep.records.trial_result import result_of
from sweep.remove import main
from sweep.space import Grid, RankingObjective, SearchSpace, Stage
from sweep.tracking.tracker import SweepTracker
from trainables.errors import BadInputError
from trainables.storage.trial_records import AttemptRecord, EpochRecord, FinalRecord


def make_sweep(storage: SweepStorage, name: str, temperatures: tuple[float, ...], *, ended_ms: int) -> None:
    """Write the records of a sweep whose trials have finished."""
    space = SearchSpace(
        name=name,
        description="",
        base={"dataset": "digits", "image_size": 16, "epochs": 1, "positive": ("closed_loop",)},
        stages=(Stage("grid", (Grid(axes={"temperature": temperatures}),)),),
        objective=RankingObjective("test/top1"),
        baselines=(),
    )
    size = DataSize(1000, 100, 10, "aa", "prepared")
    plan = make_plan(space, assignments={}, size_of=lambda _: size)
    record = describe(plan, name=name, command="", commit=None, versions={}).model_copy(update={"time_ms": ended_ms})
    storage.write_sweep(record)
    tracker = SweepTracker.open(None, storage=storage.storage.root)
    tracker.start_sweep(record)
    for entry in record.trials:
        files = storage.trial_of(entry)
        files.write_epoch(EpochRecord(epoch=1, time_ms=ended_ms, seconds=1.0, metrics={"test/top1": 0.5}))
        files.save_checkpoint(1, {"epoch": 1})
        files.write_attempt(
            AttemptRecord(number=1, sweep=name, started_ms=ended_ms, ended_ms=ended_ms, outcome="finished")
        )
        shape = {"workers": 1, "threads": 1, "device": "cpu", "host": "here", "versions": {}, "train_images": 1}
        files.write_final(FinalRecord(time_ms=ended_ms, epochs=1, seconds=1.0, classes=(), **shape))
        tracker.write_trial(entry, storage)
    tracker.finish_sweep("finished")
    assert tracker.close() == 0


@pytest.fixture
def storage(tmp_path: Path, mlflow_database: Path, monkeypatch: pytest.MonkeyPatch) -> SweepStorage:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    storage = SweepStorage(tmp_path / "place")
    (tmp_path / "place").mkdir()
    shutil.copy(mlflow_database, tmp_path / "place")
    now = time.time_ns() // 1_000_000
    make_sweep(storage, "old", (0.1, 0.2), ended_ms=now - 10 * 86_400_000)
    make_sweep(storage, "new", (0.2, 0.5), ended_ms=now)
    return storage


def experiment_of(storage: SweepStorage) -> tuple[Any, Any]:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{storage.storage.root}/mlflow.db")
    experiment = client.get_experiment_by_name("sweep")
    assert experiment is not None
    return client, experiment


def views(storage: SweepStorage) -> dict[str, str]:
    """Return the shared views of MLflow's pages by their keys."""
    tags = experiment_of(storage)[1].tags
    start = "mlflow.sharedViewState."
    return {name.removeprefix(start): text for name, text in tags.items() if name.startswith(start)}


def runs(storage: SweepStorage) -> list[str]:
    client, experiment = experiment_of(storage)
    return sorted(run.info.run_name for run in client.search_runs([experiment.experiment_id]))


def test_a_sweep_goes_with_its_runs_and_what_others_use_stays(
    storage: SweepStorage, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = str(storage.storage.root)
    assert older_than(storage, 5) == ["old"]
    main(older=5, storage=place)
    assert "nothing was removed; add --yes to remove" in capsys.readouterr().out
    assert len(runs(storage)) == 6

    archive = tmp_path / "archive"
    main(older=5, storage=place, yes=True, target=str(archive))
    out = capsys.readouterr().out
    assert "1 trials are kept, since other sweeps use them" in out
    assert "removed, with 3 runs" in out
    assert storage.sweep_names() == ["new"]
    assert len(storage.storage.names("trials")) == 2
    assert runs(storage) == ["digits-b256-t0.2-e1-s0", "digits-b256-t0.5-e1-s0", "new"]
    (table,) = compare(SweepStorage(archive).record("old"), lambda e: result_of(SweepStorage(archive).trial_of(e)))
    assert [trial.result.status for row in table.settings for trial in row.trials] == ["finished", "finished"]


def test_the_latest_view_is_of_the_last_sweep_left(storage: SweepStorage) -> None:
    before = views(storage)
    assert before.keys() == {"sweep", "sweep.old", "sweep.new"}
    assert before["sweep"] == before["sweep.new"]
    main("new", storage=str(storage.storage.root), yes=True)
    assert views(storage) == {"sweep": before["sweep.old"], "sweep.old": before["sweep.old"]}
    main("old", storage=str(storage.storage.root), yes=True)
    assert views(storage) == {}


def test_checkpoints_alone_may_go(storage: SweepStorage) -> None:
    main("new", storage=str(storage.storage.root), checkpoints_only=True, yes=True)
    for entry in storage.record("new").trials:
        assert storage.trial_of(entry).checkpoint_epochs() == []
        assert storage.trial_of(entry).final() is not None


def test_a_sweep_that_runs_is_refused(storage: SweepStorage) -> None:
    with LeaseHolder(storage, "new"), pytest.raises(BadInputError, match=r"sweep new: is running"):
        main("new", storage=str(storage.storage.root), yes=True)
    with pytest.raises(BadInputError, match="--archive there: copies whole sweeps"):
        main("new", target="there", checkpoints_only=True, storage=str(storage.storage.root), yes=True)
    with pytest.raises(BadInputError, match="give a sweep's name, or --older-than"):
        main(storage=str(storage.storage.root))
