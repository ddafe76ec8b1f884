"""A scene through a model that predicts a number: values, nodata, clouds, summary and picture."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from support.products import write_product
from support.scenes import PLACE, SIDE, UTM, grey, write_number_model, write_scene

from sweep.maps.ground_resolution import GroundResolution, ground
from sweep.maps.map_numbers import MapNumbers
from sweep.predict import main as predict
from trainables.errors import BadInputError

YIELD = {"name": "tons", "label_set": "pool.yield", "least": 1.0, "largest": 20.0, "mean": 5.0, "deviation": 2.0}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """The first band's mean, over ten."""
    return write_number_model(tmp_path / "model", number=YIELD)


def read(path: Path) -> tuple[Any, dict[str, Any]]:
    with rasterio.open(path) as file:
        assert file.count == 1
        return file.read(1), json.loads(path.with_suffix(".json").read_text())


def test_numbers_lie_where_the_scene_lies_and_nodata_are_nan(model: Path, tmp_path: Path, capsys: Any) -> None:
    values = np.concatenate([grey(300, 260, 400), grey(300, 260, 1600)], axis=1)
    values[:40, :50] = 0
    predict(model, write_scene(tmp_path / "scene.tif", values, nodata=0), tmp_path / "map.tif", overlap=0.75)
    found, facts = read(tmp_path / "map.tif")
    with rasterio.open(tmp_path / "map.tif") as file:
        assert (file.crs, file.transform, file.shape, file.dtypes) == (UTM, PLACE, (300, 520), ("float32",))
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert file.descriptions == ("predicted tons (pool.yield)",)
        assert np.isnan(file.nodata)
        assert file.tags()["number"] == "tons (pool.yield)"
        assert file.overviews(1)
    hidden = ~values.any(axis=2)
    np.testing.assert_array_equal(np.isnan(found), hidden)
    assert found[60:, : 260 - SIDE] == pytest.approx(5.1)  # 400 / 2000 * 255 / 10
    assert found[60:, 260 + SIDE :] == pytest.approx(20.4)
    mapped = found[~hidden].astype(np.float64)
    own = facts["number"]
    expected = {"mean": mapped.mean(), "deviation": mapped.std(), "least": mapped.min(), "largest": mapped.max()}
    assert {name: own[name] for name in expected} == pytest.approx(expected)
    assert (own["name"], own["learned"]) == ("tons (pool.yield)", [1.0, 20.0])
    assert own["extrapolated"] == pytest.approx((mapped > 20).mean())
    assert facts["valid"]["hectares"] == pytest.approx(len(mapped) / 100)
    assert "classes" not in facts
    said = capsys.readouterr()
    assert "tons (pool.yield): mean 12." in said.out
    assert "are beyond the values that the model learned from (1 to 20): extrapolated" in said.err
    assert sorted(path.name for path in tmp_path.glob("map*")) == ["map.json", "map.png", "map.tif"]


def test_large_numbers_close_together_are_mapped_in_float64(tmp_path: Path) -> None:
    known = {**YIELD, "least": 1e9 + 1.0, "largest": 1e9 + 20.0}
    model = write_number_model(tmp_path / "large", above=1e9, number=known)
    predict(model, write_scene(tmp_path / "scene.tif", grey(SIDE, SIDE, 400)), tmp_path / "map.tif")
    found, facts = read(tmp_path / "map.tif")
    assert found.dtype == np.float64
    np.testing.assert_allclose(found - 1e9, 5.1, atol=1e-5)
    assert facts["number"]["mean"] - 1e9 == pytest.approx(5.1, abs=1e-5)


def test_clouds_are_no_numbers_unless_wanted(model: Path, tmp_path: Path) -> None:
    scl = np.full((60, 60), 4, dtype=np.uint8)
    scl[:20, :30] = 9
    product = write_product(tmp_path / "in", scl=scl)
    predict(model, product, tmp_path / "map.tif")
    found, facts = read(tmp_path / "map.tif")
    assert np.isnan(found[:40, :60]).all()
    assert np.isfinite(found[40:]).all()
    assert facts["scl"]["cloud"] == pytest.approx(1 / 6, abs=1e-3)
    predict(model, product, tmp_path / "map.tif", no_scl=True)
    assert np.isfinite(read(tmp_path / "map.tif")[0]).all()


def test_the_picture_has_a_colour_bar_with_the_numbers_name(tmp_path: Path) -> None:
    from sweep.maps.number_preview import NumberPreview
    from sweep.maps.preview import figure

    numbers = np.arange(600.0).reshape(20, 30)
    numbers[:2] = np.nan
    facts = {
        "valid": {"square_kilometres": 12.0},
        "number": {"mean": 5.0, "least": 1.0, "largest": 9.0},
        "crs": None,
        "scene": "scene.tif",
        "model": {"trial": "a-trial"},
    }
    preview = NumberPreview(
        scene=np.zeros((20, 30, 3), np.uint8),
        valid=np.ones((20, 30), bool),
        mapped=~np.isnan(numbers),
        metres=None,
        facts=facts,
        numbers=numbers,
        name="tons (pool.yield)",
        learned=(100.0, 10_000.0),
    )
    drawn = figure(preview)
    assert drawn.get_suptitle() == "tons (pool.yield): mean 5, 1 to 9 over 12 km²"
    _, right, bar = drawn.axes
    assert right.get_title() == "predicted tons (pool.yield)"
    assert bar.get_ylabel() == "tons (pool.yield); trained on 100 to 10000 (white line)"
    assert bar.get_ylim() == pytest.approx(tuple(np.percentile(numbers[2:], (1, 99))))
    legend = right.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["no data"]


def test_means_weigh_pixels_by_their_area_and_large_numbers_keep_their_deviation() -> None:
    rows = GroundResolution(None, np.array([1.0, 3.0]))
    summary = MapNumbers("n", None).summary(rows)
    values = np.array([[[1e8 + 1, 1e8 + 1]], [[1e8 + 2, 9.0]]])
    summary.add(values[0][None], np.ones((1, 2), bool))
    summary.add(values[1][None], np.array([[True, False]]))
    own = summary.described()
    assert own["number"]["mean"] == pytest.approx(1e8 + 1.6, rel=1e-12)
    assert own["number"]["deviation"] == pytest.approx(np.sqrt(0.24))
    assert own["valid"] == {"pixels": 3, "hectares": 5.0, "square_kilometres": 0.05}
    assert (own["number"]["learned"], own["number"]["extrapolated"]) == (None, None)
    assert ground(None, PLACE, 2, 2).row_hectares is None


@pytest.mark.parametrize("options", [{"positive": ["a"]}, {"threshold": 0.4}, {"probabilities": True}])
def test_options_of_classes_are_refused(options: dict[str, Any], model: Path, tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "scene.tif", grey(SIDE, SIDE))
    (name,) = options
    with pytest.raises(BadInputError, match=rf"--{name}: is for a map of classes, .* a number, tons \(pool\.yield\)"):
        predict(model, scene, tmp_path / "map.tif", **options)
    assert not list(tmp_path.glob("map*"))
