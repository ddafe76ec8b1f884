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
    (legend,) = drawn[0].legends
    assert [text.get_text() for text in legend.get_texts()] == [
        f"{split}: {len(store.split(split))}" for split in ("train", "test")
    ]


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
    axes = drawn[0].axes[0]
    assert axes.get_xlabel() == label
    offsets = np.concatenate([np.array(one.get_offsets()) for one in axes.collections])
    across, up = np.ptp(offsets, axis=0)
    assert across == pytest.approx(up, rel=0.05)
    assert across < 0.05


def test_the_map_leaves_out_what_is_known_of_no_chip_and_says_which_date_of_a_place_it_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Figure] = []
    monkeypatch.setattr(chip_map, "FigureCanvasAgg", lambda figure: drawn.append(figure) or FigureCanvasAgg(figure))
    values = np.random.default_rng(0).integers(1, 3000, (48, 240, 3)).astype(np.uint16)
    (tmp_path / "in").mkdir()
    for day in ("20230613", "20230813"):
        place = {"crs": CRS.from_epsg(32634), "transform": from_origin(500_000, 6_900_000, 10, 10)}
        write_scene(tmp_path / "in" / f"field_{day}.tif", values + int(day[5]), **place)
    options = {"chip_size": 24, "splits": "random", "pixels": "none"}
    prepare("scenes", source=tmp_path / "in", root=tmp_path, store_name="pool", reader=read_scenes, **options)
    assert chip_map.draw_chip_map(ImageStore.open("pool", tmp_path), tmp_path / "map.png")
    (figure,) = drawn
    assert figure.get_suptitle() == "pool: 40 chips; not known: cloud"
    assert [axes.get_title() for axes in figure.axes[:2]] == ["split", "date, the latest of each place"]
    axes, (legend,) = figure.axes[0], figure.legends
    renderer = FigureCanvasAgg(figure).get_renderer()
    assert not legend.get_window_extent(renderer).overlaps(axes.xaxis.label.get_window_extent(renderer))
