"""Preview of a map: area, scale, classes with their shares."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.scenes import grey, read_map, write_model, write_scene

from sweep.maps.map_classes import NODATA
from sweep.maps.preview import round_length


def test_the_picture_says_area_scale_and_where(mapped: Callable[..., Any], tmp_path: Path) -> None:
    from sweep.maps.class_preview import ClassPreview
    from sweep.maps.preview import figure

    values = np.concatenate([grey(60, 100, 400), grey(60, 100, 1600)], axis=1)
    values[:10] = 0
    _, _, facts = mapped(write_scene(tmp_path / "scene.tif", values, nodata=0))
    with Image.open(tmp_path / "map.png") as picture:
        assert 600 < picture.width <= 1600
        assert picture.height <= 1600
    probability, classes = read_map(tmp_path / "map.tif")
    preview = ClassPreview(
        scene=values,
        valid=values.any(axis=2),
        mapped=probability != NODATA,
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


def test_the_scene_is_averaged_and_clouds_stay_in_it(
    mapped: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stripes of one pixel, which the nearest pixel would show as one of both."""
    drawn: list[Any] = []
    monkeypatch.setattr("sweep.maps.scene_map.PREVIEW_PIXELS", 30)
    monkeypatch.setattr("sweep.maps.preview.draw", lambda preview, path: drawn.append(preview) or path.touch())
    values = grey(60, 60, 400)
    values[:, ::2] = 1600
    values[:20] = 0
    mapped(write_scene(tmp_path / "scene.tif", values, nodata=0))
    (preview,) = drawn
    assert preview.valid.tolist() == [[number >= 10] * 30 for number in range(30)]
    assert (preview.scene[preview.valid] == 1000).all()


def test_a_scale_has_a_round_length() -> None:
    assert [round_length(value) for value in (9.99, 10.0, 4_999.0, 27_000.0)] == [5.0, 10.0, 2_000.0, 20_000.0]


def test_classes_are_drawn_with_their_shares(mapped: Callable[..., Any], tmp_path: Path) -> None:
    three = write_model(tmp_path / "three", classes=3)
    mapped(write_scene(tmp_path / "scene.tif", grey(60, 60)), by=three)
    assert (tmp_path / "map.png").stat().st_size > 5_000
