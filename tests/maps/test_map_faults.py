"""Maps that can't be made are one clear line, and leave no file."""

import importlib.util
import json
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rasterio.transform import from_origin
from support.paths import ROOT
from support.scenes import (
    SIDE,
    Pixels,
    grey,
    write_band,
    write_model,
    write_scene,
)

from sweep.deployment.exported_model import DeployedModel
from sweep.maps.geotiff import COG
from sweep.maps.map_classes import STEPS
from sweep.predict import main as predict
from trainables.data.class_names import RGB_BANDS
from trainables.errors import BadInputError


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


def test_nothing_is_left_of_a_map_that_gdal_cant_write(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = write_scene(tmp_path / "scene.tif", grey(60, 60))
    before = sorted(path.name for path in tmp_path.iterdir())
    monkeypatch.setitem(COG, "BLOCKSIZE", "7")
    with pytest.raises(BadInputError, match=r"^--output .*map\.tif: can't be written \(.+\)$"):
        predict(model, scene, tmp_path / "map.tif")
    assert sorted(path.name for path in tmp_path.iterdir()) == before


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
    yield model, folder / "few" / "a_B04.tif", {}, r"has 1 bands, and 3 \(B04, B03, B02\) are read; give the folder"
    yield model, folder / "apart", {}, r"a_B02\.tif: doesn't share the pixel grid of"
    yield model, write_scene(folder / "small.tif", grey(20, 60)), {}, "the scene has 20 pixels in one direction"
    yield model, write_scene(folder / "empty.tif", grey(60, 60, 0), nodata=0), {}, "has no valid pixel"
    floats = write_scene(folder / "float.tif", grey(60, 60).astype(np.float32))
    yield model, floats, {}, r"values are float32, and those of .* were unsigned integers; .*\(--scale VALUE\)"
    write_band(folder / "foreign" / "a_SCL.tif", np.full((10, 60), 4, np.uint8))
    write_band(folder / "clouded" / "a_SCL.tif", np.full((60, 60), 9, np.uint8))
    for band in RGB_BANDS:
        for name in ("foreign", "clouded"):
            write_band(folder / name / f"a_{band}.tif", grey(60, 60)[..., 0])
    yield (
        model,
        folder / "foreign",
        {},
        r"a_SCL\.tif: doesn't share the pixel grid of .*; or map without it \(--no-scl\)",
    )
    yield model, folder / "clouded", {}, r"no valid pixels; .*cloud, shadow or snow; or map these \(--no-scl\)"
    coarse = {"transform": from_origin(0.0, 0.0, 30.0, 30.0)}
    yield model, write_scene(folder / "coarse.tif", grey(60, 60), **coarse), {}, "30 m, too coarse for the model's 10 m"
    yield (
        plain,
        scene,
        {},
        "16 bits, but the model and its data set have 8: give the value that becomes 255 with --scale VALUE",
    )
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
    with pytest.raises(BadInputError, match="--no-scl: is for the map of a scene"):
        predict(model, tmp_path / "images", tmp_path / "found.csv", no_scl=True)
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
