"""Leaks between a pool and an evaluation's test split: equal images, nearly equal ones, and the same ground."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits
from support.products import LEFT, write_product

from sweep.data import main
from sweep.maps.scene_source import read_scenes
from trainables.data.preparing.prepare import prepare
from trainables.data.preparing.store_leaks import StoreLeaks, leaks_between
from trainables.data.store import ImageStore


def scenes(
    root: Path, name: str, splits: str = "random", block_size: float | None = None, **place: object
) -> ImageStore:
    write_product(root / f"in-{name}", **place)  # type: ignore[arg-type]
    prepare(
        "scenes",
        source=root / f"in-{name}",
        root=root,
        store_name=name,
        reader=read_scenes,
        chip_size=24,
        splits=splits,
        block_size=block_size,
    )
    return ImageStore.open(name, root)


def test_equal_images_and_equal_ground_are_counted_apart(tmp_path: Path) -> None:
    pool = scenes(tmp_path, "pool")
    same = scenes(tmp_path, "same")
    later = scenes(tmp_path, "later", date="20230901", seed=1, left=LEFT + 120)
    elsewhere = scenes(tmp_path, "elsewhere", left=LEFT + 1200, seed=2)
    assert counts(leaks_between(pool, same)) == (0, 0, 0)  # its test chips are the pool's test chips
    assert counts(leaks_between(pool, later)) == (0, 0, overlapping(pool, later)) > (0, 0, 0)
    turned = scenes(tmp_path, "turned", splits="block", block_size=480.0)
    trained = set(pool.names(pool.split("train")))
    equal = sum(name in trained for name in turned.names(turned.split("test")))
    assert counts(leaks_between(pool, turned)) == (equal, 0, equal) > (0, 0, 0)
    assert counts(leaks_between(pool, elsewhere)) == (0, 0, 0)
    refused = (
        run(tmp_path, "leaks", "pool", "later", "--strict"),
        run(tmp_path, "leaks", "pool", "elsewhere", "--strict"),
    )
    assert refused == (2, 0)


def test_near_duplicates_are_found_between_stores(tmp_path: Path) -> None:
    scans = load_digits().images[:60]
    for name, added in (("first", 0), ("second", 1)):
        for number, scan in enumerate(scans):
            path = tmp_path / f"in-{name}" / f"{name}-{number:02d}.png"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(np.kron(scan * 15 + added, np.ones((4, 4))).astype(np.uint8)).save(path)
        prepare("folder", source=tmp_path / f"in-{name}", root=tmp_path, store_name=name)
    first, second = ImageStore.open("first", tmp_path), ImageStore.open("second", tmp_path)
    found = leaks_between(first, second)
    assert found.counts.identical == 0
    trained = {path.removeprefix("first-") for path in first.names(first.split("train"))}
    alike = sum(path.removeprefix("second-") in trained for path in second.names(second.split("test")))
    assert alike >= found.counts.near_identical > 0.9 * alike > 0


def overlapping(pool: ImageStore, tested: ImageStore) -> int:
    """Count by definition the test chips that overlap a train chip of the pool."""
    ours, theirs = pool.chips(pool.split("train")) or [], tested.chips(tested.split("test")) or []
    sides = [(one, other, (one.ground_side + other.ground_side) / 2) for one in theirs for other in ours]
    over = {
        one.centre
        for one, other, reach in sides
        if all(abs(a - b) < reach - 1e-6 for a, b in zip(one.centre, other.centre, strict=True))
    }
    return len(over)


def counts(found: StoreLeaks) -> tuple[int, int, int]:
    return found.counts.identical, found.counts.near_identical, found.overlapping


def run(root: Path, *arguments: str) -> object:
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--root", str(root)])
    return ended.value.code
