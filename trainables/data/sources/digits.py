"""Digits data set of scikit-learn: 1,797 scans of handwritten digits, 8 x 8 pixels."""

from collections.abc import Iterator
from functools import partial

import numpy as np

from trainables.data.dataset_facts import DIGITS
from trainables.data.sources.source import ImageEntry, ImageSource, LabelledImage, PrepareRequest
from trainables.errors import BadInputError

WHITE = 16
"""Largest value of a scan; the smallest is 0."""


def read_digits(request: PrepareRequest) -> ImageSource:
    """Return the source for scikit-learn's `load_digits`, as greyscale in three equal channels."""
    if request.source is not None:
        raise BadInputError(f"--source {request.source}: digits come with scikit-learn; leave --source out")
    from sklearn.datasets import load_digits

    scans = load_digits()
    grey = np.rint(scans.images * 255 / WHITE).astype(np.uint8)
    images = np.repeat(grey[..., None], 3, axis=-1)
    wanted = [number for number in range(len(images)) if request.wants(f"digit_{number}")]

    def entries() -> Iterator[ImageEntry]:
        for number in wanted:
            yield ImageEntry(f"digit_{number}", partial(LabelledImage, images[number], (str(scans.target[number]),)))

    return ImageSource(DIGITS.source, DIGITS.class_names, entries, len(wanted), rules=DIGITS.rules)
