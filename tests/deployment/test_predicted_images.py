"""Which prepared data sets a model predicts."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

from sweep.deployment.exported_model import DeployedModel
from sweep.deployment.predicted_images import open_images
from trainables.data.preparing.pixel_recipe import PixelRecipe
from trainables.data.preparing.prepare import prepare
from trainables.errors import BadInputError


def test_a_data_set_of_another_value_range_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWEEP_DATA", str(tmp_path / "data"))
    random = np.random.default_rng(0)
    for number in range(12):
        path = tmp_path / "in" / "ab"[number % 2] / f"{number}.tif"
        path.parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(path, random.normal(size=(8, 8)).astype(np.float32))
    own = prepare("folder", source=tmp_path / "in", store_name="own", value_range=(-3.0, 3.0))
    prepare("folder", source=tmp_path / "in", store_name="other", value_range=(-3.0, 6.0))
    facts = {"channels": 1, "dtype": "uint16", "image_size": [8, 8], "data_set": "own"}
    model = DeployedModel(tmp_path, {**facts, "input": PixelRecipe.of(own).written()})
    assert len(open_images(model, Path("own")).names) == 12
    with pytest.raises(BadInputError, match=r"pixels made by .* \(\(-3.0, 6.0\)\), the model takes .*; prepare it"):
        open_images(model, Path("other"))
