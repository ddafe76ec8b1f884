"""The sources in folders: each original layout, its pixels and labels, and every way in which it can be broken."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from support.sample_data import pack_tar, sample_folder, write_bigearthnet, write_eurosat, write_tiny_imagenet

from trainables.data.dataset_facts import KNOWN
from trainables.data.preparing.pixels import thesis_tables
from trainables.data.preparing.prepare import READERS, prepare
from trainables.data.sources.options import choose
from trainables.data.sources.source import ImageEntry, ImageSource, PrepareRequest
from trainables.data.store import ImageStore
from trainables.data.store_info import StoreInfo
from trainables.errors import BadInputError

PATCHES = [["Sea and ocean"], ["Mixed forest"], ["Pastures", "Vineyards"], ["Peatbogs"]] * 3
WRITERS: dict[str, Callable[[Path], Path]] = {
    "tiny_imagenet": write_tiny_imagenet,
    "eurosat": write_eurosat,
    "bigearthnet_v1": lambda parent: write_bigearthnet(parent, PATCHES),
}
SPLITS = {"bigearthnet_v1": "random"}
"""Where the default, the thesis' quarter, would leave nothing of a few patches."""


def listed(name: str, folder: Path) -> ImageSource:
    facts = KNOWN[name]
    return READERS[name](PrepareRequest(facts, choose(facts, {"splits": SPLITS.get(name)}), folder))


def entries_of(name: str, folder: Path) -> dict[str, ImageEntry]:
    return {entry.name: entry for entry in listed(name, folder).entries()}


def test_tiny_imagenet_uses_val_as_test_and_makes_grey_images_rgb(tmp_path: Path) -> None:
    root = write_tiny_imagenet(tmp_path)
    source = listed("tiny_imagenet", root)
    entries = {entry.name: entry for entry in source.entries()}
    assert source.class_names == ("crane (n01)", "goldfish", "crane (n03)")
    assert "test/ found and ignored (1 images)" in source.notes
    assert [entry.split for entry in entries.values()].count("train") == 18
    assert [name for name, entry in entries.items() if entry.split == "test"] == [f"val_{i}.JPEG" for i in range(3)]
    assert entries["val_1.JPEG"].read().labels == ("goldfish",)

    grey = entries["n02_0.JPEG"].read().image
    with Image.open(root / "train" / "n02" / "images" / "n02_0.JPEG") as image:
        assert image.mode == "L"
        np.testing.assert_array_equal(grey, np.asarray(image)[..., None].repeat(3, axis=-1))


def test_bigearthnet_pixels_are_the_stated_rule_for_every_value() -> None:
    values = np.arange(2**16, dtype=np.uint16)
    expected = np.clip(values.astype(np.float64) / 2000.0 * 255.0, 0, 255).astype(np.uint8)
    (pixels,) = thesis_tables()
    np.testing.assert_array_equal(pixels[values], expected)
    assert pixels[[0, 1, 1000, 1999, 2000, 2001, 65535]].tolist() == [0, 0, 127, 254] + [255] * 3


@pytest.mark.parametrize("name", list(WRITERS))
def test_a_folder_its_parent_and_the_order_of_files_give_the_same_store(name: str, tmp_path: Path) -> None:
    folder = WRITERS[name](tmp_path / "in")
    splits = SPLITS.get(name)
    info = prepare(name, source=folder, root=tmp_path / "a", splits=splits)
    again = prepare(name, source=folder.parent, root=tmp_path / "b", splits=splits)
    assert info.model_copy(update={"made": ""}) == again.model_copy(update={"made": ""})
    assert prepare(name, source=folder.parent, root=tmp_path / "a", splits=splits) == info
    other = WRITERS[name](tmp_path / "other")
    assert prepare(name, source=other, root=tmp_path / "a", splits=splits).fingerprint == info.fingerprint
    changed = sorted(path for path in other.rglob("*") if path.suffix.lower() in (".jpeg", ".jpg", ".tif"))[-2:]
    changed[0].write_bytes(changed[1].read_bytes())
    with pytest.raises(BadInputError, match=r"is already prepared differently: 1 image with other pixels \("):
        prepare(name, source=other, root=tmp_path / "a", splits=splits)


