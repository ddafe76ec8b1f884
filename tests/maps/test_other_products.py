"""Folders of HLS and Landsat: bands by their files' names, dates, scales, and masks of clouds."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin
from support.scenes import Pixels, write_band, write_model, write_scene

from sweep.maps.open_scene import open_scene
from sweep.maps.scene_source import read_scenes
from sweep.predict import main as predict
from trainables.data.bands import COLOURS
from trainables.data.class_names import RGB_BANDS
from trainables.data.preparing.pixel_recipe import PixelRecipe
from trainables.data.preparing.prepare import prepare
from trainables.data.store import ImageStore
from trainables.errors import BadInputError

SIDE = 24
S30 = "HLS.S30.T34VER.2017164T101032.v2.0"
L30 = "HLS.L30.T34VER.2017165T101032.v2.0"
LANDSAT = "LC08_L2SP_188018_20230613_20230622_02_T1"
OLD = "LE07_L2SP_188018_20030613_20200622_02_T1"
AS_LANDSAT = {"pixels": "reflectance", "reflectance": (36_363.6364, -7272.72727)}


def pool(folder: Path, name: str = "pool", **options: Any) -> ImageStore:
    root = folder.parent / "stores"
    settings: dict[str, Any] = {"chip_size": SIDE, "splits": "random"} | options
    prepare("scenes", source=folder, root=root, store_name=name, reader=read_scenes, **settings)
    return ImageStore.open(name, root)


def numbers(seed: int, low: int, high: int) -> Pixels:
    return np.random.default_rng(seed).integers(low, high, (SIDE, 4 * SIDE))


def write(folder: Path, scene: str, form: str, bands: list[str], mask: tuple[str, Pixels], dtype: str) -> Path:
    """Write a scene's band files with other files of its kind that aren't bands."""
    for number, band in enumerate([*bands, "ST_B10" if "L2SP" in scene else "SZA"]):
        low, high = (8000, 20_000) if dtype == "uint16" else (-50, 4000)
        write_30_m(folder / form.format(scene, band), numbers(number, low, high).astype(dtype))
    write_30_m(folder / form.format(scene, mask[0]), mask[1])
    return folder


def write_30_m(path: Path, values: Pixels) -> None:
    """Write a band whose corner is that of a chip of 24 pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_scene(path, values[..., None], transform=from_origin(720.0 * 700, 720.0 * 9700, 30.0, 30.0))


def hls(folder: Path, scene: str = S30, bands: tuple[str, ...] = ("B02", "B03", "B04", "B8A")) -> Path:
    mask = np.zeros((SIDE, 4 * SIDE), np.uint8)
    mask[:12, :SIDE] = 0b10
    mask[:, SIDE : SIDE + 6] = 0b1000
    mask[:6, SIDE : 2 * SIDE] |= 0b10000
    mask[:, -6:] = 255
    return write(folder, scene, "{}.{}.tif", list(bands), ("Fmask", mask), "int16")


def landsat(folder: Path, scene: str = LANDSAT, bands: tuple[int, ...] = (2, 3, 4, 5)) -> Path:
    mask = np.full((SIDE, 4 * SIDE), 0b1000000, np.uint16)
    mask[:12, :SIDE] = 0b1000
    mask[:, SIDE : SIDE + 6] = 0b10000
    return write(folder, scene, "{}_{}.TIF", [f"SR_B{band}" for band in bands], ("QA_PIXEL", mask), "uint16")


