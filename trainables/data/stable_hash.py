"""Stable hash of an image name in [0, 1), so that subsets and splits don't change when images are added."""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

SUBSET_SALT = "subset"
"""Salt for the images that `--fraction` keeps."""
TEST_SALT = "test"
"""Salt for the test split of data sets without an official one."""
VALIDATION_SALT = "validation"
"""Salt for the train images that a trial holds out for selection."""
PLACE_SALT = "place"
"""Salt for the places to test on, in grouped splits."""
LABEL_SALT = "label"
"""Salt for the images whose labels a label budget includes."""
PERCENTILE_SALT = "percentiles"
"""Salt for the images over which percentiles are computed."""
SALTS = (SUBSET_SALT, VALIDATION_SALT, LABEL_SALT)
"""Salts that trials use; their hashes are stored in the index, since half a million hashes take seconds."""


def stable_fraction(names: Sequence[str], *, salt: str = VALIDATION_SALT) -> NDArray[np.float64]:
    """Return the stable hash (N,) of each name: the first 8 bytes of sha256("<salt>:<name>") as a fraction of 2^64.

    Each purpose has its own salt, so that the choices are independent. With a common hash, a subset of `hash < 0.25`
    would lie entirely on one side of a later split at `hash < 0.25`.
    """
    digests = b"".join([hashlib.sha256(f"{salt}:{name}".encode()).digest() for name in names])
    first = np.frombuffer(digests, ">u8").reshape(len(names), 4)[:, 0]
    # float64 holds 53 of the 64 bits; rounding all 64 could give 1.0.
    return (first >> np.uint64(11)).astype(np.float64) * 2.0**-53


def hashed_groups(keys: Sequence[str], salt: str) -> list[NDArray[np.int64]]:
    """Return the positions of each key's images, ascending, in the order of the keys' stable hashes."""
    members: dict[str, list[int]] = {}
    for number, key in enumerate(keys):
        members.setdefault(key, []).append(number)
    groups = [np.array(own, dtype=np.int64) for own in members.values()]
    return [groups[number] for number in np.argsort(stable_fraction(list(members), salt=salt), kind="stable").tolist()]
