"""The embedded data set: 1,797 real scans of handwritten digits, 8 x 8, that scikit-learn ships."""

from functools import partial
from pathlib import Path

import numpy as np

from trainables.data.known import DIGITS
from trainables.data.source import Entry, Picture, Source
from trainables.data.stable_hash import split_names
from trainables.errors import BadInputError

WHITE = 16
"""The largest value of a scan; 0 is the smallest."""


def read_digits(folder: Path | None) -> Source:
    """List the scans of scikit-learn's `load_digits` as greyscale in three equal channels; `folder` must be None."""
    if folder is not None:
        raise BadInputError(f"--source {folder}: digits come with scikit-learn; leave --source out")
    from sklearn.datasets import load_digits

    scans = load_digits()
    grey = np.rint(scans.images * 255 / WHITE).astype(np.uint8)
    images = np.repeat(grey[..., None], 3, axis=-1)
    names = [f"digit_{index}" for index in range(len(images))]
    splits = split_names(names, DIGITS.test_share or 0.0)
    entries = [
        Entry(name, split, partial(Picture, image, (int(label),)))
        for name, split, image, label in zip(names, splits, images, scans.target, strict=True)
    ]
    return Source(DIGITS.source, DIGITS.class_names, entries)