def test_hls_of_sentinel_2_has_its_bands_date_tile_and_covers(tmp_path: Path) -> None:
    hls(tmp_path / "in" / "any name")
    with pytest.raises(BadInputError, match=r"--pixels reflectance --reflectance 10000,0 \(stated with the values"):
        pool(tmp_path / "in")
    store = pool(tmp_path / "in", bands=("all",), pixels="none", value_range=(-1000.0, 64_535.0))
    assert [band.name for band in store.info.bands] == ["B02", "B03", "B04", "B8A"]
    assert {(band.resolution, band.scale, round(band.offset, 9)) for band in store.info.bands} == {(30.0, 1e-4, -0.1)}
    chips = store.chips(np.arange(4)) or []
    assert {(chip.scene, chip.tile, chip.date) for chip in chips} == {(S30, "T34VER", "2017-06-13")}
    assert [(chip.cloud, chip.shadow, chip.snow, chip.nodata) for chip in chips[:2]] == [
        (0.5, 0.0, 0.0, 0.0),
        (0.0, 0.25, 0.25, 0.0),
    ]
    assert chips[3].cloud == chips[3].snow == 0.0  # 255 is fill, and not all bits
    image = store.images([0])[0].numpy()
    np.testing.assert_array_equal(image[..., 2], numbers(2, -50, 4000)[:, :SIDE] + 1000)
    assert len(pool(tmp_path / "in", "clear", max_cloud=0.2, pixels="percentiles")) == 3


@pytest.mark.parametrize(
    ("scene", "form", "bands"),
    [(LANDSAT, "SR_B{}", (2, 3, 4, 5)), (OLD, "SR_B{}", (1, 2, 3, 4)), (L30, "B0{}", (2, 3, 4, 5))],
)
def test_landsats_bands_have_names_of_their_spectrum(
    scene: str, form: str, bands: tuple[int, ...], tmp_path: Path
) -> None:
    if scene == L30:
        hls(tmp_path / "in", scene, tuple(form.format(band) for band in bands))
    else:
        landsat(tmp_path / "in", scene, bands)
    store = pool(tmp_path / "in", "all", bands=("all",), pixels="percentiles")
    assert [band.name for band in store.info.bands] == ["blue", "green", "red", "nir"]
    assert [band.name for band in pool(tmp_path / "in", pixels="percentiles").info.bands] == ["red", "green", "blue"]
    with pytest.raises(BadInputError, match=r"has no file of B04; it has blue, green, red, nir"):
        pool(tmp_path / "in", "wrong", bands=("B04",), pixels="percentiles")
    assert (store.chips([0]) or [])[0].cloud == 0.5


def test_landsats_scale_is_named_and_makes_its_reflectance(tmp_path: Path) -> None:
    landsat(tmp_path / "in")
    with pytest.raises(BadInputError, match=r"add .* --pixels reflectance --reflectance 36363.6364,-7272.72727 "):
        pool(tmp_path / "in")
    store = pool(tmp_path / "in", **AS_LANDSAT)
    notes = "\n".join(store.info.notes)
    assert "several dates" not in notes
    assert "isn't applied" not in notes
    doubled = pool(tmp_path / "in", "doubled", pixels="reflectance", reflectance=(20_000.0, 0.0))
    assert [note for note in doubled.info.notes if "scale or offset of their values, which isn't applied: 1" in note]
    assert "no offset is added" not in notes
    wanted = np.clip(2.75e-5 * numbers(2, 8000, 20_000)[:, :SIDE] - 0.2, 0.0, 1.0)
    np.testing.assert_allclose(store.images([0])[0].numpy()[..., 0] / 65535, wanted, atol=1e-5)
    assert {chip.date for chip in store.chips(np.arange(4)) or []} == {"2023-06-13"}


def test_scenes_of_two_sensors_are_refused_by_their_names(tmp_path: Path) -> None:
    hls(tmp_path / "in" / "a")
    landsat(tmp_path / "in" / "b")
    words = (
        rf"in: has scenes of several kinds, whose values differ: HLS: 1 \({S30}\), Landsat: 1 \({LANDSAT}\); put each"
    )
    with pytest.raises(BadInputError, match=words):
        pool(tmp_path / "in", pixels="percentiles")


