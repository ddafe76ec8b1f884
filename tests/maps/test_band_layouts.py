"""Sentinel-2's bands as they are distributed outside products: Element 84, AWS, Planetary Computer."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.products import OFFSETS, write_product
from support.scenes import write_band, write_scene

from sweep.maps.scene_search import find_scenes
from sweep.maps.scene_source import read_scenes
from trainables.data.preparing.prepare import prepare
from trainables.data.store import ImageStore
from trainables.errors import BadInputError

SIDE = 24
OLD_COG, NEW_COG = "S2B_52SFA_20210613_0_L2A", "S2B_52SFA_20220613_0_L2A"
PLANETARY = "T52SFA_20220613T020649"


def pool(folder: Path, name: str = "pool", **options: Any) -> ImageStore:
    root = folder.parent / "stores"
    settings: dict[str, Any] = {"chip_size": SIDE, "splits": "random"} | options
    prepare("scenes", source=folder, root=root, store_name=name, reader=read_scenes, **settings)
    return ImageStore.open(name, root)


def write(folder: Path, form: str, metres: int = 10, *, classes: str = "") -> None:
    """Write bands of one value each, red 3000, with an SCL that is half cloud and a true-colour image."""
    side = 4 * SIDE * 10 // metres
    for value, band in enumerate(("B02", "B03", "B04"), 1):
        write_band(folder / form.format(band), np.full((side // 4, side), 1000 * value, np.uint16), metres)
    write_scene(folder / form.format("TCI"), np.ones((side // 4, side, 3), np.uint8))
    if classes:
        scl = np.full((SIDE // 2, 2 * SIDE), 4, np.uint8)
        scl[:, SIDE:] = 9
        write_band(folder / classes, scl, 20)


def tiles_and_dates(store: ImageStore) -> set[tuple[str, str, str]]:
    return {(chip.scene, chip.tile, chip.date) for chip in store.chips(np.arange(len(store))) or []}


def test_dates_of_a_tile_of_element_84_are_one_tile(tmp_path: Path) -> None:
    for cog in (OLD_COG, NEW_COG):
        write(tmp_path / "in" / cog, "{}.tif", classes="SCL.tif")
    store = pool(tmp_path / "in", pixels="percentiles", max_cloud=0.5)
    assert tiles_and_dates(store) == {(OLD_COG, "T52SFA", "2021-06-13"), (NEW_COG, "T52SFA", "2022-06-13")}
    assert len(store) == 4
    assert [note for note in store.info.notes if "no offset is added (-1000 since 2022, also of" in note]
    assert {band.scale for band in store.info.bands} == {None}  # 2022's may have an offset, and 2021's have none


def test_an_offset_that_nothing_states_must_be_given(tmp_path: Path) -> None:
    write(tmp_path / "in" / NEW_COG, "{}.tif")
    for options in ({}, {"pixels": "reflectance"}):
        with pytest.raises(BadInputError, match=rf"{NEW_COG}: values .* offset of 1000 .*10000,-1000 .* or 10000,0 "):
            pool(tmp_path / "in", **options)
    store = pool(tmp_path / "in", pixels="reflectance", reflectance=(10_000.0, -1000.0))
    assert store.images([0])[0, 0, 0, 0] == round(0.2 * 65535)
    (tmp_path / "in" / NEW_COG / "MTD_MSIL2A.xml").write_text("".join(OFFSETS.format(band) for band in range(13)))
    stated = pool(tmp_path / "in", "stated", pixels="none")
    assert (stated.images([0])[0, 0, 0] == np.array([2000, 1000, 0], np.uint16)).all()
    assert {(band.scale, band.offset) for band in stated.info.bands} == {(1e-4, 0.0)}
    reprocessed = "S2B_T43QDB_20200110T053549_L2A"
    write(tmp_path / "again" / reprocessed, "{}.tif")
    with pytest.raises(BadInputError, match=rf"{reprocessed}: values .* offset of 1000"):
        pool(tmp_path / "again", "again")
    write(tmp_path / "old" / OLD_COG, "{}.tif")
    assert pool(tmp_path / "old", "old").info.options["pixels"].startswith("thesis")


def test_bands_of_many_scenes_of_planetary_computer_may_lie_in_one_folder(tmp_path: Path) -> None:
    """Metadata there could be of any of them, and of a single one is used."""
    write(tmp_path / "in", PLANETARY + "_{}_10m.tif", classes=f"{PLANETARY}_SCL_20m.tif")
    (tmp_path / "in" / "MTD_MSIL2A.xml").write_text("".join(OFFSETS.format(band) for band in range(13)))
    alone = pool(tmp_path / "in", "alone", pixels="none")
    assert alone.images([0])[0, 0, 0, 0] == 2000
    assert tiles_and_dates(alone) == {(PLANETARY, "T52SFA", "2022-06-13")}
    assert {chip.cloud for chip in alone.chips(np.arange(4)) or []} == {0.0, 1.0}
    write(tmp_path / "in", PLANETARY.replace("2022", "2023") + "_{}_10m.tif")
    both = pool(tmp_path / "in", pixels="none")
    assert len(both) == 8
    assert (both.images([0])[0, 0, 0, 0], len(tiles_and_dates(both))) == (3000, 2)


def test_the_folders_of_aws_are_one_scene_with_the_finest_bands(tmp_path: Path) -> None:
    tile = tmp_path / "in" / "52SFA_20210613"
    write(tile / "R10m", "{}.tif")
    write(tile / "R20m", "{}.tif", 20, classes="SCL.tif")
    store = pool(tmp_path / "in")
    assert tiles_and_dates(store) == {(tile.name, tile.name, "2021-06-13")}
    assert len(store) == 4
    assert {chip.cloud for chip in store.chips(np.arange(4)) or []} == {0.0, 1.0}


def test_a_folder_whose_name_tells_nothing_has_its_bands_name(tmp_path: Path) -> None:
    """As the folders of bands of two products do, IMG_DATA."""
    for tile, left in (("T34VER", 0.0), ("T34VES", 5000.0)):
        product = write_product(tmp_path / tile, tile=tile, side=4 * SIDE, date="20210613", left=left)
        images = next(product.rglob("IMG_DATA"))
        (tmp_path / "in" / tile).mkdir(parents=True)
        for folder in images.iterdir():
            folder.rename(tmp_path / "in" / tile / folder.name)
    found = tiles_and_dates(pool(tmp_path / "in"))
    assert found == {(f"{tile}_20210613T101031", tile, "2021-06-13") for tile in ("T34VER", "T34VES")}


def test_links_and_hidden_files_make_no_second_scene(tmp_path: Path) -> None:
    product = write_product(tmp_path / "in", side=4 * SIDE)
    for path in list(product.rglob("*.jp2")):
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7")
    (tmp_path / "in" / ".trash").mkdir()
    (tmp_path / "in" / "circle").symlink_to(tmp_path / "in")
    (tmp_path / "link").symlink_to(tmp_path / "in")
    assert find_scenes(tmp_path / "in") == [product]
    assert len(find_scenes(tmp_path)) == 1
    assert len(pool(tmp_path / "in")) == 16


def test_a_stack_of_hls_has_the_date_and_tile_of_its_name(tmp_path: Path) -> None:
    name = "HLS.L30.T13REN.2018013T172747.v2.0.B02.B03.B04_cropped"
    (tmp_path / "in").mkdir()
    write_scene(
        tmp_path / "in" / f"{name}.tif", np.arange(SIDE * 4 * SIDE * 3, dtype=np.int16).reshape(SIDE, 4 * SIDE, 3)
    )
    assert tiles_and_dates(pool(tmp_path / "in", pixels="percentiles")) == {(name, "T13REN", "2018-01-13")}