def corrupt(pattern: str, content: bytes | None) -> Callable[[Path], str]:
    """Give a fault: one file that matches gets `content`, or is removed; its name has to be in the error."""

    def apply(folder: Path) -> str:
        path = sorted(folder.rglob(pattern))[3]
        path.unlink() if content is None else path.write_bytes(content)
        return path.name

    return apply


def wrong_size(folder: Path) -> str:
    path = sorted(folder.rglob("n02_*.JPEG"))[3]
    Image.new("RGB", (32, 48)).save(path, format="JPEG")
    return f"{path.name}: can't be decoded (expected 64 x 64 pixels, found 32 x 48)"


def relabel(labels: object, expected: str) -> Callable[[Path], str]:
    def apply(folder: Path) -> str:
        path = sorted(folder.rglob("*.json"))[3]
        path.write_text(json.dumps({"labels": labels}))
        return f"{path.name}: {expected}"

    return apply


def empty_class(folder: Path) -> str:
    for path in (folder / "River").iterdir():
        path.unlink()
    return "River: expected images of this class (.jpg, .jpeg), found none"


def remove(*parts: str, expected: str) -> Callable[[Path], str]:
    def apply(folder: Path) -> str:
        path = folder.joinpath(*parts)
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        return expected

    return apply


def annotate(line: str, expected: str) -> Callable[[Path], str]:
    def apply(folder: Path) -> str:
        with (folder / "val" / "val_annotations.txt").open("a") as file:
            file.write(line)
        return expected

    return apply


def same_name_twice(folder: Path) -> str:
    images = folder / "train" / "n01" / "images"
    shutil.copy(images / "n01_0.JPEG", folder / "train" / "n02" / "images")
    return "two images are named n01_0.JPEG"


def colour_band(folder: Path) -> str:
    path = sorted(folder.rglob("*_B03.tif"))[2]
    tifffile.imwrite(path, np.zeros((120, 120, 3), np.uint8))
    return f"{path.name}: can't be decoded (expected one band of 16 bits, found PIL mode RGB"


FAULTS: list[tuple[str, Callable[[Path], str]]] = [
    ("tiny_imagenet", corrupt("*.JPEG", b"\xff\xd8\xff\xe0 not a JPEG")),
    ("tiny_imagenet", wrong_size),
    ("tiny_imagenet", remove("val", "images", "val_1.JPEG", expected="val_1.JPEG: can't be decoded (No such file")),
    ("tiny_imagenet", remove("words.txt", expected="expected tiny-imagenet-200.zip, or its folder")),
    ("tiny_imagenet", remove("train", "n03", expected="class 'n03' has no folder")),
    ("tiny_imagenet", annotate("val_9.JPEG\tn77\t0\t0\t1\t1\n", "val_annotations.txt:4: class 'n77' has no folder")),
    ("tiny_imagenet", annotate("val_9.JPEG\tn01\t0\t0\t1\t1\n", "val_9.JPEG: can't be decoded (No such file")),
    ("tiny_imagenet", same_name_twice),
    ("eurosat", corrupt("*.jpg", b"")),
    ("eurosat", empty_class),
    ("eurosat", remove("Forest", expected="Forest: expected images of this class")),
    ("bigearthnet_v1", corrupt("*_B04.tif", None)),
    ("bigearthnet_v1", corrupt("*_B02.tif", b"II*\0 cut off")),
    ("bigearthnet_v1", corrupt("*.json", b"{")),
    ("bigearthnet_v1", corrupt("*.json", None)),
    ("bigearthnet_v1", colour_band),
    ("bigearthnet_v1", relabel(["Mixed forest", "Wood"], "'Wood' is none of the 43 labels")),
    ("bigearthnet_v1", relabel([], 'expected a list "labels" with at least one')),
]