@pytest.mark.parametrize("write", [hls, landsat])
def test_a_folder_of_many_scenes_is_read_scene_by_scene(write: Callable[..., Path], tmp_path: Path) -> None:
    """As downloads put them: beside each other, with other files; adding a scene changes no other scene's chips."""
    first, other = (S30, S30.replace("2017164", "2017174")) if write is hls else (LANDSAT, OLD)
    bands = {} if write is hls else {"bands": (1, 2, 3, 4)}
    write(tmp_path / "in", first)
    alone = pool(tmp_path / "in", "alone", pixels="percentiles", value_range=None)
    write(tmp_path / "in", other, **bands)
    (tmp_path / "in" / f"._{first}.B04.tif").write_bytes(b"AppleDouble")
    store = pool(tmp_path / "in", pixels="percentiles")
    found = {chip.scene: (chip.date, chip.tile) for chip in store.chips(np.arange(8)) or []}
    dates = ("2017-06-13", "2017-06-23") if write is hls else ("2023-06-13", "2003-06-13")
    assert [found[name][0] for name in (first, other)] == list(dates)
    assert set(alone.names(np.arange(4))) < set(store.names(np.arange(8)))
    with pytest.raises(BadInputError, match=rf"contains several scenes .*; give one \(.*in/{first}\)"):
        list(open_all(tmp_path / "in"))
    assert len(list(open_all(tmp_path / "in" / first))) == 1


def open_all(scene: Path) -> Iterator[Any]:
    with open_scene(scene, ("B04",) if "HLS" in str(list(scene.parent.rglob("*"))) else ("red",), 1) as found:
        yield found


def test_both_parts_of_hls_share_the_bands_that_hls_makes_alike(tmp_path: Path) -> None:
    """Bands of the two, which the old code read as those of one scene, are told apart and named by their spectrum."""
    hls(tmp_path / "in", S30, ("B02", "B03", "B04", "B05", "B8A", "B11"))
    hls(tmp_path / "in", L30, ("B02", "B03", "B04", "B05", "B06", "B10"))
    store = pool(tmp_path / "in", bands=("all",), pixels="none", value_range=(-1000.0, 64_535.0))
    bands = {"blue": 482.0, "green": 561.4, "red": 654.6, "nir": 864.7, "swir1": 1608.9}
    assert {band.name: band.wavelength for band in store.info.bands} == bands
    rows = {name: row for row, name in enumerate(store.names(np.arange(8)))}
    for scene, places in ((S30, (0, 1, 2, 4, 5)), (L30, (0, 1, 2, 3, 4))):
        image = store.images([rows[f"{scene}/00000_00000"]])[0].numpy().astype(int) - 1000
        for channel, place in enumerate(places):
            np.testing.assert_array_equal(image[..., channel], numbers(place, -50, 4000)[:, :SIDE])
    assert [band.name for band in pool(tmp_path / "in", "rgb", pixels="percentiles").info.bands] == list(COLOURS)
    of_one = pool(tmp_path / "in" / S30, "one", bands=("nir", "red"), pixels="percentiles")
    assert [band.described() for band in of_one.info.bands] == ["nir (864.7 nm, 30 m)", "red (654.6 nm, 30 m)"]


@pytest.mark.parametrize(
    ("scenes", "wavelengths"),
    [
        ((LANDSAT,), (654.6, 864.7)),
        ((OLD,), (660.0, 835.0)),
        ((OLD.replace("LE07", "LT05"),), (660.0, 830.0)),
        ((LANDSAT, OLD), (657.3, 849.9)),
    ],
)
def test_landsats_bands_have_their_instruments_wavelengths(
    scenes: tuple[str, ...], wavelengths: tuple[float | None, ...], tmp_path: Path
) -> None:
    for scene in scenes:
        landsat(tmp_path / "in", scene, (2, 3, 4, 5) if scene == LANDSAT else (1, 2, 3, 4))
    bands = pool(tmp_path / "in", bands=("red", "nir"), pixels="percentiles").info.bands
    assert tuple(band.wavelength for band in bands) == wavelengths
    assert {band.resolution for band in bands} == {30.0}


