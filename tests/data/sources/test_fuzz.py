"""Damaged archives, images and tables: `prepare` says so in one line, or makes a whole store."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tifffile
from PIL import Image
from support.sample_data import (
    pack_tar,
    pack_zip,
    write_bigearthnet,
    write_bigearthnet_v2,
    write_eurosat,
    write_tiny_imagenet,
)

from trainables.data.preparing.prepare import prepare
from trainables.data.preparing.verify import verify
from trainables.errors import BadInputError

ATTEMPTS = 25
Made = tuple[str, Path, dict[str, Any]]
"""Data set, the file that is damaged, and the other arguments of `prepare`."""


def tiny_imagenet(folder: Path) -> Made:
    archive = pack_zip(write_tiny_imagenet(folder), folder / "tiny-imagenet-200.zip")
    return "tiny_imagenet", archive, {"source": archive}


def eurosat(folder: Path) -> Made:
    archive = pack_zip(write_eurosat(folder, images=2), folder / "EuroSAT.zip")
    return "eurosat", archive, {"source": archive}


def bigearthnet_v1(folder: Path) -> Made:
    root = write_bigearthnet(folder, [["Sea and ocean"], ["Mixed forest"], ["Pastures"]] * 3)
    archive = pack_tar(root, folder / "BigEarthNet-S2-v1.0.tar.gz")
    return "bigearthnet_v1", archive, {"source": archive, "splits": "random"}


def bigearthnet_v2(folder: Path) -> Made:
    root = write_bigearthnet_v2(folder, [["Marine waters"], ["Pastures"]] * 4)
    archive = pack_tar(root / "BigEarthNet-S2", folder / "BigEarthNet-S2.tar.zst")
    return "bigearthnet_v2", archive, {"source": archive}


def bigearthnet_table(folder: Path) -> Made:
    root = write_bigearthnet_v2(folder, [["Marine waters"], ["Pastures"]] * 4)
    return "bigearthnet_v2", root / "metadata.parquet", {"source": root}


def one_image(suffix: str, write: Callable[[Path, np.ndarray], None]) -> Callable[[Path], Made]:
    def make(folder: Path) -> Made:
        random = np.random.default_rng(0)
        for number in range(6):
            path = folder / "own" / "ab"[number % 2] / f"{number}{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            write(path, random.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        return "folder", folder / "own" / "a" / f"0{suffix}", {"source": folder / "own"}

    return make


def labels_table(folder: Path) -> Made:
    _, _, options = one_image(".png", lambda path, pixels: Image.fromarray(pixels).save(path))(folder)
    rows = [f"{'ab'[n % 2]}/{n}.png,{'ab'[n % 2]},{('train', 'test')[n // 3]}\n" for n in range(6)]
    table = folder / "labels.csv"
    table.write_text("path,label,split\n" + "".join(rows))
    return "folder", table, {**options, "table": table}


def hub_file(folder: Path) -> Made:
    def encoded(number: int) -> dict[str, Any]:
        content = io.BytesIO()
        Image.fromarray(np.full((8, 8, 3), number * 30, np.uint8)).save(content, "PNG")
        return {"image": {"bytes": content.getvalue(), "path": None}, "label": number % 2}

    features = {"info": {"features": {"label": {"names": ["a", "b"]}}}}
    table = pa.Table.from_pylist([encoded(number) for number in range(8)])
    folder.mkdir(parents=True)
    path = folder / "images.parquet"
    pq.write_table(table.replace_schema_metadata({b"huggingface": json.dumps(features).encode()}), path)
    return "parquet", path, {"source": path}


SOURCES: dict[str, Callable[[Path], Made]] = {
    "zip of JPEGs": tiny_imagenet,
    "zip of class folders": eurosat,
    "tar.gz": bigearthnet_v1,
    "tar.zst": bigearthnet_v2,
    "table of patches": bigearthnet_table,
    "JPEG": one_image(".jpg", lambda path, pixels: Image.fromarray(pixels).save(path)),
    "PNG": one_image(".png", lambda path, pixels: Image.fromarray(pixels).save(path)),
    "TIFF": one_image(".tif", lambda path, pixels: tifffile.imwrite(path, pixels, compression="zlib")),
    "CSV": labels_table,
    "Parquet": hub_file,
}


def damaged(content: bytes, random: np.random.Generator) -> bytes:
    """Cut it off, turn some bytes, or both; headers are hit as often as everything else together."""
    changed = bytearray(content)
    if random.random() < 0.4:
        del changed[int(random.integers(0, len(changed))) :]
    reach = min(len(changed), 512) if random.random() < 0.5 else len(changed)
    for _ in range(int(random.integers(0, 9)) if reach else 0):
        changed[int(random.integers(0, reach))] ^= int(random.integers(1, 256))
    return bytes(changed)


def attempted(name: str, root: Path, options: dict[str, Any]) -> str:
    """Return what `prepare` refuses, empty where it makes a store, which then has to be whole."""
    try:
        prepare(name, root=root, **options)
    except BadInputError as error:
        return str(error)
    verify(name, root)
    return ""


@pytest.mark.filterwarnings("ignore::UserWarning")  # of decoders, about odd metadata
@pytest.mark.parametrize("kind", list(SOURCES))
def test_damage_is_one_clear_line_or_does_no_harm(kind: str, tmp_path: Path) -> None:
    name, path, options = SOURCES[kind](tmp_path / "in")
    intact = path.read_bytes()
    random = np.random.default_rng(7)
    refused = 0
    for attempt in range(ATTEMPTS):
        path.write_bytes(damaged(intact, random))
        root = tmp_path / str(attempt)
        fault = attempted(name, root, options)
        refused += bool(fault)
        assert "\n" not in fault
        assert bool(fault) != (root / name).exists()
        assert not list(root.glob(".*.partial"))
    assert refused > ATTEMPTS // 5
