"""Label budgets: the plan counts the images that the trial learns from."""

from pathlib import Path

import pytest
from PIL import Image
from support.stores import made

from sweep.planning.dataset_sizes import size_of
from sweep.planning.plan import make_plan
from sweep.space import Grid, RankingObjective, SearchSpace, Stage
from trainables.data.trial_data import TrialData


def test_seven_per_cent_of_a_hundred_images_are_seven(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWEEP_DATA", str(tmp_path))
    folder = tmp_path / "in"
    folder.mkdir()
    lines = ["path,label,split"]
    for number in range(202):
        Image.new("RGB", (4, 4), (number, 0, 0)).save(folder / f"{number}.png")
        lines.append(f"{number}.png,{'ab'[number % 2]},{'train' if number < 200 else 'test'}")
    (folder / "labels.csv").write_text("\n".join(lines))
    store = made("folder", tmp_path, source=folder, store_name="two", table=folder / "labels.csv")
    space = SearchSpace(
        name="x",
        description="x",
        base={"dataset": "two", "training": "supervised", "batch_size": 2, "image_size": 4, "label_fraction": 0.07},
        stages=(Stage("grid", (Grid(),)),),
        objective=RankingObjective("test/top1"),
        baselines=(),
    )
    (trial,) = make_plan(space, assignments={}, size_of=size_of).trials
    assert trial.train_images == len(TrialData(trial.config, store).train) == 14
    assert trial.images.train == 14