def test_landsats_dates_of_a_place_are_one_place_though_their_corners_differ(tmp_path: Path) -> None:
    """Corners of Landsat's scenes are pixels' centres at multiples of 300 m, another from date to date."""
    values = np.random.default_rng(0).integers(8000, 20_000, (80, 130)).astype(np.uint16)
    for date, left, top in (("20230613", 0, 0), ("20230629", 20, 10)):
        for band in (2, 3, 4):
            path = tmp_path / "in" / f"{LANDSAT.replace('20230613', date)}_SR_B{band}.TIF"
            path.parent.mkdir(exist_ok=True)
            place = from_origin(499_785.0 + 30 * left, 6_900_015.0 - 30 * top, 30.0, 30.0)
            write_scene(path, values[top:, left:, None], transform=place)
    store = pool(tmp_path / "in", pixels="none")
    chips, images = store.chips(np.arange(len(store))) or [], store.images(range(len(store))).numpy()
    places: dict[str, list[int]] = {}
    for row, chip in enumerate(chips):
        places.setdefault(chip.place, []).append(row)
        assert (chip.transform[2] - 15) % (30 * SIDE) == (chip.transform[5] + 15) % (30 * SIDE) == 0
    pairs = [rows for rows in places.values() if len(rows) == 2]
    assert len(pairs) == len(chips) - len(places) > 3
    for first, second in pairs:
        np.testing.assert_array_equal(images[first], images[second])


def test_a_landsat_scene_without_a_whole_chip_of_the_shared_grid_is_counted_as_such(tmp_path: Path) -> None:
    def write_landsat(date: str, side: int) -> None:
        for band in (2, 3, 4):
            path = tmp_path / "in" / f"{LANDSAT.replace('20230613', date)}_SR_B{band}.TIF"
            path.parent.mkdir(exist_ok=True)
            place = from_origin(720.0 * 700 + 10 * 30.0, 720.0 * 9700, 30.0, 30.0)
            write_scene(path, np.full((side, side, 1), 9000, np.uint16), transform=place)

    write_landsat("20230613", SIDE + 6)
    words = r"no scene holds a whole chip of 24 pixels on its grid \(the largest scene has 30 x 30\); choose a smaller"
    with pytest.raises(BadInputError, match=words):
        pool(tmp_path / "in", pixels="none")
    write_landsat("20230629", 3 * SIDE)
    notes = pool(tmp_path / "in", pixels="none").info.notes
    assert [note for note in notes if note.startswith("scenes without a whole chip on their grid, left out: 1 (LC08_")]


def test_fill_is_known_of_files_that_lost_the_statement_of_it(tmp_path: Path) -> None:
    """Of one scene among others, given by its name."""
    hls(tmp_path / "in")
    hls(tmp_path / "in", S30.replace("2017164", "2017174"))
    with rasterio.open(tmp_path / "in" / f"{S30}.B04.tif", "r+") as file:
        file.write(np.full((1, SIDE, SIDE), -9999, np.int16), window=((0, SIDE), (0, SIDE)))
    store = pool(tmp_path / "in" / S30, pixels="percentiles")
    assert len(store) == 3
    assert store.info.decisions["left out"] == "1 chips with more than 0% nodata"


def test_a_band_that_one_scene_lacks_is_named_with_those_that_all_have(tmp_path: Path) -> None:
    landsat(tmp_path / "in", LANDSAT, (1, 2, 3, 4))
    landsat(tmp_path / "in", OLD, (1, 2, 3, 4))
    with pytest.raises(BadInputError, match=rf"{LANDSAT}: has no file of nir, .* --bands blue,green,red$"):
        pool(tmp_path / "in", bands=("all",), pixels="percentiles")


def test_a_map_of_landsat_leaves_out_its_clouds(mapped: Callable[..., Any], tmp_path: Path) -> None:
    landsat(tmp_path / "in")
    recipe = PixelRecipe.of(pool(tmp_path / "in", pixels="percentiles").info)
    assert recipe.bands == ("red", "green", "blue")
    found, _, facts = mapped(tmp_path / "in", by=write_model(tmp_path / "own", input=recipe.written()))
    assert (found[:12, :SIDE] == 255).all()
    assert (found[12:, :SIDE] != 255).all()
    assert facts["scl"] == pytest.approx({"cloud": 1 / 8, "shadow": 1 / 16, "snow": 0.0, "nodata": 0.0})


