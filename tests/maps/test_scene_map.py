"""A scene through an exported model: windows that blend without seams, a map that lies where the scene lies."""

import importlib.util
import json
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from rasterio.crs import CRS
from rasterio.errors import NotGeoreferencedWarning
from rasterio.transform import Affine, from_origin
from support.paths import ROOT
from support.sample_data import sample_folder, write_bigearthnet
from support.scenes import PLACE, SIDE, THESIS, UTM, Pixels, write_band, write_jp2, write_model, write_scene

from sweep.deployment.exported_model import DeployedModel
from sweep.maps.ground_resolution import ground
from sweep.maps.map_classes import NODATA, STEPS, map_classes
from sweep.maps.preview import round_length
from sweep.maps.windows import Blend, fill, starts, steps, weights
from sweep.predict import main as predict
from trainables.data.class_names import RGB_BANDS
from trainables.data.preparing.pixel_recipe import PixelRecipe
from trainables.data.preparing.prepare import prepare
from trainables.data.store import ImageStore
from trainables.errors import BadInputError


def read(path: Path) -> tuple[Pixels, Pixels]:
    with rasterio.open(path) as file:
        probability, classes = file.read()
    return probability, classes


def grey(height: int, width: int, value: int = 1000) -> Pixels:
    return np.full((height, width, 3), value, dtype=np.uint16)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "model")


@pytest.fixture
def mapped(model: Path, tmp_path: Path) -> Callable[..., tuple[Pixels, Pixels, dict[str, Any]]]:
    def run(scene: Path, **options: Any) -> tuple[Pixels, Pixels, dict[str, Any]]:
        output = tmp_path / "map.tif"
        predict(options.pop("by", model), scene, output, **options)
        return *read(output), json.loads(output.with_suffix(".json").read_text())

    return run


# Windows


@given(st.integers(1, 60), st.integers(0, 200), st.floats(0.0, 0.95))
def test_every_pixel_is_in_a_window_and_none_leaves_the_scene(side: int, more: int, overlap: float) -> None:
    length = side + more
    found = starts(length, side, overlap)
    covered = np.zeros(length, dtype=int)
    for start in found:
        assert 0 <= start <= length - side
        covered[start : start + side] += 1
    assert covered.all()
    assert found == sorted(set(found))
    assert sum(rows for _, rows in steps(found, side)) == length


