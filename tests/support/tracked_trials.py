"""Records of trials as a tracker shows them, and what MLflow then has of them."""

import sqlite3
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch

from sweep.records.paths import tracking_database
from sweep.records.sweep_record import SweepRecord, TrialEntry
from sweep.records.sweep_storage import SweepStorage
from sweep.tracking.store import TrackingStore
from sweep.tracking.tracker import SweepTracker
from trainables.config import TrialConfig
from trainables.storage.filesystem import Storage
from trainables.storage.trial_files import TrialFiles
from trainables.storage.trial_records import EpochRecord, FinalRecord

NAN = float("nan")
CONFIG = TrialConfig(dataset="digits", batch_size=64, positive=("1", "2")).model_dump(mode="json")
FIGURES = {"accuracy.png", "loss.png", "per_class_test.png", "confusion_test.png"}


def epoch_record(epoch: int) -> EpochRecord:
    metrics = {
        "train/contrastive_loss": 5.0 / epoch,
        "train/contrastive_accuracy": 0.1 * epoch,
        "train/supervised_loss": 2.0 / epoch,
        "train/supervised_accuracy": 0.2 * epoch,
        "test/top1": 0.25 * epoch,
        "test/roc_auc": NAN,
    }
    return EpochRecord(epoch=epoch, time_ms=1_700_000_000_000 + epoch, seconds=1.0, metrics=metrics)


def trial_files(folder: Path, epochs: int = 3, *, finished: bool = True) -> TrialFiles:
    files = TrialFiles(Storage.at(folder))
    files.write_config(CONFIG, "f" * 64)
    for epoch in range(1, epochs + 1):
        files.write_epoch(epoch_record(epoch))
        files.save_checkpoint(epoch, {"epoch": epoch})
    if finished:
        files.save_model({"encoder": {"weight": torch.ones(2)}})
        logits = pa.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [0.0, 1.0]])
        table = pa.table({"row": [0, 1, 2, 3], "name": list("abcd"), "label": [0, 0, 1, 1], "logits": logits})
        files.write_outputs("test", table)
        files.write_final(final_record(epochs))
    return files


def final_record(epochs: int) -> FinalRecord:
    return FinalRecord(
        time_ms=1_700_000_009_000,
        epochs=epochs,
        seconds=3.0,
        workers=1,
        threads=1,
        device="x86_64",
        host="node",
        versions={},
        train_images=6,
        classes=("0", "1"),
    )


def begin(tracker: SweepTracker, name: str = "quick", **changed: Any) -> None:
    record = SweepRecord(
        name=name,
        digest="d" * 12,
        space="quickstart",
        description="what is best?",
        objective="val/top1",
        direction="max",
        columns=(),
        published=(),
        published_source="",
        caveats=(),
        smoke=True,
        selected_on="test",
        trials=(),
        pending=(),
        command="python -m sweep.run --space quickstart",
        commit="c" * 40,
        versions={"torch": "2.9"},
        time_ms=1_700_000_000_000,
    )
    tracker.start_sweep(record.model_copy(update=changed))


def entry(trial_id: str = "t1", **fields: Any) -> TrialEntry:
    """Return a trial whose files are those of trial t1."""
    return TrialEntry(
        trial_id=trial_id,
        name="digits-b64",
        stage=1,
        baseline=None,
        config={**CONFIG, **fields},
        stands_for={},
        steps=1,
        place="t1",
    )


def project(storage: Path, trial: TrialEntry | None = None, **more: Any) -> int:
    """Show one trial of one sweep, as a program does from start to end; return what is missing."""
    tracker = SweepTracker.open(None, storage=storage)
    begin(tracker)
    tracker.write_trial(trial or entry(), SweepStorage(storage), **more)
    tracker.finish_sweep()
    return tracker.close(30.0)


def runs(storage: Path) -> dict[str, Any]:
    """Return the runs by name."""
    store = TrackingStore.choose(None, storage=storage, experiment="sweep")
    client = store.client()
    return {run.info.run_name: run for run in client.search_runs([store.experiment_id(client)])}


def rows(storage: Path, table: str) -> int:
    connection = sqlite3.connect(tracking_database(storage))
    try:
        return int(connection.execute(f"select count(*) from {table}").fetchone()[0])
    finally:
        connection.close()


def artifacts(storage: Path, run: Any) -> set[str]:
    client = TrackingStore.choose(None, storage=storage, experiment="sweep").client()
    paths = {entry.path for folder in (None, "figures") for entry in client.list_artifacts(run.info.run_id, folder)}
    return {Path(path).name for path in paths}
