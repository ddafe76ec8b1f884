"""One patch of BigEarthNet: its bands as one image, and the labels of its JSON file."""

import json
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trainables.data.class_names import LABELS_43
from trainables.data.sources.decode import decode_band, load
from trainables.data.sources.source import (
    File,
    LabelledImage,
)
from trainables.errors import BadInputError

SIDE = 120
"""Side of a patch in pixels at 10 m; bands of 20 m and 60 m have sides of 60 and 20."""
V1_LABELS = "labels_metadata.json"
KNOWN_43 = frozenset(LABELS_43)


def read_patch(bands: Sequence[File], labels_file: File | None, labels: tuple[str, ...] | None) -> LabelledImage:
    """Read one patch: pixels (120, 120, bands) uint16, and labels from its JSON unless `labels` are given."""
    values = [decode_band(band, largest=SIDE) for band in bands]
    if labels is None:
        assert labels_file is not None
        labels = _labels(labels_file)
    return LabelledImage(np.stack([_enlarged(band) for band in values], axis=-1), labels)


def _enlarged(band: NDArray[np.uint16]) -> NDArray[np.uint16]:
    times = SIDE // len(band)
    return band if times == 1 else np.repeat(np.repeat(band, times, axis=0), times, axis=1)


def _labels(file: File) -> tuple[str, ...]:
    try:
        content = json.loads(load(file))
    except (OSError, ValueError, RecursionError) as error:
        raise BadInputError(
            f"{file}: expected JSON with the patch's labels ({error}); fetch the patch again"
        ) from error
    names = content.get("labels") if isinstance(content, dict) else None
    if not isinstance(names, list) or not names:
        raise BadInputError(f'{file}: expected a list "labels" with at least one; fetch the patch again')
    unknown = [name for name in names if not isinstance(name, str) or name not in KNOWN_43]
    if unknown:
        raise BadInputError(f"{file}: {unknown[0]!r} is none of the 43 labels of BigEarthNet v1.0")
    return tuple(names)
