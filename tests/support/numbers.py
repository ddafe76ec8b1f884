"""Images with a number each, and a sweep that learned it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sweep.planning.dataset_sizes import size_of
from sweep.planning.plan import make_plan
from sweep.records.sweep_record import SweepRecord, describe
from sweep.records.sweep_storage import SweepStorage
from sweep.space import Grid, Objective, SearchSpace, Stage
from trainables.config import TrialConfig
from trainables.data.preparing.label_set import LabelRequest, attach_labels
from trainables.data.preparing.prepare import prepare
from trainables.data.store import ImageStore
from trainables.training.trial import train

SPACE = SearchSpace(
    name="numbers",
    description="a number of each image",
    base={
        "dataset": "grey.level",
        "target": "number",
        "image_size": 8,
        "encoder": "resnet10",
        "width_factor": 0.125,
        "projector_output_width": 8,
        "batch_size": 16,
        "epochs": 1,
        "warmup_epochs": 0,
        "validation_fraction": 0.25,
    },
    stages=(Stage("grid", (Grid(axes={"temperature": (0.5,)}),)),),
    objective=Objective("val/linear_r2"),
    columns=("test/linear_r2", "test/linear_rmse"),
    baselines=(),
)


def grey_squares(folder: Path) -> ImageStore:
    """Grey squares of 100 images, whose number is their brightness over ten, of 90 of them."""
    random, rows = np.random.default_rng(0), []
    (folder / "in").mkdir()
    for number in range(100):
        level = random.integers(20, 230)
        pixels = np.clip(level + random.normal(0, 8, (8, 8)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / "in" / f"{number:02d}.png")
        rows.append(f"{number:02d}.png,{level / 10 if number < 90 else ''}")
    (folder / "t.csv").write_text("\n".join(["path,label", *rows]) + "\n")
    prepare("folder", source=folder / "in", root=folder, store_name="grey")
    attach_labels(LabelRequest("grey", folder / "t.csv", "level", number=True), folder)
    return ImageStore.open("grey.level", folder)


def number_sweep(store: ImageStore, folder: Path) -> tuple[SweepRecord, SweepStorage]:
    """Return a finished sweep of one trial on grey squares."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SWEEP_DATA", str(store.path.parent))
        plan = make_plan(SPACE, assignments={}, size_of=size_of)
    record, storage = describe(plan, name="numbers", command="", commit=None, versions={}), SweepStorage(folder)
    storage.write_sweep(record)
    (entry,) = record.trials
    files = storage.trial_of(entry)
    list(train(TrialConfig.parse(entry.config), store=store, files=files, device=torch.device("cpu")))
    return record, storage
