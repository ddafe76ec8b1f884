"""Preparing again: already prepared is what is made of the same images and labels, wherever they lie."""

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from support.sample_data import pack_zip, write_bigearthnet

from trainables.data.preparing.prepare import prepare
from trainables.data.store_format import INFO_FILE, PIXELS_FILE
from trainables.data.store_info import StoreInfo
from trainables.errors import BadInputError

RANDOM = np.random.default_rng(4)


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(RANDOM.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(path)


def pets(folder: Path) -> Path:
    for name in ("cat", "dog"):
        for number in range(10):
            picture(folder / name / f"{number}.png")
    return folder


def refused(message: str, **options: Any) -> None:
    with pytest.raises(BadInputError, match=message):
        prepare(**options)


def test_added_removed_and_changed_images_are_named(tmp_path: Path) -> None:
    source = pets(tmp_path / "pets")
    options: dict[str, Any] = {"name": "folder", "source": source, "root": tmp_path / "out"}
    info = prepare(**options)
    written = (tmp_path / "out" / "folder" / PIXELS_FILE).stat().st_mtime_ns
    assert prepare(**options) == info
    picture(source / "cat" / "more.png")
    refused(r"is already prepared differently: 1 image added to the source \(cat/more\.png\); choose", **options)
    (source / "cat" / "more.png").rename(source / "cat" / "0.png")
    refused(r"differently: 1 image with other pixels \(cat/0\.png\)", **options)
    (source / "cat" / "0.png").unlink()
    refused(r"differently: 1 image no longer in the source \(cat/0\.png\)", **options)
    assert StoreInfo.read("folder", tmp_path / "out") == info
    assert (tmp_path / "out" / "folder" / PIXELS_FILE).stat().st_mtime_ns == written
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [".folder.lock", "folder"]


def test_the_same_content_is_recognised_elsewhere_and_touched(tmp_path: Path) -> None:
    source = pets(tmp_path / "pets")
    first = prepare("folder", source=source, root=tmp_path / "out")
    for path in source.rglob("*.png"):
        os.utime(path, (1e9, 1e9))
    again = prepare("folder", source=source, root=tmp_path / "out")
    assert (again.fingerprint, again.made) == (first.fingerprint, first.made)
    assert again.source_state != first.source_state
    shutil.copytree(source, tmp_path / "copy")
    assert prepare("folder", source=tmp_path / "copy", root=tmp_path / "out").fingerprint == first.fingerprint
    packed = pack_zip(tmp_path / "copy", tmp_path / "copy.zip")
    assert prepare("folder", source=packed, root=tmp_path / "out").fingerprint == first.fingerprint


def test_an_edited_table_and_another_one_of_its_name_are_told(tmp_path: Path) -> None:
    source, table = pets(tmp_path / "pets"), tmp_path / "labels.csv"
    rows = [f"{name}/{number}.png,{name}" for name in ("cat", "dog") for number in range(10)]
    table.write_text("path,label\n" + "\n".join(rows) + "\n")
    options: dict[str, Any] = {"name": "folder", "source": source, "root": tmp_path / "out"}
    info = prepare(**options, table=table)
    (tmp_path / "elsewhere").mkdir()
    same = shutil.copy(table, tmp_path / "elsewhere" / "labels.csv")
    assert prepare(**options, table=same) == info
    same.write_text("path,label\n" + "\n".join([*rows[:-1], "dog/9.png,cat"]) + "\n")
    refused(r"differently: 1 image with other labels \(dog/9\.png\)", **options, table=same)
    table.write_text("path,label,place\n" + "\n".join(f"{row},here" for row in rows) + "\n")
    refused(r"differently: 20 images of another place", **options, table=table)


def test_added_rows_of_parquet_are_told(tmp_path: Path) -> None:
    def write(count: int) -> None:
        pets(tmp_path / "pets")
        images = [path.read_bytes() for path in sorted((tmp_path / "pets").rglob("*.png"))][:count]
        labels = [number % 2 for number in range(count)]
        pq.write_table(pa.table({"image": images, "label": labels}), tmp_path / "x.parquet")

    options: dict[str, Any] = {"name": "parquet", "source": tmp_path / "x.parquet", "root": tmp_path / "out"}
    RANDOM.bit_generator.state = np.random.default_rng(9).bit_generator.state
    write(18)
    info = prepare(**options)
    assert prepare(**options) == info
    RANDOM.bit_generator.state = np.random.default_rng(9).bit_generator.state
    write(20)
    refused(r"differently: 2 images added to the source \(image-000018, image-000019\)", **options)


def test_added_and_edited_patches_are_told(tmp_path: Path) -> None:
    folder = write_bigearthnet(tmp_path, [["Sea and ocean"], ["Peatbogs"]] * 8)
    options: dict[str, Any] = {"name": "bigearthnet_v1", "splits": "random", "source": folder, "root": tmp_path / "out"}
    info = prepare(**options)
    assert prepare(**options) == info
    first, second = sorted(folder.rglob("*_B02.tif"))[:2]
    second.write_bytes(first.read_bytes())
    refused("differently: 1 image with other pixels", **options)


def test_a_store_of_an_earlier_version_is_read_and_compared_by_its_place(tmp_path: Path) -> None:
    source = pets(tmp_path / "pets")
    info = prepare("folder", source=source, root=tmp_path / "out")
    path = tmp_path / "out" / "folder" / INFO_FILE
    old = info.model_dump_json(exclude={"decisions", "source_state"})
    path.write_text(old)
    kept = prepare("folder", source=source, root=tmp_path / "out")
    assert (kept.fingerprint, kept.source_state, kept.decisions) == (info.fingerprint, "", {})
    other = pets(tmp_path / "other")
    refused("differently: source is '.*pets', requested '.*other'", name="folder", source=other, root=tmp_path / "out")