def test_a_map_is_of_values_of_the_models_scale(model: Path, tmp_path: Path) -> None:
    landsat(tmp_path / "in")
    reflectance = {"bands": ["red", "green", "blue"], "pixels": "reflectance", "ranges": [], "metres": 30.0}
    for stated, words in (
        ("36363.6364,-7272.72727", ""),
        ("10000.0,0.0", r"2.75e-05 \* value -0.2, .* set 0.0001 \* value; give"),
    ):
        own = write_model(tmp_path / stated, dtype="uint16", input=reflectance | {"reflectance": stated})
        if not words:
            predict(own, tmp_path / "in" / LANDSAT, tmp_path / "map.tif")
            continue
        with pytest.raises(BadInputError, match=words):
            predict(own, tmp_path / "in", tmp_path / "other.tif")
    for band in ("B02", "B03", "B04"):
        write_band(tmp_path / "T34VER_20230613" / f"{band}.tif", numbers(1, 1000, 3000).astype(np.uint16))
    with pytest.raises(BadInputError, match=r"offset of 1000 since 2022-01-25, .* add --offset -1000, or 0 if it was"):
        predict(model, tmp_path / "T34VER_20230613", tmp_path / "new.tif")
    predict(model, tmp_path / "T34VER_20230613", tmp_path / "new.tif", offset=-1000)


@pytest.mark.parametrize("rule", ["thesis", "percentiles"])
def test_a_map_of_landsat_isnt_made_by_a_model_of_hls(rule: str, mapped: Callable[..., Any], tmp_path: Path) -> None:
    hls(tmp_path / "hls", L30)
    landsat(tmp_path / "landsat")
    models = {}
    for folder in ("hls", "landsat"):
        info = pool(tmp_path / folder, folder, pixels=rule).info
        bands = [band.model_dump(exclude_defaults=True) for band in info.channel_bands]
        models[folder] = write_model(tmp_path / f"of {folder}", input=PixelRecipe.of(info).written(), bands=bands)
        mapped(tmp_path / folder, by=models[folder], overwrite=True)
    words = (
        r"landsat: its reflectance is 2.75e-05 \* value -0.2, and that of the model's data set 0.0001 \* value; give"
    )
    with pytest.raises(BadInputError, match=words):
        mapped(tmp_path / "landsat", by=models["hls"])
    mapped(tmp_path / "landsat", by=models["hls"], scale=20_000.0, overwrite=True)
    with pytest.raises(
        BadInputError, match=r"hls: its reflectance is 0.0001 \* value, .* 2.75e-05 \* value -0.2; give"
    ):
        mapped(tmp_path / "hls", by=models["landsat"])


def test_a_map_of_bands_without_date_and_metadata_says_that_no_offset_is_removed(
    mapped: Callable[..., Any], tmp_path: Path
) -> None:
    for folder in ("undated", "T34VER_20170613"):
        for band in RGB_BANDS:
            write_band(tmp_path / folder / f"{band}.tif", np.full((SIDE, SIDE), 1000, np.uint16))
    said = "neither metadata nor a date tells whether Sentinel-2's offset"
    for folder, options, notes in (("undated", {}, 1), ("undated", {"offset": 0}, 0), ("T34VER_20170613", {}, 0)):
        _, _, facts = mapped(tmp_path / folder, overwrite=True, **options)
        assert sum(note.startswith(said) for note in facts["notes"]) == notes


def test_a_stated_offset_stands_in_place_of_the_models(mapped: Callable[..., Any], tmp_path: Path) -> None:
    own = {"bands": list(RGB_BANDS), "pixels": "reflectance", "ranges": [], "metres": 10.0}
    model = write_model(tmp_path / "own", dtype="uint16", input=own | {"reflectance": "10000.0,-1000.0"})
    raw, removed, old = (tmp_path / name for name in ("T34VER_20230613", "T34VES_20230613", "T34VER_20170613.SAFE"))
    for folder, value in ((raw, 3000), (removed, 2000), (old, 2000)):
        for band in RGB_BANDS:
            write_band(folder / f"{band}.tif", np.full((SIDE, SIDE), value, np.uint16))
    (old / "MTD_MSIL2A.xml").write_text("<a>without offsets, before baseline 04.00</a>")
    stack = write_scene(tmp_path / "stack.tif", np.full((SIDE, SIDE, 3), 2000, np.uint16))
    for scene, options in ((raw, {"offset": -1000}), (removed, {"offset": 0}), (old, {}), (stack, {"offset": 0})):
        found, _, _ = mapped(scene, by=model, overwrite=True, **options)
        assert found == pytest.approx(0.2, abs=1e-3), scene
