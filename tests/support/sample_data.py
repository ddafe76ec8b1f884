"""Images for tests: the real samples where they are at hand, and small data sets written in the originals' layouts."""

import io
import json
import os
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from support.paths import ROOT
from trainables.data.class_names import EUROSAT_CLASSES, RGB_BANDS


def sample_folder(name: str) -> Path:
    """Return a folder of real sample images, or skip the test: SWEEP_SAMPLE_DATA, else ../shared/data."""
    chosen = os.environ.get("SWEEP_SAMPLE_DATA")
    base = Path(chosen) if chosen else ROOT.parent / "shared" / "data"
    if not (base / name).is_dir():
        pytest.skip(f"no real samples in {base / name}; set SWEEP_SAMPLE_DATA to their folder")
    return base / name


def golden(name: str) -> dict[str, NDArray[Any]]:
    """Return the reference implementation's numbers, which lie beside the samples, or skip the test."""
    path = sample_folder(".").resolve().parent / "reference" / "golden" / name
    if not path.is_file():
        pytest.skip(f"no golden vectors in {path}; set SWEEP_SAMPLE_DATA to the folder beside reference")
    with np.load(path) as arrays:
        return dict(arrays)


def write_tiny_imagenet(parent: Path, *, images: int = 6) -> Path:
    """Write three classes in the layout of Tiny ImageNet, every third image greyscale; return tiny-imagenet-200."""
    root = parent / "tiny-imagenet-200"
    words = {"n01": "crane, a bird", "n02": "goldfish, Carassius auratus", "n03": "crane"}
    random = np.random.default_rng(0)
    annotations = []
    for label, wnid in enumerate(words):
        for index in range(images):
            _write_jpeg(root / "train" / wnid / "images" / f"{wnid}_{index}.JPEG", random, grey=index % 3 == 0)
        _write_jpeg(root / "val" / "images" / f"val_{label}.JPEG", random, grey=False)
        annotations.append(f"val_{label}.JPEG\t{wnid}\t0\t32\t44\t62\n")
    _write_jpeg(root / "test" / "images" / "test_0.JPEG", random, grey=False)
    (root / "val" / "val_annotations.txt").write_text("".join(annotations))
    (root / "words.txt").write_text("".join(f"{wnid}\t{names}\n" for wnid, names in {**words, "n99": "x"}.items()))
    return root


def write_eurosat(parent: Path, *, images: int = 4) -> Path:
    """Write `images` JPEGs for each of the ten classes in the layout of EuroSAT; return 2750."""
    random = np.random.default_rng(0)
    for name in EUROSAT_CLASSES:
        for index in range(1, images + 1):
            _write_jpeg(parent / "2750" / name / f"{name}_{index}.jpg", random, grey=False)
    return parent / "2750"


def write_eurosat_ms(parent: Path, *, images: int = 4) -> Path:
    """Write `images` 13-band GeoTIFFs for each class in the layout of EuroSATallBands.zip; return its top folder."""
    random = np.random.default_rng(0)
    for name in EUROSAT_CLASSES:
        folder = parent / "ds" / "images" / "remote_sensing" / "otherDatasets" / "sentinel_2" / "tif" / name
        folder.mkdir(parents=True)
        for index in range(1, images + 1):
            values = random.integers(0, 4000, (64, 64, 13), dtype=np.uint16)
            tifffile.imwrite(folder / f"{name}_{index}.tif", values, planarconfig="contig", photometric="minisblack")
    return parent / "ds"


def write_bigearthnet(parent: Path, labels: list[list[str]], *, bands: tuple[str, ...] = RGB_BANDS) -> Path:
    """Write one patch for each list of labels in the layout of BigEarthNet v1.0; return BigEarthNet-v1.0."""
    random = np.random.default_rng(0)
    for index, names in enumerate(labels):
        patch = parent / "BigEarthNet-v1.0" / f"S2A_MSIL2A_20170613T101032_{index}_50"
        _write_bands(patch, bands, random)
        (patch / f"{patch.name}_labels_metadata.json").write_text(json.dumps({"labels": names}))
    return parent / "BigEarthNet-v1.0"


def write_bigearthnet_v2(parent: Path, labels: list[list[str]], *, bands: tuple[str, ...] = RGB_BANDS) -> Path:
    """Write one patch for each list of labels in v2's layout over three tiles, the last two patches under snow.

    The official splits take turns: train, train, validation, test. Returns the folder that holds all.
    """
    random = np.random.default_rng(0)
    rows = []
    for index, names in enumerate(labels):
        tile = f"S2A_MSIL2A_20170613T101031_N9999_R022_T33UU{'PQR'[index % 3]}"
        patch = f"{tile}_{index:02d}_50"
        _write_bands(parent / "BigEarthNet-S2" / tile / patch, bands, random)
        split = ("train", "train", "validation", "test")[index % 4]
        hidden = index >= len(labels) - 2
        flags = {"contains_seasonal_snow": hidden, "contains_cloud_or_shadow": False}
        rows.append({"patch_id": patch, "labels": names, "split": split, "country": "Austria", **flags})
    schema = pa.schema(
        [
            *((name, pa.string()) for name in ("patch_id", "split", "country")),
            ("labels", pa.list_(pa.string())),
            *((name, pa.bool_()) for name in ("contains_seasonal_snow", "contains_cloud_or_shadow")),
        ]
    )
    pq.write_table(pa.Table.from_pylist(rows[:-2], schema), parent / "metadata.parquet")
    hidden_name = "metadata_for_patches_with_snow_cloud_or_shadow.parquet"
    pq.write_table(pa.Table.from_pylist(rows[-2:], schema), parent / hidden_name)
    return parent


def pack_zip(folder: Path, path: Path) -> Path:
    """Write `folder`, under its own name, as a zip; return `path`."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, file.relative_to(folder.parent))
    return path


def pack_tar(folder: Path, path: Path) -> Path:
    """Write `folder`, under its own name, as a tar, packed as the suffix says (.gz, .bz2, .zst, none)."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        archive.add(folder, folder.name)
    codec = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd"}.get(path.suffix)
    with pa.output_stream(str(path), compression=codec) as packed:
        packed.write(content.getvalue())
    return path


def _write_bands(patch: Path, bands: tuple[str, ...], random: np.random.Generator) -> None:
    patch.mkdir(parents=True)
    for band in bands:
        side = {"B01": 20, "B09": 20}.get(band, 120 if band in ("B02", "B03", "B04", "B08") else 60)
        values = random.integers(0, 4000, (side, side), dtype=np.uint16)
        tifffile.imwrite(patch / f"{patch.name}_{band}.tif", values)


def _write_jpeg(path: Path, random: np.random.Generator, *, grey: bool) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels: NDArray[np.uint8] = random.integers(0, 256, (64, 64) if grey else (64, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, format="JPEG")
