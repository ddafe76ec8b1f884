"""Finished sweeps that nobody trained: records and outputs of any number of settings, for pages."""

import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sweep.planning.dataset_sizes import size_of
from sweep.planning.plan import make_plan
from sweep.records.sweep_record import SweepRecord, TrialEntry, describe
from sweep.records.sweep_storage import SweepStorage
from sweep.space import Grid, Range, RankingObjective, Search, SearchSpace, Stage
from trainables.config import TrialConfig
from trainables.data.store import ImageStore
from trainables.data.trial_data import TrialData
from trainables.storage.trial_records import AttemptRecord, EpochRecord, FinalRecord

TEMPERATURES = (0.05, 0.07, 0.1, 0.2, 0.25, 0.3, 0.5, 0.7, 1.0, 2.0)
AXES: Mapping[int, Mapping[str, tuple[Any, ...]]] = {
    1: {},
    2: {"temperature": (0.25, 0.5)},
    8: {"temperature": (0.1, 0.25, 0.5, 1.0), "batch_size": (32, 64)},
    32: {"temperature": (0.1, 0.25, 0.5, 1.0), "batch_size": (16, 32, 64, 128), "crop_area": ((0.08, 1.0), (0.3, 1.0))},
    200: {"temperature": TEMPERATURES, "batch_size": (16, 32, 64, 96, 128), "jitter_strength": (0.0, 0.25, 0.5, 1.0)},
}
"""Axes of a full grid by its number of settings."""
OVER = {
    "temperature": Range(0.05, 2.0, log=True),
    "base_learning_rate": Range(0.1, 10.0, log=True),
    "batch_size": (32, 64, 128),
}
START_MS = 1_790_000_000_000


def space_of(settings: int, *, seeds: int = 3, searched: bool = False) -> SearchSpace:
    """Return a space of so many settings: a full grid of AXES, or a random search."""
    search = Stage("search", search=Search(over=OVER, settings=settings))
    grid = None if searched else Stage("grid", (Grid(axes=AXES[settings]),))
    return SearchSpace(
        name="written",
        description="settings that nobody trained",
        base={
            "dataset": "digits",
            "image_size": 12,
            "positive": ("closed_loop",),
            "validation_fraction": 0.15,
            "encoder": "resnet10",
            "width_factor": 0.25,
            "projector_layers": 2,
            "warmup_epochs": 0.0,
            "epochs": 6,
        },
        stages=(grid or search,),
        objective=RankingObjective("val/knn_top1"),
        baselines=("untrained", "pixels"),
        columns=("test/knn_top1", "test/linear_top1", "test/linear_sensitivity", "test/linear_specificity"),
        seeds=tuple(range(seeds)),
    )


def write_sweep(space: SearchSpace, folder: Path, *, name: str = "written") -> tuple[SweepRecord, SweepStorage]:
    """Write a finished sweep of a space over data that SWEEP_DATA has prepared; quality follows from the setting."""
    plan = make_plan(space, assignments={}, size_of=size_of)
    record = describe(plan, name=name, command=f"python -m sweep.run --space {name}", commit=None, versions={})
    storage = SweepStorage(folder)
    storage.write_sweep(record)
    config = TrialConfig.parse(record.trials[0].config)
    judge = None if config.evaluation_dataset is None else ImageStore.open(config.evaluation_dataset)
    data = TrialData(config, ImageStore.open(config.dataset), judge)
    for number, entry in enumerate(record.trials):
        random = np.random.default_rng(zlib.crc32(entry.trial_id.encode()))
        _write_trial(entry, storage, data, random, START_MS + 60_000 * number)
    return record, storage


def _quality(entry: TrialEntry, random: np.random.Generator) -> float:
    """Return how surely a trial finds the class: best at a temperature near 0.3, the more images a batch the better."""
    if entry.baseline is not None:
        return {"untrained": 0.6, "pixels": 2.2}[entry.baseline]
    config = entry.config
    away = np.log(config["temperature"] / 0.3) ** 2 + 0.3 * np.log(config["base_learning_rate"]) ** 2 / 4
    return float(2.0 - 0.35 * away + 0.15 * np.log2(config["batch_size"] / 32) + random.normal(0, 0.06))


