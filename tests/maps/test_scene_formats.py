"""Scenes as they come, mapped: folders of bands, products, coarse bands, other pixel rules."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.transform import from_origin
from support.sample_data import write_bigearthnet
from support.scenes import SIDE, THESIS, grey, write_band, write_jp2, write_model, write_scene

from sweep.deployment.exported_model import DeployedModel
from sweep.maps.map_classes import NODATA, STEPS
from sweep.maps.open_scene import open_scene
from trainables.data.class_names import RGB_BANDS
from trainables.data.preparing.pixel_recipe import PixelRecipe
from trainables.data.preparing.prepare import prepare
from trainables.data.store import ImageStore
from trainables.errors import BadInputError


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


def test_bands_are_found_by_description_and_never_guessed(
    mapped: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = np.random.default_rng(0).integers(1, 3000, (60, 80, 3), dtype=np.uint16)
    expected, _, _ = mapped(write_scene(tmp_path / "scene.tif", values))
    assert "doesn't describe its bands: they are taken to be B04, B03, B02 in this order" in capsys.readouterr().err
    turned = write_scene(tmp_path / "turned.tif", np.concatenate([values[..., ::-1], values[..., :1]], axis=2))
    with rasterio.open(turned, "r+") as file:
        file.descriptions = ("Blue", "Green", "Red", "NIR")
    found, _, _ = mapped(turned)
    np.testing.assert_array_equal(found, expected)
    assert "describe" not in capsys.readouterr().err
    other = write_scene(tmp_path / "other.tif", values)
    with rasterio.open(other, "r+") as file:
        file.descriptions = ("B8", "B4", "B3")
    with pytest.raises(BadInputError, match=r"has no band B02; its bands are described as B08, B04, B03"):
        mapped(other)


@pytest.mark.parametrize(
    ("described", "bands", "missing"),
    [
        (("swir1",), ("nir",), "nir"),
        (("swir1", "swir2"), ("nir", "swir1"), "nir"),
        (("nir",), ("B08",), "B08"),
        (("ndvi", "height"), ("height", "slope"), "slope"),
    ],
)
def test_a_file_that_names_other_bands_isnt_read_by_position(
    described: tuple[str, ...], bands: tuple[str, ...], missing: str, tmp_path: Path
) -> None:
    scene = write_scene(tmp_path / "scene.tif", grey(30, 30)[..., : len(described)])
    with rasterio.open(scene, "r+") as file:
        file.descriptions = described
    words = f"has no band {missing}; its bands are described as {', '.join(described)}"
    with pytest.raises(BadInputError, match=words), open_scene(scene, bands, len(bands)):
        pass


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
