"""Validation slices of pools of chips: whole blocks and tiles, apart from train, as the plan counts them."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.products import LEFT, write_product

from sweep.maps.scene_source import read_scenes
from sweep.planning.dataset_sizes import check_data, size_of
from sweep.planning.plan import Plan, make_plan
from sweep.planning.plan_table import summary
from sweep.space import Grid, RankingObjective, SearchSpace, Stage
from trainables.config import TrialConfig
from trainables.data.chip import Chip
from trainables.data.evaluated_labels import evaluated_labels
from trainables.data.preparing.label_set import LabelRequest, attach_labels
from trainables.data.preparing.prepare import prepare
from trainables.data.spatial_splits import blocks_of
from trainables.data.stable_hash import SUBSET_SALT, VALIDATION_SALT
from trainables.data.store import ImageStore
from trainables.data.trial_data import TrialData
from trainables.errors import BadInputError
from trainables.metrics.names import better_when

BASE: dict[str, Any] = {"dataset": "pool", "batch_size": 8, "encoder": "resnet10", "image_size": 24, "epochs": 1}


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tiles side by side, each at two dates, of 10 x 10 chips of 12 pixels."""
    root = tmp_path_factory.mktemp("scenes")
    for number, (date, tile) in enumerate([(d, t) for d in ("20230613", "20230813") for t in ("T34VER", "T34VES")]):
        write_product(root, date=date, tile=tile, left=LEFT + 1200 * (tile == "T34VES"), seed=number)
    return root


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SWEEP_DATA", str(tmp_path))
    return tmp_path


def pool(source: Path, root: Path, **options: Any) -> ImageStore:
    settings = {"chip_size": 12, "pixels": "none", "splits": "block", "block_size": 240.0} | options
    prepare("scenes", source=source, root=root, store_name="pool", reader=read_scenes, **settings)
    return ImageStore.open("pool", root)


def data_of(store: ImageStore, **changes: Any) -> TrialData:
    return TrialData(
        TrialConfig.parse({**BASE, "dataset": store.info.name, "validation_fraction": 0.2, **changes}), store
    )


def sides(data: TrialData) -> tuple[list[Chip], list[Chip]]:
    """Return the chips of train and of validation."""
    store = data.train.store
    return store.chips(data.train.rows) or [], store.chips(data._held_out["val"].rows) or []


def gap(one: Chip, other: Chip) -> float:
    distances = [abs(a - b) for a, b in zip(one.centre, other.centre, strict=True)]
    return max(distances) - (one.ground_side + other.ground_side) / 2.0


@pytest.mark.parametrize(("options", "least"), [({}, 0.0), ({"stride": 6}, 0.0), ({"stride": 6, "buffer": 60.0}, 60.0)])
def test_whole_blocks_with_all_dates_are_held_out_and_train_stays_apart(
    options: dict[str, Any], least: float, scenes: Path, root: Path
) -> None:
    store = pool(scenes, root, **options)
    train, validation = sides(data_of(store))
    blocks = [set(blocks_of(chips, 240.0)) for chips in (train, validation)]
    assert blocks[0].isdisjoint(blocks[1])
    assert {chip.place for chip in train}.isdisjoint(chip.place for chip in validation)
    assert min(gap(one, other) for one in train for other in validation) >= least - 1e-6
    everything = store.chips(store.split("train")) or []
    held_out = set(blocks_of(validation, 240.0))
    assert len(validation) == sum(block in held_out for block in blocks_of(everything, 240.0))
    sizes = np.unique(blocks_of(everything, 240.0), return_counts=True)[1]
    assert abs(len(validation) - 0.2 * len(everything)) <= sizes.max() / 2
    left_out = [chip for chip in everything if chip not in train and chip not in validation]
    assert bool(left_out) == ("stride" in options)
    assert all(min(gap(chip, other) for other in validation) < least for chip in left_out)


