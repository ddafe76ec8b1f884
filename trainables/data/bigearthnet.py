"""BigEarthNet-S2 v1.0 in its published layout: a folder a patch with one TIFF a band and a JSON of labels."""

import json
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainables.data.decode import decode_band
from trainables.data.known import BIGEARTHNET
from trainables.data.source import Entry, Picture, Source, find_folder, sub_folders
from trainables.data.stable_hash import split_names
from trainables.errors import BadInputError

BANDS = ("B04", "B03", "B02")
"""Red, green and blue, 10 m a pixel."""
BRIGHTEST = 2000.0
"""The reflectance (times 10,000) that becomes 255, as in TensorFlow Datasets' `bigearthnet/rgb`."""
PROBED_FOLDERS = 20
"""How many sub-folders are looked at to recognise the layout; the full set has 590,326."""

LABEL_INDEX = {name: index for index, name in enumerate(BIGEARTHNET.class_names)}


def read_bigearthnet(folder: Path | None) -> Source:
    """List the patches of `folder`: BigEarthNet-v1.0, or the folder that holds it."""
    if folder is None:
        raise BadInputError(f"bigearthnet needs --source FOLDER: {BIGEARTHNET.layout}")
    root = find_folder(folder, _has_patches, str(BIGEARTHNET.layout))
    patches = list(sub_folders(root))
    share = BIGEARTHNET.test_share or 0.0
    splits = split_names([patch.name for patch in patches], share)
    entries = [
        Entry(patch.name, split, partial(read_patch, patch)) for patch, split in zip(patches, splits, strict=True)
    ]
    note = f"{1 - share:.0%} train and {share:.0%} test, by a stable hash of the patch name"
    return Source(str(root.resolve()), BIGEARTHNET.class_names, entries, (note,))


def read_patch(patch: Path) -> Picture:
    """Read one patch folder: (120, 120, 3) uint8 and the indices of its labels."""
    values = [decode_band(patch / f"{patch.name}_{band}.tif", BIGEARTHNET.image_size) for band in BANDS]
    return Picture(np.stack([to_uint8(band) for band in values], axis=-1), _labels(_labels_file(patch)))


def to_uint8(values: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """Return clip(value / 2000 * 255, 0, 255), truncated: from a table of all 65,536 values, which is exact."""
    return _PIXEL_OF_VALUE[values]


_PIXEL_OF_VALUE: NDArray[np.uint8] = np.clip(np.arange(2**16) / BRIGHTEST * 255.0, 0, 255).astype(np.uint8)


def _has_patches(folder: Path) -> bool:
    return any(_labels_file(patch).is_file() for patch in islice(sub_folders(folder), PROBED_FOLDERS))


def _labels_file(patch: Path) -> Path:
    return patch / f"{patch.name}_labels_metadata.json"


def _labels(path: Path) -> tuple[int, ...]:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise BadInputError(
            f"{path}: expected JSON with the patch's labels ({error}); fetch the patch again"
        ) from error
    names = content.get("labels") if isinstance(content, dict) else None
    if not isinstance(names, list) or not names:
        raise BadInputError(f'{path}: expected a list "labels" with at least one; fetch the patch again')
    unknown = [name for name in names if not isinstance(name, str) or name not in LABEL_INDEX]
    if unknown:
        raise BadInputError(f"{path}: {unknown[0]!r} is none of the 43 labels of BigEarthNet v1.0")
    return tuple(sorted({LABEL_INDEX[name] for name in names}))
