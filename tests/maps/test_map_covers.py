"""The scene's classification (SCL) in a map: what it says is covered is nodata."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.products import write_product
from support.scenes import grey, write_band

from sweep.maps.map_classes import NODATA, STEPS
from trainables.data.class_names import RGB_BANDS


def test_what_the_scl_says_is_covered_is_no_data(mapped: Callable[..., Any], tmp_path: Path, capsys: Any) -> None:
    classes = np.full((30, 40), 4, dtype=np.uint8)
    classes[:5], classes[5:7], classes[7, :10], classes[8, 0], classes[9, :20] = 9, 3, 11, 0, 10
    hidden = (classes != 4).repeat(2, axis=0).repeat(2, axis=1)
    values = grey(60, 80)
    values[hidden] = 9000
    for number, band in enumerate(RGB_BANDS):
        write_band(tmp_path / "patch" / f"x_{band}.tif", values[..., number])
    write_band(tmp_path / "patch" / "x_SCL.tif", classes, 20.0)
    probability, found, facts = mapped(tmp_path / "patch")
    np.testing.assert_array_equal(probability == NODATA, hidden)
    np.testing.assert_array_equal(found == NODATA, hidden)
    assert probability[~hidden] == pytest.approx(127 / 255, abs=1 / STEPS), "no cloud in any window"
    assert facts["scl"] == {"cloud": 220 / 1200, "shadow": 80 / 1200, "snow": 10 / 1200, "nodata": 1 / 1200}
    assert facts["valid"]["pixels"] == int((~hidden).sum())
    said = "left out by the scene classification, of the scene: cloud 18.3 %, shadow 6.7 %, snow 0.8 %, nodata 0.1 %"
    assert said in capsys.readouterr().out
    probability, _, facts = mapped(tmp_path / "patch", no_scl=True, offset=0, overwrite=True)
    assert (probability != NODATA).all()
    assert facts["scl"] is None
    assert facts["notes"] == []


def test_a_scene_without_scl_is_mapped_and_it_is_said(mapped: Callable[..., Any], tmp_path: Path, capsys: Any) -> None:
    _, _, facts = mapped(write_product(tmp_path, level="L1C"))
    assert facts["scl"] is None
    assert "no scene classification (SCL): cloud, shadow and snow are mapped as they are" in capsys.readouterr().err
