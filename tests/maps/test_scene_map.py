"""A scene through an exported model: a map that lies where the scene lies."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.crs import CRS
from rasterio.errors import NotGeoreferencedWarning
from rasterio.transform import Affine, from_origin
from support.scenes import PLACE, SIDE, UTM, grey, write_model, write_scene

from sweep.maps.ground_resolution import ground
from sweep.maps.map_classes import NODATA, STEPS, map_classes
from sweep.predict import main as predict
from trainables.errors import BadInputError


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


def test_a_map_is_cloud_optimized_with_overviews_whose_bands_agree(mapped: Callable[..., Any], tmp_path: Path) -> None:
    values = grey(300, 520, 400)
    values[:, 260:] = 1600
    values[:100] = 0
    probability, classes, _ = mapped(write_scene(tmp_path / "scene.tif", values, nodata=0))
    with rasterio.open(tmp_path / "map.tif") as file:
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert [file.overviews(band) for band in (1, 2)] == [[2, 4], [2, 4]]
    with rasterio.open(tmp_path / "map.tif", overview_level=0) as file:
        small, decided = file.read()
    assert small.shape == (150, 260)
    assert set(np.unique(decided)) == set(np.unique(classes)) == {0, 1, NODATA}
    assert set(np.unique(small)) <= set(np.unique(probability)), "picked, not mixed with nodata"
    np.testing.assert_array_equal(decided == 1, (small >= 0.5) & (small != NODATA))
    assert sorted(path.name for path in tmp_path.glob("*map*")) == ["map.json", "map.png", "map.tif"]


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


def test_each_class_has_a_band_of_its_probability_on_demand(
    mapped: Callable[..., Any], tmp_path: Path, capsys: Any
) -> None:
    values = grey(60, SIDE)
    values[..., 1] = 400
    values[:SIDE] = 0
    scene = write_scene(tmp_path / "scene.tif", values, nodata=0)
    shares = np.array([127 / 510, 51 / 510, 1 - 178 / 510])
    for number, options in enumerate(({}, {"positive": ["class 0", "class 1"]})):
        for several in (False, True)[: 1 + number]:
            model = write_model(tmp_path / f"{number}{several}", classes=3, several_labels=several)
            predict(model, scene, tmp_path / "map.tif", probabilities=True, **options)
            with rasterio.open(tmp_path / "map.tif") as file:
                bands = file.read()
                assert file.descriptions[2:] == tuple(f"probability of the class class {k}" for k in range(3))
            assert (bands[:, :SIDE] == NODATA).all()
            for band, share in zip(bands[2:, SIDE:], shares, strict=True):
                assert band == pytest.approx(share, abs=1 / STEPS)
            plain, classes, facts = mapped(scene, by=model, **options)
            np.testing.assert_array_equal(bands[:2], [plain, classes])
            assert facts["probability_bands"] == {}
    assert "probability of each class: band 3 class 0, band 4 class 1, band 5 class 2" in capsys.readouterr().out


def test_positives_that_a_model_lacks_are_refused() -> None:
    facts = {"classes": ["a", "b"], "positive": [], "several_labels": False, "rules": {"both": ["a", "b"]}}
    with pytest.raises(BadInputError, match=r"--positive c: neither a class nor a rule .*rules: both; classes: a, b"):
        map_classes(facts, ["c"])
    with pytest.raises(BadInputError, match="needs a --positive"):
        map_classes(facts, (), 0.4)
    with pytest.raises(BadInputError, match=r"must be > 0 and < 1, got 1\.5"):
        map_classes(facts, ["a"], 1.5)
