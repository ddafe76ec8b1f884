"""Split rules: assignment of images to train, validation and test by name, label or place."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trainables.data.stable_hash import PLACE_SALT, SUBSET_SALT, TEST_SALT, stable_fraction
from trainables.errors import BadInputError

SPLITS = ("train", "validation", "test")
LEFT_OUT = -1
TRAIN, VALIDATION, TEST = range(len(SPLITS))
Codes = NDArray[np.int8]
Labels = tuple[int, ...] | None
"""Class indices of an image; None if it is unlabelled."""

THESIS_PATCHES = 590_326
"""Number of patches in BigEarthNet v1.0."""
THESIS_KEPT, THESIS_TESTED = 146_440, 36_610
"""Numbers of patches in the thesis' subset and in its test split: 109,830 + 36,610. A quarter would be 147,581."""
QUARTER = 0.25


def is_thesis_candidate(name: str) -> bool:
    """Return whether a patch may belong to the thesis' quarter, from its name alone."""
    return bool(stable_fraction([name], salt=SUBSET_SALT)[0] < QUARTER)


def thesis_split(names: Sequence[str], total: int) -> Codes:
    """Split a quarter of the source's `total` patches 3:1 into train and test, as the thesis does.

    For the complete BigEarthNet v1.0, the counts are exactly 109,830 and 36,610, by rank of the stable hash. For other
    sizes, the quarter and its test share are thresholds on the hash, so the counts are approximate.
    """
    subset, test = stable_fraction(names, salt=SUBSET_SALT), stable_fraction(names, salt=TEST_SALT)
    codes = np.where(test < QUARTER, TEST, TRAIN).astype(np.int8)
    codes[subset >= QUARTER] = LEFT_OUT
    if total == THESIS_PATCHES:
        kept = np.argsort(subset, kind="stable")[:THESIS_KEPT]
        tested = kept[np.argsort(test[kept], kind="stable")[:THESIS_TESTED]]
        codes[:] = LEFT_OUT
        codes[kept], codes[tested] = TRAIN, TEST
    return codes


def exact_split(names: Sequence[str], labels: Sequence[Labels], share: float) -> Codes:
    """Test on exactly `share` of each class (rounded), by rank of the stable hash; for data sets that never grow."""
    fractions = stable_fraction(names, salt=TEST_SALT)
    codes = np.full(len(names), TRAIN, dtype=np.int8)
    for members in _members(labels):
        codes[members[np.argsort(fractions[members], kind="stable")][: round(share * len(members))]] = TEST
    return codes


def random_split(names: Sequence[str], labels: Sequence[Labels], share: float) -> Codes:
    """Test on images whose stable hash is below `share`, so that images keep their split when others are added.

    The threshold is the same in each class. If a class of two or more images would have no test image, the one with the
    smallest hash is tested on; without a train image, the one with the largest hash is trained on. Only in such a class
    can an added image change the split of another.
    """
    fractions = stable_fraction(names, salt=TEST_SALT)
    codes = np.where(fractions < share, TEST, TRAIN).astype(np.int8)
    for members in _members(labels):
        tested = codes[members] == TEST
        if len(members) > 1 and not tested.any():
            codes[members[np.argmin(fractions[members])]] = TEST
        elif len(members) > 1 and tested.all():
            codes[members[np.argmax(fractions[members])]] = TRAIN
    return codes


def place_split(places: Sequence[str], share: float) -> Codes:
    """Test on whole places whose stable hash is below `share`; BadInputError if train or test is empty."""
    known = sorted(set(places))
    if "" in known:
        raise BadInputError("--splits place: some images have no place; give one to each in the table's column place")
    fractions = dict(zip(known, stable_fraction(known, salt=PLACE_SALT).tolist(), strict=True))
    tested = {place for place, fraction in fractions.items() if fraction < share}
    if len(known) > 1 and not tested:
        tested = {min(known, key=fractions.__getitem__)}
    if not known or len(tested) == len(known):
        raise BadInputError(f"--splits place: {len(known)} places can't be split; choose --splits random")
    return np.array([TEST if place in tested else TRAIN for place in places], dtype=np.int8)


def given_split(names: Sequence[str], splits: Sequence[str | None]) -> Codes:
    """Return the source's own splits; BadInputError if an image has none."""
    missing = [name for name, split in zip(names, splits, strict=True) if split is None]
    if missing:
        raise BadInputError(
            f"{missing[0]}: has no split, {len(splits) - len(missing)} of {len(splits)} images have one; give one to "
            "each, or choose --splits random"
        )
    return np.array([SPLITS.index(split) for split in splits if split is not None], dtype=np.int8)


def test_on_validation(codes: Codes) -> Codes:
    """Use the published validation split for testing; a published test split is left out."""
    return np.where(codes == VALIDATION, TEST, np.where(codes == TEST, LEFT_OUT, codes)).astype(np.int8)


def _members(labels: Sequence[Labels]) -> list[NDArray[np.int64]]:
    """Return the image indices of each class and of unlabelled images; multi-label images form a single group."""
    if any(own is not None and len(own) != 1 for own in labels):
        return [np.arange(len(labels))]
    classes = np.array([-1 if own is None else own[0] for own in labels])
    return [np.flatnonzero(classes == label) for label in np.unique(classes)]
