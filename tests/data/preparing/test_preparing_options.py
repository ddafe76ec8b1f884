"""Archives as published, and what can be chosen when a store is made of them."""

import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image
from support.paths import ROOT
from support.sample_data import (
    pack_tar,
    pack_zip,
    write_bigearthnet,
    write_bigearthnet_v2,
    write_eurosat,
    write_eurosat_ms,
    write_tiny_imagenet,
)
from support.stores import everything, made

from trainables.data.class_names import RGB_BANDS
from trainables.data.dataset_facts import KNOWN
from trainables.data.preparing import decode_chunk, decode_workers
from trainables.data.preparing.pixels import SAMPLE_IMAGES, fit, percentile_tables, thesis_tables
from trainables.data.preparing.prepare import prepare
from trainables.data.sources.options import choose
from trainables.data.sources.source import ImageEntry, LabelledImage
from trainables.data.store_info import StoreInfo
from trainables.errors import BadInputError

PATCHES = [["Sea and ocean"], ["Mixed forest", "Rice fields"], ["Pastures", "Vineyards"], ["Burnt areas"]] * 4
PATCHES_V2 = [["Marine waters"], ["Mixed forest", "Arable land"], ["Pastures"], ["Urban fabric", "Pastures"]] * 4


def archive_of_tiny_imagenet(parent: Path) -> tuple[Path, Path]:
    root = write_tiny_imagenet(parent)
    return root, pack_zip(root, parent / "tiny-imagenet-200.zip")


def archive_of_eurosat(parent: Path) -> tuple[Path, Path]:
    root = write_eurosat(parent)
    return root, pack_zip(root, parent / "EuroSAT.zip")


def archive_of_eurosat_ms(parent: Path) -> tuple[Path, Path]:
    root = write_eurosat_ms(parent)
    return root, pack_zip(root, parent / "EuroSATallBands.zip")


def archive_of_v1(parent: Path) -> tuple[Path, Path]:
    root = write_bigearthnet(parent, PATCHES)
    return root, pack_tar(root, parent / "BigEarthNet-S2-v1.0.tar.gz")


def archive_of_v2(parent: Path) -> tuple[Path, Path]:
    root = write_bigearthnet_v2(parent, PATCHES_V2)
    return root, pack_tar(root / "BigEarthNet-S2", parent / "BigEarthNet-S2.tar.zst")


ARCHIVES: dict[str, Callable[[Path], tuple[Path, Path]]] = {
    "tiny_imagenet": archive_of_tiny_imagenet,
    "eurosat": archive_of_eurosat,
    "eurosat_ms": archive_of_eurosat_ms,
    "bigearthnet_v1": archive_of_v1,
    "bigearthnet_v2": archive_of_v2,
}


INHERITED = """
import os
from trainables.data.preparing.decode_workers import SERVER_ENVIRONMENT, _workers
before = dict(os.environ)
with _workers() as (pool, _):
    inherited = {name: pool.submit(os.getenv, name).result() for name in SERVER_ENVIRONMENT}
print(inherited == SERVER_ENVIRONMENT, os.environ == before)
"""


def test_workers_keep_freed_memory_and_the_program_its_environment() -> None:
    """A program of its own: the fork server of this one may be another test's."""
    command = [sys.executable, "-c", INHERITED]
    done = subprocess.run(command, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True)
    assert done.stdout == "True True\n"


def test_preparing_loads_neither_torch_nor_scipy() -> None:
    """They take seconds, and images are decoded without them."""
    program = "import sys, trainables.data.preparing.prepare; print({'torch', 'scipy', 'pandas'} & set(sys.modules))"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


@pytest.mark.parametrize("name", list(ARCHIVES))
def test_an_archive_and_its_folder_give_one_store(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode_workers, "CHUNK_BYTES", 5 * 120 * 120 * 3)  # several chunks, in worker processes
    folder, archive = ARCHIVES[name](tmp_path)
    options = {"splits": "random"} if name == "bigearthnet_v1" else {}
    unpacked = prepare(name, source=folder, root=tmp_path / "a", **options)
    packed = made(name, tmp_path / "b", source=archive, **options)
    assert packed.info.fingerprint == unpacked.fingerprint
    assert packed.info.source == str(archive)
    assert prepare(name, source=archive, root=tmp_path / "b", **options) == packed.info
    assert not list(tmp_path.glob("**/*.partial"))


def test_a_patch_without_one_of_its_bands_is_named_wherever_it_lies(tmp_path: Path) -> None:
    folder = write_bigearthnet(tmp_path, PATCHES)
    (folder / "S2A_MSIL2A_20170613T101032_3_50" / "S2A_MSIL2A_20170613T101032_3_50_B03.tif").unlink()
    archive = pack_tar(folder, tmp_path / "BigEarthNet-S2-v1.0.tar.gz")
    for source in (folder, archive):
        with pytest.raises(BadInputError, match=r"S2A_MSIL2A_20170613T101032_3_50.*B03\.tif"):
            prepare("bigearthnet_v1", source=source, root=tmp_path / "out", splits="random")
    store = made("bigearthnet_v1", tmp_path / "out", source=archive, splits="random", skip_corrupt=True)
    assert len(store) == len(PATCHES) - 1
    assert len(store.info.corrupt) == 1
    assert "B03.tif missing" in store.info.corrupt[0]


