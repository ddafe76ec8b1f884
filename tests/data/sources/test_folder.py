"""Images of one's own: class folders, tables, TIFFs with any bands, and Parquet files as the hub publishes them."""

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tifffile
from PIL import Image
from support.sample_data import pack_zip
from support.stores import everything, made

from trainables.data.preparing.pixels import fit
from trainables.data.preparing.prepare import prepare
from trainables.errors import BadInputError


def write_images(folder: Path, sizes: dict[str, tuple[int, int]]) -> dict[str, np.ndarray]:
    random = np.random.default_rng(1)
    images = {}
    for path, (height, width) in sizes.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        images[path] = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(images[path]).save(folder / path)
    return images


def test_class_folders_with_and_without_splits_of_their_own(tmp_path: Path) -> None:
    images = write_images(tmp_path / "own", {f"{c}/{n}.png": (20, 30) for c in ("oak", "birch") for n in range(20)})
    store = made("folder", tmp_path / "out", source=tmp_path / "own", image_size=16, store_name="trees")
    assert store.info.class_names == ("birch", "oak")
    assert store.info.data_set == "folder"
    names, pixels, hot = everything(store)
    for row in (0, 25):
        np.testing.assert_array_equal(pixels[row], fit(images[names[row]], 16))
        assert store.info.class_names[hot[row].argmax()] == names[row].split("/")[0]
    write_images(tmp_path / "own", {"oak/odd.png": (8, 9)})
    with pytest.raises(BadInputError, match="--image-size"):
        prepare("folder", source=tmp_path / "own", root=tmp_path / "none")
    write_images(tmp_path / "split", {f"{s}/{c}/1.png": (8, 8) for s in ("train", "val", "test") for c in "ab"})
    split = made("folder", tmp_path / "out", source=tmp_path / "split", store_name="split")
    assert split.info.splits == {"train": 2, "validation": 2, "test": 2}
    (tmp_path / "split" / "train" / "c").mkdir()
    with pytest.raises(BadInputError, match="class folders without an image: c"):
        prepare("folder", source=tmp_path / "split", root=tmp_path / "none")


def test_how_many_images_are_enlarged_is_said(tmp_path: Path) -> None:
    sides = {0: (7, 30), 1: (12, 12), 2: (16, 16), 3: (20, 17)}
    write_images(tmp_path / "own", {f"{name}/{n}.png": size for n, size in sides.items() for name in ("oak", "elm")})
    store = made("folder", tmp_path / "out", source=tmp_path / "own", image_size=16)
    assert "4 images: smaller than 16 px, and enlarged" in store.info.notes


def test_a_table_with_several_labels_splits_and_places(tmp_path: Path) -> None:
    write_images(tmp_path / "own", {f"{n}.png": (8, 8) for n in range(12)})
    rows = [
        {"path": f"{n}.png", "species": "oak|fir" if n % 2 else "fir", "split": "", "place": f"plot {n // 3}"}
        for n in range(12)
    ]
    table = tmp_path / "labels.csv"
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    options: dict[str, Any] = {"table": table, "columns": {"label": "species"}, "source": tmp_path / "own"}
    store = made("folder", tmp_path / "out", separator="|", splits="place", **options)
    assert store.info.multi_label
    assert store.info.class_counts["train"][0] == store.info.splits["train"]  # fir
    places = {
        split: set(store._rows.column("place").take(pa.array(store.split(split))).to_pylist())
        for split in store.info.splits
    }
    assert not places["train"] & places["test"]
    with pytest.raises(BadInputError, match=r"labels.csv:2: column|no column 'label'"):
        prepare("folder", root=tmp_path / "none", **{**options, "columns": {}})
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "labels.parquet")
    again = made(
        "folder", tmp_path / "p", separator="|", splits="place", **{**options, "table": tmp_path / "labels.parquet"}
    )
    assert again.info.splits == store.info.splits
    with pytest.raises(BadInputError, match="differently: columns is 'label=species', requested 'label=place'"):
        prepare(
            "folder", root=tmp_path / "out", separator="|", splits="place", **{**options, "columns": {"label": "place"}}
        )
    table.write_text("path,species,split\n0.png,fir,train\n1.png,fir,test\n2.png,fir,\n")
    with pytest.raises(BadInputError, match=r"2\.png: has no split, 2 of 3 images have one; give one to each"):
        prepare("folder", root=tmp_path / "none", **options)
    assert prepare("folder", root=tmp_path / "three", splits="random", **options).images == 3
    table.write_text("path,species\nnowhere.png,fir\n")
    with pytest.raises(BadInputError, match=r"labels.csv:2: nowhere.png isn't an image in .*own"):
        prepare("folder", root=tmp_path / "none", **options)


