"""The map of a pool's chips says only what is known of them."""

from pathlib import Path

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from support.products import write_product

import sweep.figures.chip_map as chip_map
from sweep.maps.scene_source import read_scenes
from trainables.data.preparing.prepare import prepare
from trainables.data.store import ImageStore


def test_colour_bars_have_no_date_or_share_of_cloud_that_no_chip_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Figure] = []
    monkeypatch.setattr(chip_map, "FigureCanvasAgg", lambda figure: drawn.append(figure) or FigureCanvasAgg(figure))
    write_product(tmp_path / "in", date="20230613")
    options = {"chip_size": 24, "splits": "random", "pixels": "none"}
    prepare("scenes", source=tmp_path / "in", root=tmp_path, store_name="pool", reader=read_scenes, **options)
    assert chip_map.draw_chip_map(ImageStore.open("pool", tmp_path), tmp_path / "map.png")
    dates, clouds = drawn[0].axes[3:]
    assert [tick.get_text() for tick in dates.get_yticklabels()] == ["2023-06-13"]
    assert list(clouds.get_yticks()) == [0.0]
