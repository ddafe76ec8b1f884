"""Scenes of signed and floating-point values: chips and maps by the stated rule, and missing values."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from support.scenes import Pixels, write_band, write_model, write_scene

from sweep.deployment.exported_model import DeployedModel
from sweep.maps.map_classes import STEPS
from sweep.maps.open_scene import open_scene
from sweep.maps.scene_source import read_scenes
from trainables.data.preparing.pixel_recipe import PixelRecipe
from trainables.data.preparing.prepare import prepare
from trainables.data.store import ImageStore
from trainables.errors import BadInputError

SIDE = 24
DIGITAL: dict[str, dict[str, Any]] = {
    "thesis": {"pixels": "thesis"},
    "reflectance": {"pixels": "reflectance", "reflectance": (10_000.0, 0.0)},
    "percentiles": {"pixels": "percentiles"},
}


def pool(folder: Path, name: str = "pool", **options: Any) -> ImageStore:
    root = folder.parent / "stores"
    settings: dict[str, Any] = {"chip_size": SIDE, "splits": "random"} | options
    prepare("scenes", source=folder, root=root, store_name=name, reader=read_scenes, **settings)
    return ImageStore.open(name, root)


def pixels(store: ImageStore) -> Pixels:
    return np.asarray(store.images(range(len(store))))


def values(width: int = 4 * SIDE, low: int = 1, high: int = 3000) -> Pixels:
    return np.random.default_rng(0).integers(low, high, (SIDE, width, 3))


def scene(folder: Path, own: Pixels, dtype: str, **more: Any) -> Path:
    folder.mkdir(exist_ok=True)
    return write_scene(folder / "scene_20230613.tif", own.astype(dtype), **more)


@pytest.mark.parametrize("dtype", ["int16", "int32", "uint32", "float32", "float64"])
@pytest.mark.parametrize("rule", DIGITAL)
def test_the_same_numbers_of_any_type_become_the_same_pixels(rule: str, dtype: str, tmp_path: Path) -> None:
    scene(tmp_path / "unsigned", values(), "uint16")
    scene(tmp_path / "other", values(), dtype, nodata=-9999 if dtype != "uint32" else None)
    wanted, found = (pool(tmp_path / name, name, **DIGITAL[rule]) for name in ("unsigned", "other"))
    np.testing.assert_array_equal(pixels(found), pixels(wanted))
    own, theirs = PixelRecipe.of(found.info), PixelRecipe.of(wanted.info)
    assert (own.ranges, own.rule, own.values, theirs.values) == (theirs.ranges, theirs.rule, dtype, "")
    assert [band.scale for band in found.info.bands] == [band.scale for band in wanted.info.bands]


@pytest.mark.parametrize(("dtype", "mark"), [("int16", -9999), ("float32", np.nan), ("float64", -1.7e308)])
def test_pixels_without_data_are_left_out_or_become_0(dtype: str, mark: float, tmp_path: Path) -> None:
    own = values().astype(dtype)
    own[3:9, 5, 1] = mark  # one band alone is enough
    own[:, SIDE : 2 * SIDE] = mark
    own[0, -1] = -25
    scene(tmp_path / "in", own, dtype, nodata=mark)
    assert len(pool(tmp_path / "in", "clear", **DIGITAL["reflectance"])) == 2
    store = pool(tmp_path / "in", max_nodata=0.5, **DIGITAL["reflectance"])
    chips = store.chips(np.arange(len(store))) or []
    assert [chip.nodata for chip in chips] == [6 / SIDE**2, 0.0, 0.0]
    assert (pixels(store)[0, 3:9, 5, 1] == 0).all()
    assert pixels(store)[0, 3, 5, 0] > 0
    assert f"3 values below 0 became 0, {3 / (3 * SIDE * SIDE * 3 - 36) * 100:.2g} % of all" in store.info.notes
    assert store.info.decisions["values"].startswith(f"{dtype}; pixels that are ")


def test_percentiles_are_of_pixels_with_data(tmp_path: Path) -> None:
    """A third of the kept pixels lack data; counted as 0, they would be the lower end."""
    own = values(low=1000)
    own[:8] = 0
    scene(tmp_path / "unsigned", own, "uint16", nodata=0)
    scene(tmp_path / "floats", np.where(own == 0, np.nan, own), "float32")
    for name in ("unsigned", "floats"):
        store = pool(tmp_path / name, name, pixels="percentiles", max_nodata=0.5)
        wanted = np.sort(own[8:].reshape(-1, 3), axis=0)
        for channel, (low, high) in enumerate(PixelRecipe.of(store.info).ranges):
            assert low == wanted[int(np.ceil(0.02 * len(wanted))) - 1, channel] >= 1000
            assert high == wanted[int(np.ceil(0.98 * len(wanted))) - 1, channel]


def test_a_range_states_what_becomes_0_and_65535(tmp_path: Path) -> None:
    decibels = np.linspace(-30.0, 5.0, SIDE * 4 * SIDE * 3).reshape(SIDE, 4 * SIDE, 3)
    scene(tmp_path / "in", decibels, "float64")
    store = pool(tmp_path / "in", pixels="none", value_range=(-25.0, 0.0))
    wanted = np.rint(np.clip((decibels.astype(np.float32).astype(float) + 25.0) / 25.0, 0, 1) * 65535)
    np.testing.assert_array_equal(pixels(store)[0], wanted[:, :SIDE])
    assert [note for note in store.info.notes if "values below -25 became 0, 14 % of all" in note]
    assert "values from -30 to 5 became 0 to 65535, of 0 to 65535" in store.info.notes


def test_odd_values_are_pointed_out(tmp_path: Path) -> None:
    own = values()
    own[2, 2] = -9999
    scene(tmp_path / "in", own, "int16")
    notes = "\n".join(pool(tmp_path / "in", **DIGITAL["reflectance"]).info.notes)
    assert "1 images: values of -9999, which the scenes don't call nodata; if they lack data, add --nodata=-9" in notes
    scene(tmp_path / "tiny", np.where(own < 0, np.finfo(np.float32).min, own), "float32")
    notes = "\n".join(pool(tmp_path / "tiny", "tiny", **DIGITAL["reflectance"]).info.notes)
    (mark,) = re.findall("--nodata=(.*)", notes)
    assert len(pool(tmp_path / "tiny", "found", nodata=float(mark), **DIGITAL["reflectance"])) == 3
    assert len(pool(tmp_path / "in", "marked", nodata=-9999.0, **DIGITAL["reflectance"])) == 3


def of_one_scale(folder: Path) -> None:
    path = scene(folder, values(), "int16")
    with rasterio.open(path, "r+") as file:
        file.scales, file.offsets = (2.75e-5,) * 3, (-0.2,) * 3


def of_two_scales(folder: Path) -> None:
    of_one_scale(folder)
    scene(folder, values(), "int16").rename(folder / "b_20230713.tif")
    of_one_scale(folder)


def of_scales_by_band(folder: Path) -> None:
    path = scene(folder, values(), "int16")
    with rasterio.open(path, "r+") as file:
        file.scales = (1e-4, 2e-4, 1e-4)


def of_another_scale(folder: Path) -> None:
    """Landsat's values under Sentinel-2's names."""
    path = scene(folder, values(), "uint16")
    with rasterio.open(path, "r+") as file:
        file.scales, file.descriptions = (2.75e-5,) * 3, ("B4", "B3", "B2")


def with_opacity(folder: Path) -> None:
    scene(folder, np.concatenate([values(), values()[..., :1]], -1), "float32", photometric="RGB", alpha="YES")


def of_two_kinds(folder: Path) -> None:
    scene(folder, values(), "int16").rename(folder / "a_20230713.tif")
    scene(folder, values(), "float32")


REFUSED: list[tuple[Callable[[Path], Any], dict[str, Any], str]] = [
    (lambda folder: scene(folder, values(), "float32"), {}, "the scale of its float32 values is unknown; add --pixels"),
    (lambda folder: scene(folder, values(), "int16"), {"pixels": "none"}, "scale of its int16 values is unknown"),
    (of_one_scale, {}, r"--pixels reflectance --reflectance 36363.6364,-7272.72727 \(stated with the values: 2.75e-05"),
    (of_one_scale, {"pixels": "reflectance"}, "unknown; add --pixels reflectance --reflectance 36363.6364,-7272.72727"),
    (
        of_two_scales,
        {"pixels": "percentiles"},
        "states scale 2.75e-05, offset -0.2 .*, and .*b_2023.*1, off",
    ),
    (of_another_scale, {}, r"as it states another than Sentinel-2's products; .* --reflectance 36363.6364,0"),
    (
        of_scales_by_band,
        DIGITAL["reflectance"],
        "its bands state scale 0.0001, offset 0 and scale 0.0002, offset 0, an",
    ),
    (with_opacity, {"pixels": "percentiles"}, "has an opacity channel of float32, which can't be read as a mask"),
    (of_two_kinds, {"pixels": "percentiles"}, "has 3 bands of float32, and .* 3 bands of int16"),
    (lambda folder: scene(folder, values(), "complex64"), {"pixels": "percentiles"}, "has complex values; give ampl"),
    (
        lambda folder: scene(folder, values(), "int16"),
        {"pixels": "percentiles", "nodata": 40_000.0},
        "--nodata 40000: must be a whole number from -32768 to 32767, as .* has values of int16",
    ),
    (
        lambda folder: scene(folder, values(), "float32"),
        {"pixels": "percentiles", "nodata": np.nan},
        "--nodata nan: such values are always without data; leave it out",
    ),
    (
        lambda folder: scene(folder, values(), "uint16"),
        {"pixels": "none", "value_range": (0.0, 1.0)},
        "--value-range 0.0,1.0: is for floats and signed integers, and .* has uint16",
    ),
    (
        lambda folder: scene(folder, values(), "float32"),
        {"pixels": "thesis", "value_range": (0.0, 1.0)},
        "--value-range: is for scenes with --pixels none",
    ),
]


@pytest.mark.parametrize(("write", "options", "message"), REFUSED)
def test_no_scale_is_guessed(
    write: Callable[[Path], Any], options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    write(tmp_path / "in")
    with pytest.raises(BadInputError, match=message):
        pool(tmp_path / "in", **options)


@pytest.mark.parametrize("dtype", ["int16", "float32"])
@pytest.mark.parametrize("rule", [*DIGITAL, "range"])
def test_a_map_is_made_as_the_store_was(rule: str, dtype: str, mapped: Callable[..., Any], tmp_path: Path) -> None:
    options = DIGITAL.get(rule) or {"pixels": "none", "value_range": (-500.0, 2500.0)}
    own = values(low=-200)
    scene(tmp_path / "in", own, dtype, nodata=-9999)
    store = pool(tmp_path / "in", **options)
    model = write_model(tmp_path / "own", dtype=store.info.dtype, input=PixelRecipe.of(store.info).written())
    expected = DeployedModel.open(model)(pixels(store))[0][0, 0]
    probability, _, _ = mapped(scene(tmp_path / "first", own[:, :SIDE], dtype, nodata=-9999), by=model)
    assert probability == pytest.approx(expected, abs=1 / STEPS)


def test_missing_values_of_a_map_are_nodata_and_enter_no_mean(mapped: Callable[..., Any], tmp_path: Path) -> None:
    own = np.full((60, 60, 3), 1000.0, np.float32)
    model = write_model(tmp_path / "own", input=PixelRecipe(rule="thesis", metres=10.0, values="float32").written())
    whole, _, _ = mapped(write_scene(tmp_path / "whole.tif", own), by=model)
    own[:20] = np.nan
    own[30, 30, 2] = np.inf
    found, _, facts = mapped(write_scene(tmp_path / "partly.tif", own), by=model, overwrite=True)
    assert (found[:20] == 255).all()
    assert found[30, 30] == 255
    assert facts["valid"]["pixels"] == 40 * 60 - 1
    valid = found != 255
    np.testing.assert_array_equal(found[valid], whole[valid])


def test_a_map_takes_the_nodata_value_that_was_stated_for_the_pool(mapped: Callable[..., Any], tmp_path: Path) -> None:
    own = values()
    own[:, :SIDE] = -9999
    path = scene(tmp_path / "in", own, "int16")
    store = pool(tmp_path / "in", nodata=-9999.0, **DIGITAL["thesis"])
    model = write_model(tmp_path / "own", input=PixelRecipe.of(store.info).written())
    found, _, facts = mapped(path, by=model)
    assert (found[:, :SIDE] == 255).all()
    assert "pixels of -9999 are nodata, as in the model's data set" in facts["notes"]
    stated, _, facts = mapped(scene(tmp_path / "stated", own, "int16", nodata=0), by=model, overwrite=True)
    assert (stated[:, :SIDE] != 255).all()
    assert not [note for note in facts["notes"] if "nodata" in note]


def test_a_map_refuses_values_of_another_kind(mapped: Callable[..., Any], tmp_path: Path) -> None:
    whole = scene(tmp_path / "whole", values(), "uint16")
    signed = scene(tmp_path / "signed", values(), "int16")
    floats = scene(tmp_path / "floats", values() / 10_000.0, "float32")
    of_floats = write_model(tmp_path / "a", input=PixelRecipe(rule="percentiles", values="float32").written())
    with pytest.raises(BadInputError, match="values are uint16, and those of the model's data set were float32"):
        mapped(whole, by=of_floats)
    with pytest.raises(BadInputError, match=r"values are float32, and those .* were unsigned integers"):
        mapped(floats)
    expected, _, _ = mapped(whole)
    found, _, _ = mapped(signed, overwrite=True)
    np.testing.assert_array_equal(found, expected)
    scaled, _, _ = mapped(floats, scale=0.2, overwrite=True)
    np.testing.assert_allclose(scaled, expected, atol=1 / 255)


def test_a_coarse_band_is_enlarged_without_what_it_lacks(tmp_path: Path) -> None:
    coarse = np.full((12, 12), 1000.0, np.float32)
    coarse[4, 4] = np.nan
    write_band(tmp_path / "in" / "x_B04.tif", np.ones((24, 24), np.float32))
    write_band(tmp_path / "in" / "x_B05.tif", coarse, 20.0)
    with open_scene(tmp_path / "in", ("B04", "B05"), 2) as opened:
        for rule in ("nearest", "bilinear", "bicubic"):
            found = opened.window((0, 24), (0, 24), rule)
            lacking = np.isnan(found[..., 1])
            assert lacking[8:10, 8:10].all()
            assert lacking.sum() == 4
            np.testing.assert_array_equal(found[..., 1][~lacking], 1000.0)


def test_bands_of_other_names_are_found_by_them(mapped: Callable[..., Any], tmp_path: Path) -> None:
    """The same scene with its bands in another order has the same map."""
    maps = []
    for order in ([0, 1, 2], [2, 0, 1]):
        path = scene(tmp_path / "in", values()[..., order], "int16")
        with rasterio.open(path, "r+") as file:
            file.descriptions = [("red", "green", "nir")[band] for band in order]
        if not maps:
            recipe = PixelRecipe.of(pool(tmp_path / "in", **DIGITAL["thesis"]).info)
            model = write_model(tmp_path / "own", input=recipe.written())
        maps.append(mapped(path, by=model, overwrite=True)[0])
    np.testing.assert_array_equal(*maps)