def _write_trial(
    entry: TrialEntry, storage: SweepStorage, data: TrialData, random: np.random.Generator, begun: int
) -> None:
    files, quality, epochs = storage.trial_of(entry), _quality(entry, random), int(entry.config["epochs"])
    files.write_config(dict(entry.config), data.fingerprint)
    seconds = 2.0 + 64 / int(entry.config["batch_size"])
    metrics: dict[str, float] = {}
    for split, rows in data.evaluated.items():
        table = _outputs(rows, len(data.classes), quality, random, probe=entry.baseline is None)
        files.write_outputs(split, table)
        positive = np.array([one in data.positive_classes for one in data.classes])
        metrics |= _metrics(split, table, positive, len(data.classes))
    last = epochs if entry.baseline is None else 0
    for epoch in range(min(last, 1), last + 1):
        part = epoch / last if last else 1.0
        training = {
            "train/contrastive_loss": 4.0 - quality * part,
            "train/contrastive_accuracy": 0.3 * (1 + part),
            "train/supervised_loss": 2.3 - 0.5 * quality * part,
            "train/supervised_accuracy": 0.2 + 0.2 * quality * part,
        }
        reached = {key: value * (0.6 + 0.4 * part) for key, value in metrics.items()}
        shown = reached | (training if entry.baseline is None else {})
        files.write_epoch(EpochRecord(epoch=epoch, time_ms=begun + epoch, seconds=seconds, metrics=shown))
    files.write_attempt(
        AttemptRecord(
            number=1,
            sweep="written",
            started_ms=begun,
            ended_ms=begun + round(1000 * seconds * max(last, 1)),
            outcome="finished",
            first_epoch=1,
            last_epoch=max(last, 1),
        )
    )
    files.write_final(
        FinalRecord(
            time_ms=begun + last,
            epochs=last,
            seconds=seconds * last,
            workers=1,
            threads=1,
            device="CPU",
            host="host",
            versions={"torch": "2.9"},
            train_images=100,
            classes=data.classes,
            positive=data.positive_classes,
        )
    )


def _outputs(rows: Any, count: int, quality: float, random: np.random.Generator, *, probe: bool) -> pa.Table:
    labels = rows.targets.numpy()
    found = {"linear_logits": quality} | ({"logits": 0.8 * quality} if probe else {})
    columns = {}
    for name, strength in found.items():
        logits = random.normal(size=(len(labels), count)).astype(np.float32)
        logits[np.arange(len(labels)), labels] += strength
        columns[name] = pa.FixedSizeListArray.from_arrays(pa.array((2 * logits).ravel()), count)
    votes = random.normal(size=(len(labels), count))
    votes[np.arange(len(labels)), labels] += 0.9 * quality
    knn = pa.FixedSizeListArray.from_arrays(pa.array(votes.argmax(axis=1)), 1)
    names = pa.array(rows.store.names(rows.rows))
    return pa.table({"row": pa.array(rows.rows), "name": names, "label": pa.array(labels), **columns, "knn": knn})


def _metrics(split: str, table: pa.Table, positive: NDArray[np.bool_], count: int) -> dict[str, float]:
    labels = table["label"].to_numpy()
    found: dict[str, float] = {}
    for prefix, column in (("", "logits"), ("linear_", "linear_logits"), ("knn_", "knn")):
        if column not in table.column_names:
            continue
        values = table[column].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        predicted = values if prefix == "knn_" else values.reshape(-1, count).argmax(axis=1)
        truth, said = positive[labels], positive[predicted.astype(np.int64)]
        found[f"{split}/{prefix}top1"] = float((predicted == labels).mean())
        found[f"{split}/{prefix}sensitivity"] = float(said[truth].mean())
        found[f"{split}/{prefix}specificity"] = float((~said[~truth]).mean())
    return found
