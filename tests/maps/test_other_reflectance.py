"""Pools whose values measure another reflectance: refused as evaluation data, and for weights of the other pool."""

from pathlib import Path
from typing import Any

import pytest
import torch
from support.products import write_product
from support.small_trials import CPU, files_in

from sweep.maps.scene_source import read_scenes
from sweep.planning.dataset_sizes import check_data, check_questions, size_of
from sweep.planning.plan import Plan, make_plan
from sweep.running.weights_check import check_weights
from sweep.space import Grid, RankingObjective, SearchSpace, Stage
from trainables.config import TrialConfig
from trainables.data.preparing.prepare import prepare
from trainables.data.store import ImageStore
from trainables.data.trial_data import TrialData
from trainables.errors import BadInputError
from trainables.training.trial import train

BASE: dict[str, Any] = {
    "dataset": "none",
    "batch_size": 8,
    "encoder": "resnet10",
    "width_factor": 0.125,
    "image_size": 24,
    "projector_output_width": 8,
    "epochs": 1,
    "warmup_epochs": 0.0,
}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Pools of one product: digital numbers, reflectance in 16 bits, and the thesis' 8 bits."""
    monkeypatch.setenv("SWEEP_DATA", str(tmp_path))
    write_product(tmp_path / "in")
    for rule in ("none", "reflectance"):
        options = {"chip_size": 24, "splits": "random", "pixels": rule}
        prepare("scenes", source=tmp_path / "in", root=tmp_path, store_name=rule, reader=read_scenes, **options)
    return tmp_path


def planned(**fields: Any) -> Plan:
    objective = RankingObjective("train/contrastive_loss", "min")
    space = SearchSpace("x", "", (Stage("one", (Grid(base={**BASE, **fields}),)),), objective, baselines=())
    return make_plan(space, assignments={}, size_of=size_of)


def test_a_pool_of_another_reflectance_cant_be_evaluated_on(root: Path) -> None:
    words = (
        r"^evaluation_dataset: reflectance has values of another reflectance, B04 = 1.5259e-05 \* value, none has "
        r"0.0001 \* value; prepare both with the same --pixels, thesis or reflectance$"
    )
    for check in (check_data, check_questions):
        with pytest.raises(BadInputError, match=words):
            check(planned(evaluation_dataset="reflectance"))
        check(planned())
    stores = [ImageStore.open(name, root) for name in ("none", "reflectance")]
    config = TrialConfig.parse({**BASE, "evaluation_dataset": "reflectance"})
    with pytest.raises(BadInputError, match=words):
        TrialData(config, *stores)


def test_weights_of_a_pool_of_another_reflectance_are_refused(root: Path) -> None:
    stores = {name: ImageStore.open(name, root) for name in ("none", "reflectance")}
    files = files_in(root / "trial")
    list(train(TrialConfig.parse(BASE), store=stores["none"], files=files, device=CPU))
    file = str(root / "trial" / "model.pt")
    stated = torch.load(file, weights_only=True)["inputs"]
    assert [(band["name"], band["scale"]) for band in stated["bands"]] == [(b, 1e-4) for b in ("B04", "B03", "B02")]
    assert stated["full"] == 65535
    words = r"model.pt: was trained on B04 = 0.0001 \* value, the images have 1.5259e-05 \* value; prepare them with"
    check_weights(planned(initial_weights=file))
    with pytest.raises(BadInputError, match=words):
        check_weights(planned(initial_weights=file, dataset="reflectance"))
    config = TrialConfig.parse({**BASE, "dataset": "reflectance", "initial_weights": file})
    with pytest.raises(BadInputError, match=words):
        list(train(config, store=stores["reflectance"], files=files_in(root / "other"), device=CPU))
