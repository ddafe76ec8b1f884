"""Scenes as people have them: what can't be one pool is refused in a line, and nothing is guessed in silence."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.transform import from_origin
from support.products import write_product
from support.scenes import Pixels, write_jp2, write_scene

from sweep.console.dataset_tables import notes, summary
from sweep.maps.scene_names import dates_in
from sweep.maps.scene_source import read_scenes
from trainables.data.preparing.prepare import prepare
from trainables.data.store import ImageStore
from trainables.errors import BadInputError

SIDE = 48


def pool(source: Path, name: str = "pool", **options: Any) -> ImageStore:
    root = source.parent / "stores"
    settings: dict[str, Any] = {"chip_size": 24, "splits": "random", "pixels": "none"} | options
    prepare("scenes", source=source, root=root, store_name=name, reader=read_scenes, **settings)
    return ImageStore.open(name, root)


def values(bands: int = 3, seed: int = 0, low: int = 1) -> Pixels:
    return np.random.default_rng(seed).integers(low, 3000, (SIDE, SIDE, bands)).astype(np.uint16)


def scene(folder: Path, name: str = "scene_20230613.tif", bands: int = 3, **more: Any) -> Path:
    folder.mkdir(exist_ok=True)
    return write_scene(folder / name, values(bands), **more)


def described(path: Path, *names: str) -> None:
    with rasterio.open(path, "r+") as file:
        file.descriptions = names


def floats(folder: Path) -> None:
    folder.mkdir()
    write_scene(folder / "scene.tif", values().astype(np.float32))


def palette(folder: Path) -> None:
    folder.mkdir()
    path = write_scene(folder / "classes.tif", values(1).astype(np.uint8))
    with rasterio.open(path, "r+") as file:
        file.write_colormap(1, {0: (255, 0, 0, 255)})


def control_points(folder: Path) -> None:
    points = [GroundControlPoint(row, row, 24.0 + row, 60.0) for row in (0, SIDE)]
    folder.mkdir()
    shape = {"height": SIDE, "width": SIDE, "count": 3, "dtype": "uint16"}
    with rasterio.open(folder / "scene.tif", "w", driver="GTiff", gcps=points, crs="EPSG:4326", **shape) as file:
        file.write(np.moveaxis(values(), -1, 0))


def single_bands(folder: Path) -> None:
    for name in ("blue", "green", "nir"):
        scene(folder, f"{name}.tif", bands=1)


def assets(folder: Path) -> None:
    for name in ("blue", "green", "red", "nir08"):
        scene(folder, f"{name}.tif", bands=1)
    write_scene(folder / "scl.tif", np.full((SIDE // 2, SIDE // 2, 1), 4, np.uint8))


def stack_of_landsat(folder: Path) -> None:
    described(scene(folder, "LC08_188018_20230613.tif"), "B3", "B4", "B5")


def landsat_tiles(folder: Path) -> None:
    for name in ("SR_B2", "ST_B10"):
        scene(folder, f"LC08_CU_010010_20230613_20230622_02_{name}.TIF", bands=1)


def first_hls(folder: Path) -> None:
    scene(folder, "HLS.S30.T34VER.2017164T101032.v1.5.B04.tif", bands=1)


def lonely_mask(folder: Path) -> None:
    scene(folder, "HLS.S30.T34VER.2017164T101032.v2.0.Fmask.tif", bands=1)


def lonely_classes(folder: Path) -> None:
    scene(folder, "T34VER_20210613T101031_SCL_20m.tif", bands=1)


def bands_beside_a_product(folder: Path) -> None:
    write_product(folder, side=SIDE)
    scene(folder, "x_B04.tif", bands=1)


def two_levels(folder: Path) -> None:
    write_product(folder, side=SIDE)
    write_product(folder, side=SIDE, date="20230813", level="L1C")


def without_a_band(folder: Path) -> None:
    next(write_product(folder, side=SIDE).rglob("*_B04_10m.jp2")).unlink()


def landsat(folder: Path) -> None:
    for name in ("B2", "B3", "B10"):
        scene(folder, f"LC08_L1TP_188018_20230613_20230622_02_T1_{name}.TIF", bands=1)


def mask_beside(folder: Path) -> None:
    scene(folder, "20230613_3B_AnalyticMS_SR.tif", bands=4)
    write_scene(folder / "20230613_3B_udm2.tif", np.ones((SIDE, SIDE, 8), np.uint8))


def other_names(folder: Path) -> None:
    described(scene(folder, "a.tif"), "blue", "green", "red")
    described(scene(folder, "b.tif"), "green", "red", "nir")


def same_name(folder: Path) -> None:
    folder.mkdir()
    scene(folder / "x", "scene.tif")
    scene(folder / "y", "scene.tif")


def without_metadata(folder: Path) -> None:
    (write_product(folder, side=SIDE) / "MTD_MSIL2A.xml").unlink()


def cut_metadata(folder: Path) -> None:
    metadata = write_product(folder, side=SIDE) / "MTD_MSIL2A.xml"
    metadata.write_text(metadata.read_text()[:180])


def archive(folder: Path) -> None:
    folder.mkdir()
    (folder / "S2A_MSIL2A_20230613T101031.zip").write_bytes(b"PK")


def too_small(folder: Path) -> None:
    folder.mkdir()
    write_scene(folder / "scene.tif", values()[:20])


REFUSED: list[tuple[Callable[[Path], Any], str]] = [
    (floats, r"scene.tif: the scale of its float32 values is unknown; .* --pixels none with --value-range LOW,HIGH"),
    (palette, r"classes.tif: has a palette, so its values are numbers of colours or classes"),
    (control_points, r"scene.tif: is placed by ground control points or RPCs, .* gdalwarp"),
    (single_bands, r"blue.tif: has one band, and green.tif shows the same ground at the same date"),
    (assets, r"red.tif: is named as a band of any sensor in a STAC catalogue; name the files by .*B02.tif"),
    (
        stack_of_landsat,
        r"is of Landsat by its name, and describes its bands as B03, B04, B05, .*; describe them as coas",
    ),
    (landsat_tiles, r"LC08_CU.*SR_B2.TIF: is a file of Landsat, of which the surface reflectance is read"),
    (first_hls, r"v1.5.B04.tif: is a file of HLS, of which the surface reflectance is read .*HLS.*.v2.0.B02.tif"),
    (lonely_mask, r"Fmask.tif: is the mask of a scene whose bands aren't here; fetch them, or remove it"),
    (
        two_levels,
        r"in: has scenes of several kinds, .*: Sentinel-2 level 1C: 1 .*, Sentinel-2 level 2A: 1 .*; put each",
    ),
    (without_a_band, r".SAFE: has no file of B04; it has B01, B02, B03, B05, B08, B11; fetch it again, or take bands"),
    (landsat, r"L1TP.*_B10.TIF: is a file of Landsat, of which the surface reflectance is read"),
    (mask_beside, r"udm2.tif: has 8 bands of uint8, and .*AnalyticMS_SR.tif 4 bands of uint16"),
    (other_names, r"b.tif: has the bands green, red, nir, and .*a.tif has the bands blue, green, red"),
    (same_name, r"y/scene.tif: has the same name as .*x/scene.tif"),
    (without_metadata, r"baseline 05.09 by its name, but its metadata .* lacks the offsets"),
    (cut_metadata, r".SAFE: its metadata lacks the offset of B04, and has others; fetch it again"),
    (archive, r"no scene: .*; it holds archives, which must be unpacked first: 1 \(S2A_MSIL2A_20230613T101031.zip\)"),
    (too_small, r"no scene holds a whole chip of 24 pixels on its grid \(the largest scene has 48 x 20\)"),
]


def test_each_granule_of_an_old_product_is_a_scene_of_its_day(tmp_path: Path) -> None:
    name = "S2A_OPER_PRD_MSIL1C_PDMC_20170315T223306_R008_V20160315T101002_20160315T101002.SAFE"
    for tile in ("T34VER", "T34VFR"):
        granule = f"S2A_OPER_MSI_L1C_TL_SGS__20170301T153821_A003810_{tile}_N02.01"
        for band in ("B02", "B03", "B04"):
            path = tmp_path / "in" / name / "GRANULE" / granule / "IMG_DATA" / f"{granule}_{band}.jp2"
            write_jp2(path, values(1)[..., 0])
    chips = pool(tmp_path / "in", splits="random").chips(np.arange(4)) or []
    assert {chip.date for chip in chips} == {"2016-03-15"}
    assert len(pool(tmp_path / "in" / name / "GRANULE" / granule, "one")) == 4


@pytest.mark.parametrize(("write", "message"), REFUSED, ids=[write.__name__ for write, _ in REFUSED])
def test_what_is_no_pool_is_refused_in_one_line(write: Callable[[Path], Any], message: str, tmp_path: Path) -> None:
    write(tmp_path / "in")
    with pytest.raises(BadInputError, match=message):
        pool(tmp_path / "in")


def test_a_scale_is_never_guessed(tmp_path: Path) -> None:
    path = scene(tmp_path / "in")
    with pytest.raises(BadInputError, match=r"the scale of its values is unknown, .* add --pixels none"):
        pool(tmp_path / "in", pixels=None)
    described(path, "B4", "B3", "B2")
    assert (
        pool(tmp_path / "in", pixels=None).info.options["pixels"]
        == "thesis: clip(value / 2000 * 255, 0, 255), truncated"
    )
    product = write_product(tmp_path / "products", side=SIDE)
    with pytest.raises(BadInputError, match=rf"offset -1000 in the metadata of {product.stem} is added already"):
        pool(tmp_path / "products", "twice", pixels="reflectance", reflectance=(10_000.0, -1000.0))


def test_bands_are_those_that_files_describe_in_whatever_order(tmp_path: Path) -> None:
    first = values(4)
    (tmp_path / "in").mkdir()
    described(write_scene(tmp_path / "in" / "a_20230613.tif", first), "B2", "B3", "B4", "B8")
    described(write_scene(tmp_path / "in" / "b_20230713.tif", first[..., ::-1]), "B08", "B04", "B03", "B02")
    store = pool(tmp_path / "in")
    assert [band.name for band in store.info.bands] == ["B02", "B03", "B04", "B08"]
    names = store.names(np.arange(len(store)))
    images = dict(zip(names, store.images(np.arange(len(store))), strict=True))
    for name in names:
        if name.startswith("a_"):
            np.testing.assert_array_equal(images[name], images[name.replace("a_20230613", "b_20230713")])


def test_an_archive_is_to_be_unpacked(tmp_path: Path) -> None:
    archive(tmp_path / "in")
    with pytest.raises(BadInputError, match=r"S2A_MSIL2A_20230613T101031.zip: is an archive; unpack it first$"):
        pool(tmp_path / "in" / "S2A_MSIL2A_20230613T101031.zip")


def test_all_bands_of_geotiffs_are_those_that_they_have(tmp_path: Path) -> None:
    described(scene(tmp_path / "in", "a_20230613.tif", 4), "B08", "B04", "B03", "B02")
    store = pool(tmp_path / "in", bands=("all",))
    assert [band.name for band in store.info.bands] == ["B02", "B03", "B04", "B08"]
    described(tmp_path / "in" / "a_20230613.tif", "vv", "vh", "dem", "slope")
    assert [band.name for band in pool(tmp_path / "in", "other", bands=("all",)).info.bands][:2] == ["vv", "vh"]
    described(tmp_path / "in" / "a_20230613.tif", "", "", "", "")
    assert pool(tmp_path / "in", "unnamed", bands=("all",)).info.channels == 4
    cells = [[str(cell) for cell in column.cells] for column in summary(store.info, store.path.parent).columns]
    assert dict(zip(*cells, strict=True))["made with bands"] == "all"


def test_a_band_that_is_0_is_no_nodata_while_others_have_values(tmp_path: Path) -> None:
    dark = values()
    dark[10, 10, 0] = 0
    dark[40, 40] = 0
    (tmp_path / "in").mkdir()
    write_scene(tmp_path / "in" / "scene_20230613.tif", dark, nodata=0)
    assert len(pool(tmp_path / "in")) == 3


def test_black_pixels_without_a_nodata_value_are_said_and_can_be_nodata(tmp_path: Path) -> None:
    dark = values()
    dark[:5, :30] = 0
    (tmp_path / "in").mkdir()
    write_scene(tmp_path / "in" / "scene_20230613.tif", dark)
    store = pool(tmp_path / "in")
    assert [note for note in store.info.notes if note.startswith("2 images: pixels that are 0 in all bands")]
    assert len(pool(tmp_path / "in", "clear", chip_size=16, nodata=0)) == 7


def test_what_a_pool_lacks_or_leaves_unread_is_noted(tmp_path: Path) -> None:
    path = scene(tmp_path / "in", crs=CRS.from_wkt('LOCAL_CS["site grid",UNIT["metre",1]]'))
    with rasterio.open(path, "r+") as file:
        file.scales = (1e-4,) * 3
    (tmp_path / "in" / "mosaic.vrt").write_text("<VRTDataset/>")
    notes = "\n".join(pool(tmp_path / "in").info.notes)
    assert "local grid, without longitude and latitude: 1 (scene_20230613)" in notes
    assert "a scale or offset of their values, which isn't applied: 1" in notes
    assert "files of other formats, which must be converted to GeoTIFF: 1 (mosaic.vrt)" in notes


def test_band_files_taken_out_of_their_product_say_that_no_offset_is_added(tmp_path: Path) -> None:
    for band in ("B02", "B03", "B04"):
        write_jp2(tmp_path / "in" / "T34VER_20230613" / f"T34VER_{band}_10m.jp2", values(1)[..., 0])
    notes = "\n".join(pool(tmp_path / "in").info.notes)
    assert "without product metadata, to whose values no offset is added (-1000 since 2022, also of older" in notes
    product = write_product(tmp_path / "products", side=SIDE)
    granule = next((product / "GRANULE").iterdir())
    assert "-1000 added" in pool(granule).info.decisions["offset"]


def test_the_date_is_the_day_of_the_image_and_not_of_its_processing(tmp_path: Path) -> None:
    name = "S2A_OPER_PRD_MSIL1C_PDMC_20170315T223306_R008_V20160315T101002_20160315T101002.SAFE"
    for band in ("B02", "B03", "B04"):
        write_jp2(tmp_path / "in" / name / "GRANULE" / "L1C" / f"S2A_T34VER_{band}.jp2", values(1)[..., 0])
    store = pool(tmp_path / "in")
    assert {chip.date for chip in store.chips(np.arange(len(store))) or []} == {"2016-03-15"}


@pytest.mark.parametrize(
    ("name", "dates"),
    [
        ("scene_2023-06-13", ["2023-06-13"]),
        ("20230613T101031", ["2023-06-13"]),
        ("20230613101031", ["2023-06-13"]),
        ("mosaic_20230601_20230630", ["2023-06-01", "2023-06-30"]),
        ("2023-02-31_v2", []),
        ("chip_2048_10_12", []),
        ("13.06.2023", []),
        ("2023164", []),
        ("202306", []),
    ],
)
def test_a_date_in_a_name_is_a_day_of_a_year_and_nothing_that_may_be_a_position(name: str, dates: list[str]) -> None:
    assert dates_in(name) == dates


def test_names_without_a_date_or_with_several_are_said(tmp_path: Path) -> None:
    scene(tmp_path / "in", "mosaic_20230601_20230630.tif")
    scene(tmp_path / "in", "13.06.2023.tif", transform=from_origin(600_000.0, 7_000_000.0, 10.0, 10.0))
    store = pool(tmp_path / "in")
    notes = "\n".join(store.info.notes)
    assert "several dates in their name, of which the first is taken: 1 (mosaic_20230601_20230630)" in notes
    assert "without a date in their name (20230613 or 2023-06-13): 1 (13.06.2023)" in notes
    assert {chip.date for chip in store.chips(np.arange(len(store))) or []} == {"2023-06-01", ""}


def test_coarse_scenes_keep_their_resolution_and_places_of_other_sizes_their_chips(tmp_path: Path) -> None:
    scene(tmp_path / "in", "a_20230613.tif")
    scene(tmp_path / "in", "b_20230613.tif", transform=from_origin(500_000.0, 7_000_000.0, 30.0, 30.0))
    store = pool(tmp_path / "in")
    assert len(store) == 8
    assert store.info.decisions["pixel sizes"].startswith("10 m (a_20230613), 30 m (b_20230613)")
    (tmp_path / "in" / "a_20230613.tif").unlink()
    described(tmp_path / "in" / "b_20230613.tif", "B04", "B03", "B02")
    coarse = pool(tmp_path / "in", "coarse")
    assert [band.resolution for band in coarse.info.bands] == [30.0] * 3


def test_a_cut_scene_is_left_out_with_one_line_for_all_of_its_chips(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    scene(folder, "a_20230613.tif")
    path = scene(folder, "b_20230713.tif", blockysize=1)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    told = notes(pool(folder, skip_corrupt=True).info)
    assert [line for line in told if "b_20230713.tif" in line and line.endswith("; fetch it again (4 images)")]
