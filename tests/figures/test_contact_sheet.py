"""The contact sheet shows views from which something can be seen."""

from pathlib import Path

import numpy as np
from PIL import Image
from support.stores import made

from sweep.figures.contact_sheet import contact_sheet
from trainables.config import TrialConfig


def test_the_augmented_views_are_of_the_shown_image_with_the_most_contrast(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for number in range(4):
        path = tmp_path / "in" / ("test" if number == 3 else "train") / "a" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        spread = 200 if number == 2 else 5
        Image.fromarray(random.integers(0, spread, (20, 20, 3)).astype(np.uint8)).save(path)
    store = made("folder", tmp_path, source=tmp_path / "in", store_name="calm")
    config = TrialConfig.parse({"dataset": "calm", "image_size": 20, "seed": 0})
    _, lower = contact_sheet(store, config).subfigs
    assert lower.get_suptitle() == "train/a/2.png: 8 pairs of augmented views"
