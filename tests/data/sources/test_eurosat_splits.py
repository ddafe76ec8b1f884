"""EuroSAT's splits by longitude: the published lists, and the coordinates of 13-band GeoTIFFs."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin
from rasterio.warp import transform
from support.sample_data import pack_zip, write_eurosat

from trainables.data.class_names import EUROSAT_CLASSES
from trainables.data.dataset_facts import PublishedFile
from trainables.data.preparing import published_files
from trainables.data.preparing.prepare import prepare
from trainables.data.sources.eurosat_lists import SPATIAL_LISTS
from trainables.data.sources.geotiff_place import geotiff_chip, utm_degrees
from trainables.data.store import ImageStore
from trainables.errors import BadInputError

IMAGES = 5


def write_georeferenced(parent: Path, *, crs: str | None = "EPSG:32633") -> Path:
    """Write EuroSAT_MS in its layout, 13-band uint16 GeoTIFFs in class folders; images of higher number lie east."""
    random = np.random.default_rng(0)
    for k, name in enumerate(EUROSAT_CLASSES):
        folder = parent / "EuroSAT_MS" / name
        folder.mkdir(parents=True)
        for index in range(1, IMAGES + 1):
            values = random.integers(0, 4000, (13, 64, 64), dtype=np.uint16)
            place = {"crs": crs, "transform": from_origin(3e5 + 5e4 * index, 5.5e6 + 1e3 * k, 10, 10)} if crs else {}
            shape: dict[str, Any] = {"count": 13, "height": 64, "width": 64, "dtype": "uint16", "driver": "GTiff"}
            with rasterio.open(folder / f"{name}_{index}.tif", "w", **shape, **place) as file:
                file.write(values)
    return parent / "EuroSAT_MS"


def write_lists(folder: Path, ends: tuple[int, int] = (3, 4)) -> Path:
    """Write the three lists as published; images up to the first end are train, up to the second validation."""
    folder.mkdir(exist_ok=True)
    bounds = (0, *ends, IMAGES)
    for number, list_name in enumerate(SPATIAL_LISTS.values()):
        own = range(bounds[number] + 1, bounds[number + 1] + 1)
        lines = [f"{name}_{index}.jpg" for name in EUROSAT_CLASSES for index in own]
        (folder / list_name).write_text("\n".join(lines) + "\n")
    return folder


def store_of(name: str, root: Path, **options: Any) -> ImageStore:
    prepare(name, root=root, **options)
    return ImageStore.open(name, root)


def numbers(store: ImageStore, split: str) -> set[int]:
    return {int(name.rpartition("_")[2].split(".")[0]) for name in store.names(store.split(split))}


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("name", ["eurosat", "eurosat_ms"])
def test_published_lists_are_the_splits(tmp_path: Path, name: str) -> None:
    source = write_eurosat(tmp_path, images=IMAGES) if name == "eurosat" else write_georeferenced(tmp_path, crs=None)
    store = store_of(name, tmp_path, source=source, lists=write_lists(tmp_path / "lists"), splits="spatial")
    assert [numbers(store, split) for split in ("train", "validation", "test")] == [{1, 2, 3}, {4}, {5}]
    assert store.info.decisions["splits"] == "published: the lists of the spatial split"
    assert store.info.options["splits"].startswith("spatial: the published lists")  # type: ignore[union-attr]
    assert "20% test" not in str(store.info.options["splits"])


def test_longitude_of_georeferenced_images_is_the_split(tmp_path: Path) -> None:
    store = store_of("eurosat_ms", tmp_path, source=write_georeferenced(tmp_path), splits="longitude", bands=("all",))
    assert [numbers(store, split) for split in ("train", "validation", "test")] == [{1, 2, 3}, {4}, {5}]
    assert "test chips are" in store.info.decisions["distance between splits"]
    chips = store.chips(np.arange(len(store))) or []
    x, y = zip(*(chip.centre for chip in chips), strict=True)
    longitude, latitude = transform("EPSG:32633", "EPSG:4326", x, y)
    np.testing.assert_allclose([chip.longitude for chip in chips], longitude, atol=1e-8)
    np.testing.assert_allclose([chip.latitude for chip in chips], latitude, atol=1e-8)


@pytest.mark.parametrize("zone", [1, 31, 60])
@pytest.mark.parametrize("south", [False, True])
def test_degrees_of_utm_are_those_of_proj(zone: int, south: bool) -> None:
    easting, northing = np.meshgrid([166e3, 4e5, 5e5, 834e3], [0.0, 1e6, 5.2e6, 9.3e6])
    own = [utm_degrees(zone, *at) for at in zip(easting.ravel(), northing.ravel() * (-1 if south else 1), strict=True)]
    shifted = 1e7 - northing if south else northing
    code = (32700 if south else 32600) + zone
    expected = transform(f"EPSG:{code}", "EPSG:4326", easting.ravel(), shifted.ravel())
    turns = (np.array(own).T - np.array(expected) + 180.0) % 360.0 - 180.0
    np.testing.assert_allclose(turns, 0.0, atol=1e-7)


@pytest.mark.parametrize(("crs", "known"), [("EPSG:4326", True), ("EPSG:3857", False), ("EPSG:32733", True)])
@pytest.mark.parametrize("means", ["Point", "Area"])
def test_place_of_a_file_is_that_which_rasterio_reads(tmp_path: Path, crs: str, known: bool, means: str) -> None:
    shape: dict[str, Any] = {"count": 1, "height": 8, "width": 8, "dtype": "uint8", "driver": "GTiff"}
    path = tmp_path / "a.tif"
    with rasterio.open(path, "w", **shape, crs=crs, transform=from_origin(13.2, 52.1, 0.1, 0.2)) as file:
        file.update_tags(AREA_OR_POINT=means)
    chip = geotiff_chip(str(path), "a.tif")
    with rasterio.open(path) as file:
        assert chip is not None
        assert chip.transform == pytest.approx(tuple(file.transform)[:6])
        assert chip.crs == file.crs.to_string()
        middle = file.transform * (4, 4)
    if crs == "EPSG:4326":
        assert (chip.longitude, chip.latitude) == pytest.approx(middle)
    assert (chip.longitude is not None) == known


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_images_without_coordinates_have_no_longitude(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"AnnualCrop_1.tif: has no coordinates; choose --splits spatial"):
        store_of("eurosat_ms", tmp_path, source=write_georeferenced(tmp_path, crs=None), splits="longitude")
    with pytest.raises(BadInputError, match=r"--splits longitude: choose from exact, random, spatial$"):
        store_of("eurosat", tmp_path, source=write_eurosat(tmp_path, images=IMAGES), splits="longitude")


def _drop(path: Path) -> None:
    path.unlink()


def _shorten(path: Path) -> None:
    path.write_text("".join(path.read_text().splitlines(keepends=True)[1:]))


def _repeat(path: Path) -> None:
    path.write_text(path.read_text() + "Forest_1.jpg\n")


def _other(path: Path) -> None:
    path.write_text("<!doctype html>\n")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_drop, r"eurosat-spatial-test.txt: not found in .*lists; give its folder with --lists FOLDER \(published at"),
        (_shorten, r"lists: the lists .* lack 1 of 50 images \(AnnualCrop_5.jpg\)"),
        (_repeat, r"eurosat-spatial-test.txt: Forest_1 is in eurosat-spatial-train.txt too"),
        (_other, r"eurosat-spatial-test.txt: line 1: '<!doctype html>' isn't an image's name"),
    ],
)
def test_wrong_and_incomplete_lists_are_named(tmp_path: Path, damage: Any, message: str) -> None:
    source, lists = write_eurosat(tmp_path, images=IMAGES), write_lists(tmp_path / "lists")
    damage(lists / SPATIAL_LISTS["test"])
    with pytest.raises(BadInputError, match=message):
        store_of("eurosat", tmp_path, source=source, lists=lists, splits="spatial")


def test_lists_are_downloaded_with_the_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = pack_zip(write_eurosat(tmp_path / "in", images=IMAGES), tmp_path / "EuroSAT.zip")
    lists, fetched = write_lists(tmp_path / "published"), []

    def download(published: PublishedFile, folder: Path, progress: object) -> Path:
        name = published.url.rpartition("/")[2]
        fetched.append(name)
        folder.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copy(archive if name == archive.name else lists / name, folder / name))

    monkeypatch.setattr(published_files, "_download", download)
    store = store_of("eurosat", tmp_path / "out", splits="spatial")
    assert [numbers(store, split) for split in ("train", "validation", "test")] == [{1, 2, 3}, {4}, {5}]
    assert fetched == [*SPATIAL_LISTS.values(), archive.name]
    store_of("eurosat", tmp_path / "other")
    assert fetched[4:] == [archive.name]


def test_a_store_of_other_lists_is_another(tmp_path: Path) -> None:
    source, lists = write_eurosat(tmp_path, images=IMAGES), write_lists(tmp_path / "lists")
    first = store_of("eurosat", tmp_path, source=source, lists=lists, splits="spatial")
    assert store_of("eurosat", tmp_path, source=source, lists=lists, splits="spatial").info == first.info
    with pytest.raises(BadInputError, match="10 images in another split"):
        store_of("eurosat", tmp_path, source=source, lists=write_lists(lists, (2, 4)), splits="spatial")