def test_all_bands_of_a_patch_each_enlarged_to_its_pixels(tmp_path: Path) -> None:
    bands = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12")
    folder = write_bigearthnet(tmp_path, PATCHES, bands=bands)
    store = made("bigearthnet_v1", tmp_path / "out", source=folder, splits="random", bands=("all",), pixels="none")
    assert (store.info.channels, store.info.dtype) == (12, "uint16")
    names, images, _ = everything(store)
    for row in (0, 7):
        for channel, band in enumerate(bands):
            values = tifffile.imread(folder / names[row] / f"{names[row]}_{band}.tif")
            times = 120 // len(values)
            np.testing.assert_array_equal(images[row, ..., channel], np.kron(values, np.ones((times, times))))


def test_percentiles_stretch_each_band_over_the_sampled_images(tmp_path: Path) -> None:
    folder = write_bigearthnet(tmp_path, PATCHES, bands=("B02", "B08"))
    for number, path in enumerate(folder.rglob("*_B08.tif")):
        tifffile.imwrite(path, np.full((120, 120), 1000 + 100 * number, np.uint16))
    options = {"splits": "random", "bands": ("B08", "B02"), "pixels": "percentiles"}
    store = made("bigearthnet_v1", tmp_path / "out", source=folder, **options)
    _, images, _ = everything(store)
    values = np.sort(images[:, 0, 0, 0])
    assert (values[0], values[-1]) == (0, 255)
    assert np.all(np.diff(values.astype(int)) == 17)  # 16 levels, equally far apart
    assert str(store.info.options["percentiles"]).startswith("B08: 1000 to 2500, B02: ")
    assert prepare("bigearthnet_v1", source=folder, root=tmp_path / "out", **options) == store.info


def test_percentiles_read_images_in_the_order_of_their_files() -> None:
    """Chips of a scene in another order would unpack the same part of it many times."""
    read: list[int] = []

    def image(number: int) -> LabelledImage:
        read.append(number)
        return LabelledImage(np.full((4, 4, 1), number, np.uint16), None)

    entries = [ImageEntry(f"chip {number}", partial(image, number)) for number in range(2 * SAMPLE_IMAGES)]
    percentile_tables(entries)
    assert len(read) == SAMPLE_IMAGES
    assert read == sorted(read)


def test_eurosat_bands_are_chosen_by_name(tmp_path: Path) -> None:
    folder = write_eurosat_ms(tmp_path)
    store = made("eurosat_ms", tmp_path / "out", source=folder)
    names, images, _ = everything(store)
    path = next(folder.rglob(names[3]))
    bands = tifffile.imread(path)[..., [3, 2, 1]]
    np.testing.assert_array_equal(images[3], thesis_tables()[0][bands])


# What goes wrong


def test_corrupt_images_are_named_or_left_out_and_listed(tmp_path: Path) -> None:
    folder = write_eurosat(tmp_path)
    (folder / "Forest" / "Forest_2.jpg").write_bytes(b"no JPEG")
    (folder / "River" / "River_1.jpg").write_bytes((folder / "River" / "River_1.jpg").read_bytes()[:300])
    with pytest.raises(BadInputError, match=r"Forest_2\.jpg: can't be read as an image.* --skip-corrupt"):
        prepare("eurosat", source=folder, root=tmp_path / "out")
    store = made("eurosat", tmp_path / "out", source=folder, skip_corrupt=True)
    assert len(store) == 38
    assert sorted(message.split("/")[-1].split(":")[0] for message in store.info.corrupt) == [
        "Forest_2.jpg",
        "River_1.jpg",
    ]


