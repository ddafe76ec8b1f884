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


def scenes(root: Path, name: str, **place: object) -> ImageStore:
    write_product(root / f"in-{name}", **place)  # type: ignore[arg-type]
    prepare(
        "scenes",
        source=root / f"in-{name}",
        root=root,
        store_name=name,
        reader=read_scenes,
        chip_size=24,
        splits="random",
    )
    return ImageStore.open(name, root)


def test_equal_images_and_equal_ground_are_counted_apart(tmp_path: Path) -> None:
    pool = scenes(tmp_path, "pool")
    same = scenes(tmp_path, "same")
    later = scenes(tmp_path, "later", date="20230901", seed=1, left=LEFT + 120)
    elsewhere = scenes(tmp_path, "elsewhere", left=LEFT + 1200, seed=2)
    tests = len(same.split("test"))
    assert counts(leaks_between(pool, same)) == (tests, 0, tests)
    assert counts(leaks_between(pool, later)) == (0, 0, len(later.split("test")))
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
            path = tmp_path / f"in-{name}" / f"{number:02d}.png"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(np.kron(scan * 15 + added, np.ones((4, 4))).astype(np.uint8)).save(path)
        prepare("folder", source=tmp_path / f"in-{name}", root=tmp_path, store_name=name)
    first, second = ImageStore.open("first", tmp_path), ImageStore.open("second", tmp_path)
    found = leaks_between(first, second)
    assert found.counts.identical == 0
    assert found.counts.near_identical > 0.9 * found.tested


def counts(found: StoreLeaks) -> tuple[int, int, int]:
    return found.counts.identical, found.counts.near_identical, found.overlapping


def run(root: Path, *arguments: str) -> object:
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--root", str(root)])
    return ended.value.code