def test_tiffs_keep_their_bands_and_bits(tmp_path: Path) -> None:
    random = np.random.default_rng(2)
    for number in range(8):
        path = tmp_path / "own" / "ab"[number % 2] / f"{number}.tif"
        path.parent.mkdir(parents=True, exist_ok=True)
        bands = random.integers(0, 9000, (13, 24, 24), dtype=np.uint16)
        planar = "separate" if number < 4 else "contig"
        data = bands if planar == "separate" else np.moveaxis(bands, 0, -1)
        tifffile.imwrite(path, data, planarconfig=planar, photometric="minisblack")
    store = made("folder", tmp_path / "out", source=tmp_path / "own", image_size=12)
    assert (store.info.image_size, store.info.channels, store.info.dtype) == ((12, 12), 13, "uint16")
    names, images, _ = everything(store)
    original = tifffile.imread(tmp_path / "own" / names[0])
    original = np.moveaxis(original, 0, -1) if original.shape[0] == 13 else original
    np.testing.assert_array_equal(images[0], fit(original, 12))


def test_parquet_as_on_the_hub_with_its_class_names(tmp_path: Path) -> None:
    random = np.random.default_rng(3)

    def row(number: int) -> dict[str, Any]:
        content = io.BytesIO()
        Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(content, "PNG")
        return {"image": {"bytes": content.getvalue(), "path": None}, "label": number % 3}

    features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": ["cat", "dog", "owl"]}}
    metadata = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
    for split, count in (("train", 9), ("test", 4)):
        table = pa.Table.from_pylist([row(number) for number in range(count)])
        path = tmp_path / "hub" / "data" / f"{split}-00000-of-00001.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table.replace_schema_metadata(metadata), path)
    store = made("parquet", tmp_path / "out", source=tmp_path / "hub", store_name="pets")
    assert store.info.class_names == ("cat", "dog", "owl")
    assert store.info.splits == {"train": 9, "test": 4}
    assert store.labels(store.split("train")).tolist() == [0, 1, 2] * 3
    bare = tmp_path / "bare.parquet"
    pq.write_table(table, bare)
    assert made("parquet", tmp_path / "out", source=bare, store_name="bare").info.class_names == ("0", "1", "2")
    pq.write_table(pa.table({"picture": [b"x"], "label": [0]}), bare)
    with pytest.raises(BadInputError, match="no column image or img among picture, label; name it with --column"):
        prepare("parquet", source=bare, root=tmp_path / "none")


def test_what_the_folders_decided_is_kept_with_the_store(tmp_path: Path) -> None:
    names = [f"pets/{split}/{name}/{number}.png" for split in ("train", "test") for name in "ab" for number in range(2)]
    write_images(tmp_path / "x", dict.fromkeys([*names, "pets/unlabelled/1.png", "pets/train/@eaDir/1.png"], (8, 8)))
    (tmp_path / "x" / "pets" / "Thumbs.db").write_bytes(b"")
    (tmp_path / "x" / "README.txt").write_text("x")
    stores = {"folder": tmp_path / "x", "zip": pack_zip(tmp_path / "x", tmp_path / "x.zip")}
    for store_name, source in stores.items():
        info = made("folder", tmp_path / "out", source=source, store_name=store_name).info
        assert info.class_names == ("a", "b")
        assert info.splits == {"train": 5, "test": 4}
        assert info.unlabelled == {"train": 1}
        assert info.decisions["splits"] == "published: the folders test/, train/"
        assert info.decisions["classes"].startswith("2 by the names of their folders")
        left_out = set(info.decisions["left out"].split(", "))
        assert {"1 no image (.txt)", "1 in @eaDir/", "1 Thumbs.db"} <= left_out
        assert info.decisions["labels"] == "8 of 9 images have labels; the others are used for pretraining only"


def test_a_published_validation_split_can_be_the_test(tmp_path: Path) -> None:
    folder = tmp_path / "imagenette2"
    write_images(folder, {f"{s}/{c}/{n}.png": (8, 8) for s in ("train", "val") for c in "ab" for n in range(3)})
    with pytest.raises(
        BadInputError, match=r"no image for the test split .* 6 train, 6 validation\); test on the published"
    ):
        prepare("folder", source=folder, root=tmp_path / "out")
    info = made("folder", tmp_path / "out", source=folder, test_split="validation").info
    assert info.splits == {"train": 6, "test": 6}
    assert info.options["test split"] == "validation"
    assert "test is the published validation split (--test-split validation)" in info.decisions["splits"]
    with pytest.raises(
        BadInputError, match="--test-split validation: is for the source's own splits; leave it out with"
    ):
        prepare("folder", source=folder, root=tmp_path / "x", test_split="validation", splits="random")
    write_images(folder, {f"test/{c}/1.png": (8, 8) for c in "ab"})
    both = prepare("folder", source=folder, root=tmp_path / "out", test_split="validation", store_name="both")
    assert both.splits == {"train": 6, "test": 6}
    assert "2 images of the published test split are left out" in both.decisions["splits"]


