"""Validation slices of stores whose images name their places, and of stores of single images."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.stores import made

from trainables.config import TrialConfig
from trainables.data.store import ImageStore
from trainables.data.trial_data import TrialData
from trainables.data.validation_slice import _nearest_to
from trainables.errors import BadInputError


def of_farms(root: Path, farms: list[int], *, splits: str = "place") -> ImageStore:
    """Prepare a folder of images by a table; each farm has so many of them."""
    folder = root / "in"
    folder.mkdir()
    lines = ["path,label,place"]
    for farm, images in enumerate(farms):
        for number in range(images):
            Image.new("RGB", (8, 8), (farm, number, 0)).save(folder / f"{farm}-{number}.png")
            lines.append(f"{farm}-{number}.png,{'ab'[number % 2]},farm {farm}")
    (folder / "farms.csv").write_text("\n".join(lines))
    return made("folder", root, source=folder, store_name="farms", table=folder / "farms.csv", splits=splits)


def cut(store: ImageStore, share: float) -> tuple[list[str], list[str]]:
    """Return the farms of the train and of the validation images."""
    config = TrialConfig.parse({"dataset": "farms", "batch_size": 2, "image_size": 8, "validation_fraction": share})
    data = TrialData(config, store)
    parts = (data.train.rows, data._held_out["val"].rows)
    own = [[name.partition("-")[0] for name in store.names(rows)] for rows in parts]
    return own[0], own[1]


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5])
def test_whole_places_are_held_out(share: float, tmp_path: Path) -> None:
    store = of_farms(tmp_path, [3 + number % 4 for number in range(30)])
    train, validation = cut(store, share)
    assert set(train).isdisjoint(validation)
    assert len(train) + len(validation) == store.info.splits["train"]
    assert abs(len(validation) - share * store.info.splits["train"]) <= 3


def test_one_place_is_held_out_where_each_is_larger_than_the_share(tmp_path: Path) -> None:
    store = of_farms(tmp_path, [9, 5, 8, 7, 9])
    train, validation = cut(store, 0.05)
    sizes = Counter(name.partition("-")[0] for name in store.names(store.split("train")))
    assert len(set(validation)) == 1
    assert len(validation) == min(sizes.values())
    assert len(set(train)) == len(sizes) - 1


def test_a_single_place_is_refused_with_the_ways_out(tmp_path: Path) -> None:
    store = of_farms(tmp_path, [6, 6])
    with pytest.raises(BadInputError) as caught:
        cut(store, 0.2)
    assert str(caught.value) == (
        "validation_fraction: 0.2 of the 6 train images of farms, in whole places (1), leaves train empty; set it "
        "to 0, or prepare the data with --splits random"
    )


def test_places_count_only_where_the_store_is_split_by_them(tmp_path: Path) -> None:
    store = of_farms(tmp_path, [10] * 6, splits="random")
    train, validation = cut(store, 0.3)
    assert set(train) & set(validation)


@pytest.mark.parametrize(
    ("wanted", "sizes", "chosen"),
    [
        (60.0, [100, 100, 100, 3], [0]),
        (60.0, [3, 100, 100, 100], [0, 1]),
        (40.0, [100, 90, 100], [1]),
        (20.0, [8, 8, 8, 8], [0, 1]),
        (19.0, [8, 8, 1, 1, 1], [0, 1, 2, 3, 4]),
    ],
)
def test_places_are_taken_while_they_bring_the_number_nearer_to_the_share(
    wanted: float, sizes: list[int], chosen: list[int]
) -> None:
    assert _nearest_to(wanted, [np.arange(size) for size in sizes]) == chosen