@pytest.mark.parametrize(("name", "fault"), FAULTS)
def test_a_broken_source_is_named_and_leaves_nothing(name: str, fault: Callable[[Path], str], tmp_path: Path) -> None:
    folder = WRITERS[name](tmp_path / "in")
    expected = fault(folder)
    with pytest.raises(BadInputError) as caught:
        prepare(name, source=folder, root=tmp_path / "out", splits=SPLITS.get(name))
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)
    assert StoreInfo.read(name, tmp_path / "out") is None
    left = [path for path in (tmp_path / "out").glob(".*") if path.suffix != ".lock"]
    assert left == []


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # `prepare` silences these itself
@pytest.mark.parametrize("name", list(WRITERS))
def test_an_image_cut_off_anywhere_is_named(name: str, tmp_path: Path) -> None:
    folder = WRITERS[name](tmp_path)
    path = sorted(path for path in folder.rglob("*.*") if path.suffix in (".JPEG", ".jpg", ".tif"))[1]
    intact = path.read_bytes()
    entry = entries_of(name, folder)[path.parent.name if name == "bigearthnet_v1" else path.name]
    for kept in range(0, len(intact) - 64, len(intact) // 40):
        path.write_bytes(intact[:kept])
        with pytest.raises(BadInputError, match=f"{path.name}: "):
            entry.read()


def test_real_tiny_imagenet(tmp_path: Path) -> None:
    source = sample_folder("tiny-imagenet-20c")
    listing = listed("tiny_imagenet", source)
    assert len(listing.class_names) == len(set(listing.class_names)) == 20
    assert listing.class_names[0] == "goldfish"
    info = prepare("tiny_imagenet", source=source, root=tmp_path, fraction=0.1)
    assert info.splits["train"] == pytest.approx(500, rel=0.15)
    store = ImageStore.open("tiny_imagenet", tmp_path)
    images = store.images(range(len(store))).numpy()
    grey = (images.max(axis=-1) == images.min(axis=-1)).all(axis=(1, 2)).sum()
    assert grey == pytest.approx(0.015 * len(store), abs=8)  # SOURCES: 87 of 6,000
    name = store.names([17])[0]
    with Image.open(next(source.rglob(name))) as image:
        np.testing.assert_array_equal(images[17], np.asarray(image.convert("RGB")))


def test_real_bigearthnet_agrees_with_its_manifest_and_with_tifffile(tmp_path: Path) -> None:
    source = sample_folder("bigearthnet-s2-v1")
    info = prepare("bigearthnet_v1", source=source, root=tmp_path, splits="random")
    store = ImageStore.open("bigearthnet_v1", tmp_path)
    with (source / "manifest.csv").open() as file:
        manifest = {row["patch"]: row for row in csv.DictReader(file)}
    everything = np.arange(len(store))
    names = store.names(everything)
    assert sorted(names) == sorted(manifest)
    assert info.splits["test"] / info.images == pytest.approx(0.25, abs=0.05)
    farmland = store.positive_mask(everything, ("farmland",)).tolist()
    assert farmland == [manifest[name]["farmland"] == "1" for name in names]
    for row, name in zip(store.label_matrix(everything), names, strict=True):
        labels = {info.class_names[column] for column in row.nonzero().flatten()}
        assert labels == set(manifest[name]["labels"].split("|"))
    for row in (0, 100, 300, 523):
        patch = source / "BigEarthNet-v1.0" / names[row] / names[row]
        bands = np.stack([tifffile.imread(f"{patch}_{band}.tif") for band in ("B04", "B03", "B02")], axis=-1)
        expected = np.clip(bands / 2000.0 * 255.0, 0, 255).astype(np.uint8)
        np.testing.assert_array_equal(store.images([row])[0].numpy(), expected)


def test_real_eurosat(tmp_path: Path) -> None:
    info = prepare("eurosat", source=sample_folder("eurosat-rgb"), root=tmp_path)
    assert info.images == 3000
    assert {sum(counts) for counts in zip(*info.class_counts.values(), strict=True)} == {300}
    assert sum(info.rule_counts["farmland"].values()) == 900
    assert info.splits["test"] / 3000 == pytest.approx(0.2, abs=0.02)


def test_stray_files_and_folders_are_left_out_and_counted(tmp_path: Path) -> None:
    tiny = write_tiny_imagenet(tmp_path / "tiny")
    images = tiny / "train" / "n01" / "images"
    shutil.copy(images / "n01_0.JPEG", images / "other.jpeg")
    (images / "notes.txt").write_text("x")
    (tiny / "val" / "images" / "Thumbs.db").write_bytes(b"x")
    (tiny / "val" / "images" / "readme.txt").write_text("x")
    info = prepare("tiny_imagenet", source=tiny, root=tmp_path / "out")
    assert info.splits == {"train": 18, "test": 3}
    assert info.decisions["left out"] == "2 in train/ and no *.JPEG, 1 Thumbs.db, 1 in val/ and no *.JPEG"
    euro = write_eurosat(tmp_path / "euro")
    for name in ("Forest/@eaDir/Forest_1.jpg", "Moor/Moor_1.jpg", "README.md", ".DS_Store"):
        (euro / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(euro / "Forest" / "Forest_1.jpg", euro / name)
    left_out = prepare("eurosat", source=euro, root=tmp_path / "out").decisions["left out"]
    assert set(left_out.split(", ")) == {"1 in @eaDir/", "1 hidden", "1 no .jpg", "1 in Moor/", "which isn't a class"}


def test_stray_files_in_a_tar_of_patches_are_left_out_and_counted(tmp_path: Path) -> None:
    folder = write_bigearthnet(tmp_path, [["Sea and ocean"], ["Peatbogs"]] * 8)
    patch = sorted(folder.iterdir())[0]
    for path in (folder / "README.txt", folder / "documents" / "B02.tif", patch / "notes.txt", patch / "Thumbs.db"):
        path.parent.mkdir(exist_ok=True)
        path.write_text("x")
    (folder / "@eaDir").mkdir()
    shutil.copy(next(patch.glob("*_B02.tif")), folder / "@eaDir" / "x_B02.tif")
    info = prepare(
        "bigearthnet_v1", source=pack_tar(folder, tmp_path / "x.tar.gz"), root=tmp_path / "out", splits="random"
    )
    assert info.images == 16
    left_out = set(info.decisions["left out"].split(", "))
    assert left_out == {"3 files that are part of no patch", "1 Thumbs.db", "1 in @eaDir/"}


@pytest.mark.parametrize("deep", [False, True])
def test_stray_folders_beside_patches_are_left_out_and_counted(deep: bool, tmp_path: Path) -> None:
    labels = [["Sea and ocean"], ["Peatbogs"]] * 8
    folder = write_bigearthnet(tmp_path / "a" / "b", labels) if deep else write_bigearthnet(tmp_path, labels)
    for name in ("documents", "@eaDir", "S2A_documents"):
        (folder / name).mkdir()
        (folder / name / "x.txt").write_text("x")
    source = tmp_path / "a" if deep else folder
    info = prepare("bigearthnet_v1", source=source, root=tmp_path / "out", splits="random")
    assert info.images == 16
    assert info.decisions["left out"] == "2 folders that aren't patches (S2A_documents, documents)"
    five = folder / "S2A_MSIL2A_20170905T95032_10_38"
    first = sorted(folder.glob("S2A_MSIL2A*"))[0]
    five.mkdir()
    for path in first.iterdir():
        shutil.copy(path, five / path.name.replace(first.name, five.name))
    placed = prepare("bigearthnet_v1", source=source, root=tmp_path / "out", splits="place", store_name="placed")
    assert sorted(placed.splits.values()) == [1, 16]
