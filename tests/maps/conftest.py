"""Fixtures of the maps' tests: an exported model, and a map made by it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.scenes import Pixels, read_map, write_model

from sweep.predict import main as predict


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "model")


@pytest.fixture
def mapped(model: Path, tmp_path: Path) -> Callable[..., tuple[Pixels, Pixels, dict[str, Any]]]:
    def run(scene: Path, **options: Any) -> tuple[Pixels, Pixels, dict[str, Any]]:
        output = tmp_path / "map.tif"
        predict(options.pop("by", model), scene, output, **options)
        return *read_map(output), json.loads(output.with_suffix(".json").read_text())

    return run