@pytest.mark.parametrize("side", [8, 24, 120])
def test_windows_that_overlap_by_half_add_up_to_a_constant(side: int) -> None:
    line = weights(side)[side // 2]
    np.testing.assert_allclose(line[: side // 2] + line[side // 2 :], line.max() + line.min(), rtol=2e-3)
    assert (weights(side) > 0).all()


@given(st.integers(4, 16), st.integers(0, 30), st.integers(0, 30), st.floats(0.0, 0.9))
def test_one_answer_everywhere_blends_to_itself(side: int, down: int, across: int, overlap: float) -> None:
    tops, lefts = starts(side + down, side, overlap), starts(side + across, side, overlap)
    blend, rows = Blend(side, side + across, 2), []
    for _, finished in steps(tops, side):
        for number, left in enumerate(lefts):
            blend.add(left, np.array([0.25, 0.75], dtype=np.float32), 1.0 / (1 + number))
        rows.append(blend.release(finished))
    means = np.concatenate(rows, axis=1)
    assert means.shape == (2, side + down, side + across)
    np.testing.assert_allclose(means[0], 0.25, rtol=1e-5)
    np.testing.assert_allclose(means[1], 0.75, rtol=1e-5)


def test_blending_is_the_weighted_mean_written_out() -> None:
    random = np.random.default_rng(0)
    side, height, width = 6, 17, 14
    tops, lefts = starts(height, side, 0.4), starts(width, side, 0.4)
    values = random.random((len(tops), len(lefts))).astype(np.float32)
    total, weight = np.zeros((height, width)), np.zeros((height, width))
    blend, rows = Blend(side, width, 1), []
    for i, (top, finished) in enumerate(steps(tops, side)):
        for j, left in enumerate(lefts):
            total[top : top + side, left : left + side] += weights(side) * values[i, j]
            weight[top : top + side, left : left + side] += weights(side)
            blend.add(left, values[i, j : j + 1], 1.0)
        rows.append(blend.release(finished)[0])
    np.testing.assert_allclose(np.concatenate(rows), total / weight, rtol=1e-5)


def test_nodata_are_filled_by_the_mean_of_what_is_there() -> None:
    values = np.arange(12, dtype=np.uint16).reshape(2, 2, 3)
    valid = np.array([[True, False], [True, True]])
    filled = fill(values, valid)
    assert filled[0, 1].tolist() == [5, 6, 7]
    assert (filled[valid] == values[valid]).all()
    assert fill(values, np.ones((2, 2), dtype=bool)) is values


# Maps


def test_one_colour_gives_one_probability_without_seams(mapped: Callable[..., Any], tmp_path: Path) -> None:
    probability, classes, facts = mapped(write_scene(tmp_path / "scene.tif", grey(70, 301)))
    expected = np.rint(127 / 255 * STEPS) / STEPS  # 1000 / 2000 * 255, truncated
    assert np.unique(probability).tolist() == [np.float32(expected)]
    assert not classes.any()
    assert facts["classes"]["farmland"] == {"pixels": 0, "share": 0.0, "hectares": 0.0, "square_kilometres": 0.0}
    _, classes, facts = mapped(tmp_path / "scene.tif", threshold=0.4)
    assert classes.all()
    assert facts["threshold"] == 0.4


def test_a_scene_of_two_halves_becomes_a_map_of_two_halves(mapped: Callable[..., Any], tmp_path: Path) -> None:
    values = np.concatenate([grey(60, 100, 400), grey(60, 100, 1600)], axis=1)
    probability, classes, facts = mapped(write_scene(tmp_path / "scene.tif", values), overlap=0.75)
    assert probability[:, : 100 - SIDE] == pytest.approx(51 / 255, abs=1 / STEPS)
    assert probability[:, 100 + SIDE :] == pytest.approx(204 / 255, abs=1 / STEPS)
    middle = probability[30, 100 - SIDE : 100 + SIDE]
    assert (np.diff(middle) >= 0).all()
    assert np.diff(middle).max() < 0.1, "a seam"
    border = classes[30].tolist().index(1)
    assert abs(border - 100) <= 2
    assert facts["classes"]["farmland"]["share"] == pytest.approx(0.5, abs=0.01)


def test_the_map_lies_where_the_scene_lies_and_says_what_it_is(mapped: Callable[..., Any], tmp_path: Path) -> None:
    mapped(write_scene(tmp_path / "scene.tif", grey(300, 520)))
    with rasterio.open(tmp_path / "map.tif") as file:
        assert (file.crs, file.transform, file.shape) == (UTM, PLACE, (300, 520))
        assert file.dtypes == ("float32", "float32")
        assert file.descriptions == ("probability of farmland", "class")
        assert file.nodata == NODATA
        assert file.tags(2)["class_1"] == "farmland"
        assert file.tags()["model"] == "a-trial"
        assert file.compression.name == "deflate"
        assert file.block_shapes == [(256, 256), (256, 256)]


def test_nodata_stay_nodata_and_everything_else_has_a_value(mapped: Callable[..., Any], tmp_path: Path) -> None:
    values = grey(90, 130)
    hidden = np.zeros((90, 130), dtype=bool)
    hidden[:50, :60] = hidden[80, 100] = True
    values[hidden] = 0
    probability, classes, facts = mapped(write_scene(tmp_path / "scene.tif", values, nodata=0))
    assert (probability[hidden] == NODATA).all()
    assert (classes[hidden] == NODATA).all()
    assert probability[~hidden] == pytest.approx(127 / 255, abs=1 / STEPS), "filled with what is there, not with black"
    assert facts["valid"]["pixels"] == int((~hidden).sum())
    again, _, _ = mapped(write_scene(tmp_path / "untold.tif", values), nodata=0.0)
    np.testing.assert_array_equal(again, probability)
    opacity = np.where(hidden, 0, 65535).astype(np.uint16)
    whole = np.concatenate([values, opacity[..., None]], axis=2)
    transparent, _, _ = mapped(write_scene(tmp_path / "alpha.tif", whole, photometric="RGB", alpha="YES"))
    np.testing.assert_array_equal(transparent, probability)


def test_a_full_window_decides_where_nodata_begin(mapped: Callable[..., Any], tmp_path: Path) -> None:
    values = np.zeros((2 * SIDE, 3 * SIDE, 3), dtype=np.uint16)
    values[:SIDE, SIDE : SIDE + SIDE // 2] = 200
    values[:SIDE, SIDE + SIDE // 2 : 2 * SIDE] = 1800
    probability, _, _ = mapped(write_scene(tmp_path / "scene.tif", values, nodata=0))
    inside = probability[:SIDE, SIDE : 2 * SIDE]
    assert inside == pytest.approx((25 + 229) / 2 / 255, abs=0.1)


def test_area_is_that_of_the_pixels(mapped: Callable[..., Any], tmp_path: Path) -> None:
    values = np.concatenate([grey(48, 48, 100), grey(48, 24, 1900)], axis=1)
    values[:8] = 0
    _, classes, facts = mapped(write_scene(tmp_path / "scene.tif", values, nodata=0), overlap=0.0)
    found = int((classes == 1).sum())
    assert found == 40 * 24
    assert facts["classes"]["farmland"]["hectares"] == pytest.approx(40 * 24 * 100 / 10_000)
    assert facts["classes"]["farmland"]["share"] == pytest.approx(1 / 3)
    assert facts["valid"]["square_kilometres"] == pytest.approx(40 * 72 * 100 / 1e6)
    assert facts["pixel_metres"] == [10.0, 10.0]
    assert facts["crs"] == "EPSG:32634"
    assert facts["model"]["trial"] == "a-trial"


def test_area_of_degrees_is_the_ellipsoids() -> None:
    whole = ground(CRS.from_epsg(4326), from_origin(-180.0, 90.0, 0.5, 0.5), 360, 720)
    assert whole.row_hectares is not None
    assert float(whole.row_hectares.sum() * 720) / 100 == pytest.approx(510_065_621.7, rel=1e-9)
    north = ground(CRS.from_epsg(4326), from_origin(20.0, 60.05, 1e-4, 1e-4), 1000, 10)
    assert north.metres == pytest.approx((5.58, 11.14), abs=0.01)
    assert not north.is_square
    feet = ground(CRS.from_epsg(2263), Affine(10.0, 0.0, 0.0, 0.0, -10.0, 0.0), 5, 5)
    assert feet.side == pytest.approx(3.048, abs=1e-4)
    assert ground(None, PLACE, 5, 5).row_hectares is None


def test_a_scene_without_coordinates_has_no_area(mapped: Callable[..., Any], tmp_path: Path, capsys: Any) -> None:
    with pytest.warns(NotGeoreferencedWarning):
        scene = write_scene(tmp_path / "scene.tif", grey(30, 30), crs=None, transform=None)
    _, _, facts = mapped(scene)
    assert facts["valid"]["hectares"] is None
    assert facts["classes"]["other"]["share"] == 1.0
    assert "the scene has no coordinates" in capsys.readouterr().err


def test_a_map_is_of_the_positives_of_a_rule_or_of_the_most_probable_class(
    mapped: Callable[..., Any], tmp_path: Path
) -> None:
    three = write_model(tmp_path / "three", classes=3, rules={"crops": ["class 0", "class 1"]})
    values = grey(SIDE, SIDE)
    values[..., 1] = 400
    scene = write_scene(tmp_path / "scene.tif", values)
    probability, classes, facts = mapped(scene, by=three)
    shares = np.array([127 / 510, 51 / 510, 1 - 178 / 510])
    assert probability == pytest.approx(shares[2], abs=1 / STEPS)
    assert (classes == 2).all()
    assert facts["threshold"] is None
    assert facts["classes"]["class 2"]["hectares"] == pytest.approx(SIDE * SIDE / 100)
    probability, _, facts = mapped(scene, by=three, positive=["crops"])
    assert probability == pytest.approx(shares[:2].sum(), abs=1 / STEPS)
    assert facts["positive"] == "crops"
    several = write_model(tmp_path / "several", classes=3, several_labels=True)
    probability, _, _ = mapped(scene, by=several, positive=["class 0", "class 1"])
    assert probability == pytest.approx(shares[0], abs=1 / STEPS), "labels don't exclude each other"
    with pytest.raises(BadInputError, match=r"several labels, .*--positive what to map .*class 0, class 1"):
        mapped(scene, by=several)


def test_positives_that_a_model_lacks_are_refused() -> None:
    facts = {"classes": ["a", "b"], "positive": [], "several_labels": False, "rules": {"both": ["a", "b"]}}
    with pytest.raises(BadInputError, match=r"--positive c: neither a class nor a rule .*rules: both; classes: a, b"):
        map_classes(facts, ["c"])
    with pytest.raises(BadInputError, match="needs a --positive"):
        map_classes(facts, (), 0.4)
    with pytest.raises(BadInputError, match=r"must be > 0 and < 1, got 1\.5"):
        map_classes(facts, ["a"], 1.5)


# Scenes as they come


def test_a_folder_of_bands_is_the_stack_of_them(mapped: Callable[..., Any], tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(1, 3000, (60, 80, 3), dtype=np.uint16)
    for number, band in enumerate(RGB_BANDS):
        write_band(tmp_path / "patch" / f"S2A_patch_{band}.tif", values[..., number])
    write_band(tmp_path / "patch" / "S2A_patch_B08.tif", values[..., 0])
    expected, _, _ = mapped(write_scene(tmp_path / "scene.tif", values))
    found, _, _ = mapped(tmp_path / "patch")
    np.testing.assert_array_equal(found, expected)
    named = np.concatenate([values[..., ::-1], values[..., :1]], axis=2)
    write_scene(tmp_path / "named.tif", named)
    with rasterio.open(tmp_path / "named.tif", "r+") as file:
        file.descriptions = ("B02", "B03", "B04", "B08")
    found, _, _ = mapped(tmp_path / "named.tif")
    np.testing.assert_array_equal(found, expected)


def test_a_product_as_it_is_downloaded(mapped: Callable[..., Any], tmp_path: Path) -> None:
    product = tmp_path / "S2B_MSIL2A_20230613T101031.SAFE"
    images = product / "GRANULE" / "L2A_T34VER" / "IMG_DATA"
    values = np.random.default_rng(0).integers(1001, 3000, (60, 80, 3), dtype=np.uint16)
    values[:5] = 0
    for number, band in enumerate(RGB_BANDS):
        write_jp2(images / "R10m" / f"T34VER_20230613T101031_{band}_10m.jp2", values[..., number])
        write_band(images / "R20m" / f"T34VER_20230613T101031_{band}_20m.tif", values[::2, ::2, number], 20.0)
        write_band(product / "GRANULE" / "L2A_T34VER" / "QI_DATA" / f"MSK_QUALIT_{band}.tif", values[..., number])
    offsets = "".join(f'<BOA_ADD_OFFSET band_id="{band}">-1000</BOA_ADD_OFFSET>' for band in range(13))
    (product / "MTD_MSIL2A.xml").write_text(f"<a>{offsets}</a>")
    found, _, _ = mapped(product)
    moved = np.maximum(values.astype(int) - 1000, 0).astype(np.uint16)
    expected, _, _ = mapped(write_scene(tmp_path / "scene.tif", moved, nodata=0))
    assert (found[:5] == NODATA).all()
    np.testing.assert_array_equal(found, expected)
    unmoved, _, _ = mapped(product, offset=0)
    assert (unmoved[5:] > found[5:]).all()
    stacked, _, _ = mapped(write_scene(tmp_path / "stacked.tif", values, nodata=0), offset=-1000)
    np.testing.assert_array_equal(stacked, expected)


def test_coarse_bands_are_repeated(mapped: Callable[..., Any], tmp_path: Path) -> None:
    bands = ["B04", "B05"]
    model = write_model(tmp_path / "two", channels=2, classes=3, input=THESIS | {"bands": bands})
    random = np.random.default_rng(0)
    fine, coarse = (random.integers(1, 2000, (side, side), dtype=np.uint16) for side in (66, 33))
    write_band(tmp_path / "patch" / "x_B04.tif", fine)
    write_band(tmp_path / "patch" / "x_B05.tif", coarse, 20.0)
    whole = np.stack([fine, coarse.repeat(2, axis=0).repeat(2, axis=1)], axis=-1)
    expected, _, _ = mapped(write_scene(tmp_path / "scene.tif", whole), by=model, overlap=0.3)
    found, _, _ = mapped(tmp_path / "patch", by=model, overlap=0.3)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(("pixels", "size"), [("thesis", 120), ("percentiles", 120), ("thesis", 60)])
def test_pixels_are_made_as_the_data_set_was(
    pixels: str, size: int, mapped: Callable[..., Any], tmp_path: Path
) -> None:
    labels = [["Pastures"], ["Mixed forest"]] * 4
    source = write_bigearthnet(tmp_path, labels)
    options = {"splits": "random", "pixels": pixels, "image_size": size}
    prepare("bigearthnet_v1", source=source, root=tmp_path / "data", **options)
    store = ImageStore.open("bigearthnet_v1", tmp_path / "data")
    recipe = PixelRecipe.of(store.info)
    assert PixelRecipe.read(json.loads(json.dumps(recipe.written()))) == recipe
    assert recipe.metres == 1200 / size
    model = write_model(tmp_path / "own", size, input=recipe.written())
    rows = [0, 3]
    expected = DeployedModel.open(model)(store.images(rows).numpy())[0][:, 0]
    for row, value in zip(rows, expected, strict=True):
        patch = tmp_path / "placed" / store.names([row])[0]
        for file in (source / patch.name).glob("*.tif"):
            with Image.open(file) as image:
                write_band(patch / file.name, np.asarray(image).astype(np.uint16))
        probability, _, facts = mapped(patch, by=model)
        assert probability == pytest.approx(value, abs=1 / STEPS)
        assert facts["window_pixels"] == 120


def test_scenes_of_finer_pixels_have_larger_windows(mapped: Callable[..., Any], tmp_path: Path, capsys: Any) -> None:
    transform = from_origin(500_000.0, 7_000_000.0, 5.0, 5.0)
    _, _, facts = mapped(write_scene(tmp_path / "scene.tif", grey(60, 60), transform=transform))
    assert facts["window_pixels"] == 2 * SIDE
    assert "pixels have 5 m, the model's 10: windows of 48 px are resized to 24" in capsys.readouterr().err


# What can't be done


def test_nothing_is_left_of_a_map_that_fails(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = write_scene(tmp_path / "scene.tif", grey(600, 60))
    (tmp_path / "map.tif").write_bytes(b"earlier")
    before = sorted(path.name for path in tmp_path.iterdir())
    real, calls = DeployedModel.__call__, iter(range(20))

    def fails(self: DeployedModel, images: Pixels) -> Any:
        if next(calls) > 10:
            raise RuntimeError("out of memory")
        return real(self, images)

    monkeypatch.setattr(DeployedModel, "__call__", fails)
    with pytest.raises(RuntimeError, match="out of memory"):
        predict(model, scene, tmp_path / "map.tif", overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert (tmp_path / "map.tif").read_bytes() == b"earlier"


def faults(model: Path, folder: Path) -> Iterator[tuple[Path, Path, dict[str, Any], str]]:
    scene = write_scene(folder / "scene.tif", grey(60, 60))
    (folder / "images").mkdir()
    (folder / "broken.tif").write_bytes(b"II*\0 broken")
    for name in ("a_B04", "a_B03", "b_B04"):
        write_band(folder / "two" / f"{name}.tif", grey(60, 60)[..., 0])
    write_band(folder / "few" / "a_B04.tif", grey(60, 60)[..., 0])
    write_band(folder / "apart" / "a_B04.tif", grey(60, 60)[..., 0])
    write_band(folder / "apart" / "a_B03.tif", grey(60, 60)[..., 0])
    write_band(folder / "apart" / "a_B02.tif", grey(50, 60)[..., 0])
    plain = write_model(folder / "plain", input={"bands": [], "pixels": "", "ranges": [], "metres": None})
    yield model, folder / "none.tif", {}, "no such file or folder"
    yield model, folder / "images", {}, r"no scene: .*for a table of images give --output FILE that ends in \.parquet"
    yield model, folder / "broken.tif", {}, r"broken\.tif: can't be read"
    yield model, folder / "two", {}, r"contains several scenes \(a_B04\.tif, b_B04\.tif\); give the folder of one"
    yield model, folder / "few", {}, "has no file of B03, B02; it has B04"
    yield model, folder / "few" / "a_B04.tif", {}, r"has 1 bands, the model takes 3 \(B04, B03, B02\); give the folder"
    yield model, folder / "apart", {}, r"a_B02\.tif: doesn't share the pixel grid of"
    yield model, write_scene(folder / "small.tif", grey(20, 60)), {}, "the scene has 20 pixels in one direction"
    yield model, write_scene(folder / "empty.tif", grey(60, 60, 0), nodata=0), {}, "has no valid pixel"
    yield model, write_scene(folder / "float.tif", grey(60, 60).astype(np.float32)), {}, "has values of float32"
    coarse = {"transform": from_origin(0.0, 0.0, 30.0, 30.0)}
    yield model, write_scene(folder / "coarse.tif", grey(60, 60), **coarse), {}, "30 m, the model's 10: too coarse"
    yield plain, scene, {}, "16 bits, the model takes 8 and its data set came with 8: say with --scale VALUE"
    yield model, scene, {"overlap": 1.0}, r"--overlap must be >= 0 and <= 0\.95, got 1\.0"
    yield model, scene, {"threshold": 0.0}, "--threshold must be > 0 and < 1"


def test_what_cant_be_mapped_is_one_clear_line_and_no_file(model: Path, tmp_path: Path) -> None:
    for by, scene, options, said in faults(model, tmp_path):
        with pytest.raises(BadInputError, match=said) as raised:
            predict(by, scene, tmp_path / "map.tif", **options)
        assert "\n" not in str(raised.value)
        assert not list(tmp_path.glob("map*"))


def test_tables_and_maps_are_told_apart(model: Path, tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "scene.tif", grey(60, 60))
    for output, options, said in (
        (tmp_path / "found.txt", {}, r"must end in \.parquet, \.csv \(a table of images\) or \.tif"),
        (
            tmp_path / "found.csv",
            {},
            r"one image; for its map give --output FILE\.tif, for a table the folder of images",
        ),
        (tmp_path / "no" / "map.tif", {}, "no such folder"),
        (scene, {}, "is the scene"),
    ):
        with pytest.raises(BadInputError, match=said):
            predict(model, scene, output, **options)
    (tmp_path / "images").mkdir()
    Image.fromarray(np.full((SIDE, SIDE, 3), 51, np.uint8)).save(tmp_path / "images" / "1.png")
    with pytest.raises(BadInputError, match="--threshold: is for the map of a scene"):
        predict(model, tmp_path / "images", tmp_path / "found.csv", threshold=0.4)
    predict(model, tmp_path / "images", tmp_path / "found.csv")
    assert "1.png,negative,0.2" in (tmp_path / "found.csv").read_text()


def test_an_older_export_is_to_be_made_again_or_told_its_scale(mapped: Callable[..., Any], tmp_path: Path) -> None:
    old = write_model(tmp_path / "old")
    facts = json.loads((old / "model.json").read_text())
    for name in ("input", "rules", "positive_rule"):
        del facts[name]
    (old / "model.json").write_text(json.dumps(facts))
    scene = write_scene(tmp_path / "scene.tif", grey(60, 60))
    with pytest.raises(BadInputError, match=r"model\.json: doesn't say how .*; export it again .*--scale VALUE"):
        mapped(scene, by=old)
    probability, _, found = mapped(scene, by=old, scale=4000.0)
    assert probability == pytest.approx(63 / 255, abs=1 / STEPS)
    assert found["positive"] == "positive"


def test_without_rasterio_it_says_what_to_install(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = write_scene(tmp_path / "scene.tif", grey(60, 60))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BadInputError, match=r"rasterio: isn't installed .*pip install 'sweep-service\[maps\]'"):
        predict(model, scene, tmp_path / "map.tif")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert any(need.startswith("rasterio") for need in project["project"]["optional-dependencies"]["maps"])


# The picture


def test_the_picture_says_area_scale_and_where(mapped: Callable[..., Any], tmp_path: Path) -> None:
    from sweep.maps.preview import Preview, figure

    values = np.concatenate([grey(60, 100, 400), grey(60, 100, 1600)], axis=1)
    values[:10] = 0
    _, _, facts = mapped(write_scene(tmp_path / "scene.tif", values, nodata=0))
    with Image.open(tmp_path / "map.png") as picture:
        assert 600 < picture.width <= 1600
        assert picture.height <= 1600
    probability, classes = read(tmp_path / "map.tif")
    preview = Preview(
        scene=values,
        valid=values.any(axis=2),
        probability=probability,
        classes=classes.astype(np.uint8),
        names=("other", "farmland"),
        positive="farmland",
        threshold=0.5,
        metres=10.0,
        facts=facts,
    )
    drawn = figure(preview)
    own, valid = facts["classes"]["farmland"], facts["valid"]
    expected = f"Farmland: {own['square_kilometres']:.3g} km² of {valid['square_kilometres']:.3g} km²"
    assert drawn.get_suptitle().startswith(expected)
    assert drawn.get_supxlabel() == "scene.tif, EPSG:32634; model a-trial"
    texts = [text.get_text() for axes in drawn.axes for text in axes.texts]
    assert texts == ["500 m", "500 m"]
    legend = drawn.axes[1].get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["no data"]


def test_a_scale_has_a_round_length() -> None:
    assert [round_length(value) for value in (9.99, 10.0, 4_999.0, 27_000.0)] == [5.0, 10.0, 2_000.0, 20_000.0]


def test_classes_are_drawn_with_their_shares(mapped: Callable[..., Any], tmp_path: Path) -> None:
    three = write_model(tmp_path / "three", classes=3)
    mapped(write_scene(tmp_path / "scene.tif", grey(60, 60)), by=three)
    assert (tmp_path / "map.png").stat().st_size > 5_000


# A whole tile

# Linux counts what the parent held in a child's getrusage, not in its VmHWM.
MEASURED = """
import re, sys
from pathlib import Path
from sweep.maps.scene_map import MapOptions, write_map
write_map(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), MapOptions(overlap=0.1))
print(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
"""


def tiled(path: Path, patches: list[Pixels], side: int) -> Path:
    """Write a square scene of real patches side by side, row by row."""
    shape = {"driver": "GTiff", "height": side, "width": side, "count": 3, "dtype": "uint16", "nodata": 0}
    blocks = {"tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "deflate", "zlevel": 1}
    with rasterio.open(path, "w", **shape, **blocks, crs=UTM, transform=PLACE) as file:
        number = 0
        for top in range(0, side, 120):
            row = []
            for _ in range(0, side, 120):
                row.append(patches[number % len(patches)])
                number += 1
            strip = np.concatenate(row, axis=1)[: side - top, :side]
            file.write(np.moveaxis(strip, -1, 0), window=((top, top + len(strip)), (0, side)))
    return path


@pytest.mark.slow
def test_a_whole_tile_takes_no_more_memory_than_its_strips(tmp_path: Path) -> None:
    folder = sample_folder("bigearthnet-s2-v1") / "BigEarthNet-v1.0"
    patches = []
    for patch in sorted(folder.iterdir())[:150]:
        bands = []
        for band in RGB_BANDS:
            with Image.open(patch / f"{patch.name}_{band}.tif") as image:
                bands.append(np.asarray(image).astype(np.uint16))
        patches.append(np.stack(bands, axis=-1))
    model = write_model(tmp_path / "model", 120)
    peaks = {}
    for side in (1_200, 10_980):
        scene = tiled(tmp_path / f"{side}.tif", patches, side)
        command = [sys.executable, "-c", MEASURED, str(model), str(scene), str(tmp_path / "map.tif")]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
        peaks[side] = int(done.stdout.split()[-1]) / 1024
    facts = json.loads((tmp_path / "map.json").read_text())
    assert facts["size"] == [10_980, 10_980]
    assert facts["valid"]["hectares"] == pytest.approx(10_980**2 / 100, rel=1e-3)
    print(peaks)
    # The scene's values are 690 MiB, the map's 920; of either only strips and GDAL's bounded cache are in memory.
    assert peaks[10_980] - peaks[1_200] < 400, peaks