def test_a_disk_that_is_full_before_or_half_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_eurosat(tmp_path)

    class Usage:
        free = 10_000

    with monkeypatch.context() as patched:
        patched.setattr("shutil.disk_usage", lambda path: Usage)
        with pytest.raises(BadInputError, match=r"needs [\d.]+ MB, \d\.\d MB free; choose another place"):
            prepare("eurosat", source=folder, root=tmp_path / "out")

    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(decode_chunk, "_write", full)
    with pytest.raises(BadInputError, match=r"out: can't be written \(No space left on device\)"):
        prepare("eurosat", source=folder, root=tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".eurosat.lock"]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("tiny_imagenet", {"bands": ("B02",)}, "--bands B02: tiny_imagenet offers no choice; leave it out"),
        ("bigearthnet_v1", {"bands": ("B10",)}, "--bands B10: choose from B01, B02"),
        ("bigearthnet_v1", {"bands": ("B02", "B02")}, "--bands B02,B02: name each band once"),
        ("bigearthnet_v1", {"fraction": 0.5}, "the thesis' splits take a quarter by themselves; add --splits random"),
        ("bigearthnet_v2", {"labels": "43"}, "--labels 43: choose from 19, farmland"),
        ("bigearthnet_v2", {"splits": "thesis"}, "--splits thesis: choose from official, random, place"),
        ("eurosat_ms", {"pixels": "log"}, "--pixels log: choose from thesis, percentiles, reflectance, none"),
        ("eurosat_ms", {"reflectance": (1e4, 0.0)}, "--reflectance 10000,0: is for --pixels reflectance"),
        ("eurosat_ms", {"pixels": "reflectance", "reflectance": (0.0, 0.0)}, "SCALE must be > 0"),
        ("folder", {"pixels": "reflectance"}, "state the files' scale and offset with --reflectance"),
        ("folder", {"bands": ("a b",)}, "--bands a b: must be a plain name"),
        ("folder", {"image_size": 2}, "--image-size must be >= 4 pixels, got 2"),
        (
            "folder",
            {"columns": {"label": "species"}},
            "--column label=species: is for the columns of a table; add --table",
        ),
        ("folder", {"separator": "|"}, "--separator |: is for the labels of a table; add --table FILE"),
        ("folder", {"lists": Path("x")}, "--lists x: folder has no published lists; leave it out"),
        ("folder", {"url": "http://x/y.zip"}, "--url http://x/y.zip: folder isn't downloaded; leave it out"),
        ("eurosat", {"url": "http://x/y.zip"}, "--url http://x/y.zip: --source is given too; leave it out"),
        ("eurosat", {"store_name": "digits"}, "--as digits: is the name of another data set; choose a name of its own"),
        ("folder", {"image_size": 100000}, "--image-size must be <= 8192 pixels, got 100000"),
        ("eurosat", {"separator": "|"}, "--separator"),
        ("eurosat", {"fractoin": 0.5}, "fractoin: no such option; known: fraction, bands"),
        ("eurosat", {"fraction": 1.5}, "fraction must be > 0 and <= 1, got 1.5"),
    ],
)
def test_options_that_a_data_set_doesnt_have(name: str, options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(BadInputError) as caught:
        prepare(name, source=tmp_path, root=tmp_path / "out", **options)
    assert message in str(caught.value)
    assert StoreInfo.read(name, tmp_path / "out") is None


def test_the_thesis_rule_is_for_16_bits(tmp_path: Path) -> None:
    for name in ("a/1.png", "b/2.png"):
        (tmp_path / "in" / name).parent.mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "in" / name)
    with pytest.raises(BadInputError, match=r"--pixels thesis: is for values of 16 bits, and a/1\.png has 8"):
        prepare("folder", source=tmp_path / "in", root=tmp_path / "out", pixels="thesis")


@pytest.mark.parametrize("size", [(64, 64), (40, 64), (7, 9)])
def test_resizing_takes_the_central_square_and_keeps_the_mean(size: tuple[int, int]) -> None:
    image = np.random.default_rng(4).integers(0, 2**16, (*size, 5), dtype=np.uint16)
    small = fit(image, 5)
    side = min(size)
    top, left = (size[0] - side) // 2, (size[1] - side) // 2
    square = image[top : top + side, left : left + side]
    assert small.shape == (5, 5, 5)
    np.testing.assert_allclose(small.mean((0, 1)), square.mean((0, 1)), rtol=0.12)
    flat = np.full((*size, 3), 77, np.uint8)
    assert (fit(flat, 8) == 77).all()


def test_the_bands_are_red_green_and_blue_by_default(tmp_path: Path) -> None:
    store = made("bigearthnet_v1", tmp_path / "out", source=write_bigearthnet(tmp_path, PATCHES), splits="random")
    assert store.info.options["bands"] == ", ".join(RGB_BANDS) == "B04, B03, B02"


@pytest.mark.parametrize(
    ("data_set", "name", "option", "values", "texts"),
    [
        (
            "scenes",
            "most cloud",
            "max_cloud",
            (0.07, 1.0, 0.101, 0.104, 0.004),
            ("7%", "100%", "10.1%", "10.4%", "0.4%"),
        ),
        (
            *("folder", "reflectance", "reflectance", ((1e4, -1e3), (36363.61, 0.5), (36363.64, 0.5))),
            ("10000,-1000", "36363.61,0.5", "36363.64,0.5"),
        ),
    ],
)
def test_options_that_change_a_store_are_described_with_all_their_digits(
    data_set: str, name: str, option: str, values: tuple[Any, ...], texts: tuple[str, ...]
) -> None:
    facts = KNOWN[data_set]
    also = {"pixels": "reflectance"} if option == "reflectance" else {}
    found = [choose(facts, {option: value, **also}).described(facts)[name] for value in values]
    assert tuple(found) == texts