def test_a_random_split_holds_out_the_same_single_images_as_before(scenes: Path, root: Path) -> None:
    store = pool(scenes, root, splits="random", block_size=None)
    data = data_of(store)
    rows = store.split("train")
    held_out = store.stable_fractions(rows, VALIDATION_SALT) < 0.2
    np.testing.assert_array_equal(data._held_out["val"].rows, rows[held_out])
    np.testing.assert_array_equal(data.train.rows, rows[~held_out])


def test_whole_blocks_are_held_out_of_the_only_tile(scenes: Path, root: Path) -> None:
    store = pool(scenes, root, splits="tile", block_size=None, chip_size=6)
    train, validation = sides(data_of(store))
    side = 10 * validation[0].ground_side
    blocks = [set(blocks_of(chips, side)) for chips in (train, validation)]
    assert blocks[0].isdisjoint(blocks[1])
    assert len({chip.tile for chip in (*train, *validation)}) == 1
    total, every = store.info.splits["train"], len(blocks[0] | blocks[1])
    assert (
        f"pool: validation_fraction 0.2 holds out {len(validation)} of {total} train images, {len(blocks[1])} of "
        f"{every} blocks of the only tile"
    ) in "\n".join(summary(plan_of()))


def test_one_block_of_the_only_tile_cant_be_held_out(tmp_path: Path, root: Path) -> None:
    for number, tile in enumerate(("T34VER", "T34VES")):
        left = LEFT + 1200 * number
        write_product(tmp_path / "small", tile=tile, left=left, seed=number, side=60)
    store = pool(tmp_path / "small", root, splits="tile", block_size=None, chip_size=30)
    with pytest.raises(BadInputError, match=r"in whole blocks \(1\), leaves train empty; .* --block-size METRES"):
        data_of(store)


def test_whole_tiles_are_held_out(scenes: Path, root: Path, tmp_path: Path) -> None:
    shutil.copytree(scenes, tmp_path / "three tiles")
    write_product(tmp_path / "three tiles", tile="T34VET", left=LEFT + 2400, seed=9)
    prepare(
        "scenes",
        source=tmp_path / "three tiles",
        root=root,
        store_name="three",
        reader=read_scenes,
        chip_size=12,
        pixels="none",
        splits="tile",
    )
    train, validation = sides(data_of(ImageStore.open("three", root)))
    tiles = [{chip.tile for chip in chips} for chips in (train, validation)]
    assert [len(own) for own in tiles] == [1, 1]
    assert tiles[0] != tiles[1]


def plan_of(dataset: str = "pool", metric: str = "train/contrastive_loss", **changes: Any) -> Plan:
    space = SearchSpace(
        name="x",
        description="x",
        base={**BASE, "dataset": dataset, "validation_fraction": 0.2, **changes},
        stages=(Stage("grid", (Grid(),)),),
        objective=RankingObjective(metric, better_when(metric)),
        baselines=(),
    )
    return make_plan(space, assignments={}, size_of=size_of)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"max_train_images": 77},
        {"pairs": "season"},
        {"pairs": "season", "max_train_images": 77},
        {"validation_fraction": 0.0, "pairs": "season", "max_train_images": 77},
    ],
    ids=str,
)
def test_the_plan_counts_the_images_that_the_trial_takes(changes: dict[str, Any], scenes: Path, root: Path) -> None:
    store = pool(scenes, root, stride=6, buffer=60.0)
    data = data_of(store, **changes)
    (trial,) = plan_of(**changes, batch_size=2).trials
    assert trial.train_images == len(data.train)
    held_out = data._held_out.get("val", ())
    assert trial.pretrained.validation == len(held_out)
    assert trial.images.train == len(data.train)
    assert trial.images.held_out == max(len(held_out), store.info.splits["test"])
    plan_of(**changes, batch_size=len(data.train))
    with pytest.raises(BadInputError, match=f"batch_size: {len(data.train) + 1} is larger than the {len(data.train)} "):
        plan_of(**changes, batch_size=len(data.train) + 1)


