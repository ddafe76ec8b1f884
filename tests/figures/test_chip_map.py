"""The map of a pool's chips says only what is known of them."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from rasterio.crs import CRS
from rasterio.transform import from_origin
from support.products import write_product
from support.scenes import write_scene

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


@pytest.mark.parametrize(
    ("crs", "place", "label"),
    [(3031, (-600.0, 600.0), "degrees from the pole"), (4326, (179.9999, 10.0), "longitude (degrees)")],
)
def test_places_at_a_pole_or_at_180_degrees_lie_side_by_side(
    crs: int, place: tuple[float, float], label: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Figure] = []
    monkeypatch.setattr(chip_map, "FigureCanvasAgg", lambda figure: drawn.append(figure) or FigureCanvasAgg(figure))
    pixel = 10.0 if crs == 3031 else 1e-5
    values = np.random.default_rng(0).integers(1, 3000, (120, 120, 3)).astype(np.uint16)
    (tmp_path / "in").mkdir()
    write_scene(tmp_path / "in" / "a.tif", values, crs=CRS.from_epsg(crs), transform=from_origin(*place, pixel, pixel))
    options = {"chip_size": 24, "splits": "random", "pixels": "none"}
    prepare("scenes", source=tmp_path / "in", root=tmp_path, store_name="pool", reader=read_scenes, **options)
    assert chip_map.draw_chip_map(ImageStore.open("pool", tmp_path), tmp_path / "map.png")
    axes = drawn[0].axes[1]
    assert axes.get_xlabel() == label
    across, up = (np.ptp(part) for part in np.array(axes.collections[-1].get_offsets()).T)
    assert across == pytest.approx(up, rel=0.05)
    assert across < 0.05
