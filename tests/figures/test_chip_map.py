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


def test_a_date_or_share_of_cloud_that_all_chips_share_is_in_the_title_without_a_colour_bar(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Figure] = []
    monkeypatch.setattr(chip_map, "FigureCanvasAgg", lambda figure: drawn.append(figure) or FigureCanvasAgg(figure))
    write_product(tmp_path / "in", date="20230613")
    options = {"chip_size": 24, "splits": "random", "pixels": "none"}
    prepare("scenes", source=tmp_path / "in", root=tmp_path, store_name="pool", reader=read_scenes, **options)
    store = ImageStore.open("pool", tmp_path)
    assert store.info.decisions["dates"] == "2023-06-13"
    assert chip_map.draw_chip_map(store, tmp_path / "map.png")
    assert [axes.get_title() for axes in drawn[0].axes] == ["split", "date: 2023-06-13", "cloud (%): 0"]
    assert [axes.get_legend() is not None for axes in drawn[0].axes] == [True, False, False]