def test_the_plan_says_what_is_held_out(scenes: Path, root: Path) -> None:
    store = pool(scenes, root, stride=6)
    said = "\n".join(summary(plan_of()))
    train, validation = sides(data_of(store))
    total = store.info.splits["train"]
    blocks = [len(set(blocks_of(chips, 240.0))) for chips in (validation, store.chips(store.split("train")) or [])]
    assert (
        f"pool: validation_fraction 0.2 holds out {len(validation)} of {total:,} train images, {blocks[0]} of "
        f"{blocks[1]} blocks; {total - len(validation) - len(train)} beside them are left out of train"
    ) in said
    assert "stable hash: steps may differ" not in said


def test_labels_that_miss_a_split_are_refused_by_the_plan(scenes: Path, root: Path) -> None:
    store = pool(scenes, root)
    names = store.names(store.split("train"))
    (root / "labels.csv").write_text(
        "\n".join(["path,label", *(f"{name},{'ab'[k % 2]}" for k, name in enumerate(names))])
    )
    attach_labels(LabelRequest("pool", root / "labels.csv"))
    with pytest.raises(
        BadInputError, match=r"^labels: no image of pool.labels's test split has one; label some of them"
    ):
        plan_of("pool.labels", "val/top1")


@pytest.mark.parametrize("split", ["val", "train"])
def test_labels_on_one_side_alone_are_refused_by_the_plan(split: str, scenes: Path, root: Path) -> None:
    store = pool(scenes, root)
    data = data_of(store)
    rows = data.train.rows if split == "val" else data._held_out["val"].rows
    names = store.names(np.concatenate([rows[::3], store.split("test")]))
    (root / "labels.csv").write_text(
        "\n".join(["path,label", *(f"{name},{'ab'[k % 2]}" for k, name in enumerate(names))])
    )
    attach_labels(LabelRequest("pool", root / "labels.csv"))
    with pytest.raises(BadInputError, match=f"labels: no image of pool.labels's {split} split has one"):
        data_of(ImageStore.open("pool.labels", root))
    words = "in" if split == "val" else "outside"
    with pytest.raises(
        BadInputError, match=rf"^validation_fraction: none of the .*images of pool.labels {words} the \d+"
    ):
        plan_of("pool.labels", "test/top1")


def test_a_label_set_has_the_slice_of_its_pool_and_its_labels_are_counted(scenes: Path, root: Path) -> None:
    """Labels of single places: the share of labelled images in the kept part isn't that of all train images."""
    store = pool(scenes, root)
    names = store.names(range(len(store)))
    labelled = [name for number, name in enumerate(names) if number % 3 == 0]
    (root / "labels.csv").write_text(
        "\n".join(["path,label", *(f"{name},{'ab'[len(name) % 2 == k % 2]}" for k, name in enumerate(labelled))])
    )
    attach_labels(LabelRequest("pool", root / "labels.csv"))
    own = ImageStore.open("pool.labels", root)
    data = data_of(own)
    np.testing.assert_array_equal(data._held_out["val"].rows, data_of(store)._held_out["val"].rows)
    found = evaluated_labels(own.info, own.path, validation_fraction=0.2, limit=None)
    for name, split in data.evaluated.items():
        np.testing.assert_array_equal(found[name], own.label_matrix(split.rows).numpy())
    (trial,) = plan_of("pool.labels", "val/top1", training="supervised").trials
    assert trial.train_images == len(data_of(own, training="supervised").train)
    check_data(plan_of("pool", evaluation_dataset="pool.labels", batch_size=len(store.split("train"))))
    (trial,) = plan_of("pool", evaluation_dataset="pool.labels").trials
    both = TrialData(trial.config, store, own)
    assert trial.train_images == len(both.train) == store.info.splits["train"]
    assert trial.judged.labelled == len(both.bank)
    assert trial.judged.validation == len(both._held_out["val"])
    assert set(both.bank.rows.tolist()).isdisjoint(both.evaluated["val"].rows.tolist())
    assert store.stable_fractions([0], SUBSET_SALT)[0] == own.stable_fractions([0], SUBSET_SALT)[0]