def test_linked_classes_and_splits_are_read(tmp_path: Path) -> None:
    write_images(tmp_path / "x", {f"train/{c}/{n}.png": (8, 8) for c in "ab" for n in range(2)})
    (tmp_path / "x" / "test").mkdir()
    for name in "ab":
        (tmp_path / "x" / "test" / name).symlink_to(f"../train/{name}")
    info = prepare("folder", source=tmp_path / "x", root=tmp_path / "out")
    assert info.splits == {"train": 4, "test": 4}
    assert info.decisions["links followed"] == "test/a -> train/a, test/b -> train/b"
    assert info.leaks.identical == 4


def test_the_source_itself_may_have_a_name_that_is_no_utf8(tmp_path: Path) -> None:
    source = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    write_images(source, {f"{c}/{n}.png": (8, 8) for c in "ab" for n in range(10)})
    info = prepare("folder", source=source, root=tmp_path / "out")
    assert info.source.endswith(r"caf\udce9")
    assert prepare("folder", source=source, root=tmp_path / "out") == info


@pytest.mark.parametrize(
    "written", ["cat\\1.png", "C:\\in\\cat\\1.png", "/data/cat/1.png", "1.PNG", "cat/1", "cat%2F1.png"]
)
def test_a_table_that_writes_a_path_otherwise_is_told_which_image_is_meant(written: str, tmp_path: Path) -> None:
    write_images(tmp_path / "in", {"cat/1.png": (8, 8), "dog/2.png": (8, 8)})
    (tmp_path / "t.csv").write_text(f"path,label\n{written},cat\n")
    with pytest.raises(BadInputError, match=r"isn't an image in .* \(it has 'cat/1\.png'\); correct or remove the row"):
        prepare("folder", source=tmp_path / "in", root=tmp_path / "out", table=tmp_path / "t.csv")


def test_what_a_source_has_instead_of_images_is_said(tmp_path: Path) -> None:
    for name in ("a/1.jfif", "a/2.jfif", "more.zip", "README"):
        (tmp_path / "own" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "own" / name).write_bytes(b"x")
    with pytest.raises(BadInputError, match=r"no image \(.*\) among 2 .jfif, 1 .*, 1 .*; give the folder"):
        prepare("folder", source=tmp_path / "own", root=tmp_path / "out")


def test_a_column_of_splits_of_another_name_is_not_passed_over(tmp_path: Path) -> None:
    paths = [f"{name}/{number}.png" for name in ("oak", "elm") for number in range(6)]
    write_images(tmp_path / "own", dict.fromkeys(paths, (8, 8)))
    lines = [f"{path},{path.split('/')[0]},{'test' if number % 3 else 'train'},7" for number, path in enumerate(paths)]
    (tmp_path / "t.csv").write_text("\n".join(["path,label,subset,fold", *lines]))
    given = {"source": tmp_path / "own", "table": tmp_path / "t.csv", "root": tmp_path / "out"}
    with pytest.raises(BadInputError, match="column 'subset' holds splits; name it with --column split=subset"):
        prepare("folder", **given)  # type: ignore[arg-type]
    named = prepare("folder", **given, columns={"split": "subset"})  # type: ignore[arg-type]
    assert named.decisions["splits"] == "published: column 'subset' of t.csv"
    assert named.decisions["columns not used"] == "'fold'"
    hashed = prepare("folder", **given, splits="random", store_name="x")  # type: ignore[arg-type]
    assert hashed.decisions["columns not used"] == "'fold', 'subset'"


@pytest.mark.slow
def test_a_source_that_is_refused_after_its_first_image_is_one_line(tmp_path: Path) -> None:
    write_images(tmp_path / "own", dict.fromkeys(("train/cat/1.png", "train/dog/1.png", "unlabelled/1.png"), (8, 8)))
    options = ("--source", str(tmp_path / "own"), "--root", str(tmp_path / "out"))
    command = [sys.executable, "-m", "sweep.data", "prepare", "folder", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
