"""Leaks between two stores: test images with a duplicate, a near duplicate or the same ground in a pool."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from trainables.data.chip import Chip
from trainables.data.chip_places import by_shape, closer, metres_per_unit, on_ellipsoid
from trainables.data.preparing.leaks import find_leaks
from trainables.data.store import ImageStore
from trainables.data.store_info import LeakCounts

EXAMPLES = 3


class StoreLeaks(BaseModel):
    """Numbers of test images of the evaluation's store with a twin in the pool; `tested`: number of test images."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tested: int
    counts: LeakCounts
    overlapping: int
    """Test chips whose footprint overlaps a chip of the pool, at any date."""
    footprints: tuple[str, ...]
    """Names of some overlapping test chips."""
    not_compared: str
    """Reason why near-duplicates weren't searched; empty if they were."""

    @property
    def found(self) -> bool:
        """Whether there is any leak."""
        return bool(self.counts.identical or self.counts.near_identical or self.overlapping)

    def described(self) -> list[str]:
        """Return one line per kind of leak, with counts and examples."""
        counts = {
            "identical to an image of the pool": self.counts.identical,
            "nearly identical to one": self.counts.near_identical,
            "overlap a chip of the pool": self.overlapping,
        }
        lines = [f"{count:,} of {self.tested:,} test images: {kind}" for kind, count in counts.items() if count]
        lines += [f"  {example}" for example in (*self.counts.examples, *self.footprints)]
        lines += [f"near-duplicates weren't searched: {self.not_compared}"] if self.not_compared else []
        return lines or [f"none of {self.tested:,} test images is in the pool"]


def leaks_between(pool: ImageStore, evaluation: ImageStore) -> StoreLeaks:
    """Compare the train split of a pool with the test split of an evaluation's store, by pixels, hash and footprint.

    Args:
        pool: Store of the pretraining images, of which the train split is trained on.
        evaluation: Store with the test split; may be the pool itself.
    """
    pretrained, tested = pool.split("train"), evaluation.split("test")
    content = np.concatenate([pool.checksums(pretrained), evaluation.checksums(tested)])
    hashes = np.concatenate([pool.perceptual_hashes(pretrained), evaluation.perceptual_hashes(tested)])
    alike = _layout(pool) == _layout(evaluation)

    def pixels(rows: NDArray[np.int64]) -> NDArray[np.generic]:
        own = rows < len(pretrained)
        found = np.empty((len(rows), *_layout(pool)[:3]), dtype=pool.info.dtype)
        found[own] = pool.images(pretrained[rows[own]]).numpy()
        found[~own] = evaluation.images(tested[rows[~own] - len(pretrained)]).numpy()
        return found

    leaks = find_leaks(
        names=[*pool.names(pretrained), *evaluation.names(tested)],
        splits=["train"] * len(pretrained) + ["test"] * len(tested),
        content=content,
        hashes=hashes if alike else np.zeros_like(hashes),
        tiles=None,
        pixels=pixels,
    )
    pairs = _overlaps(pool, pretrained, evaluation, tested)
    names = [
        f"{evaluation.names([tested[number]])[0]} overlaps {pool.names([pretrained[other]])[0]}"
        for number, other in pairs[:EXAMPLES]
    ]
    reason = "" if alike else f"images are {_layout(pool)} in {pool.info.name}, {_layout(evaluation)} there"
    return StoreLeaks(
        tested=len(tested),
        counts=LeakCounts(**vars(leaks)),
        overlapping=len(pairs),
        footprints=tuple(names),
        not_compared=reason,
    )


def _layout(store: ImageStore) -> tuple[int, int, int, str]:
    return (*store.info.image_size, store.info.channels, store.info.dtype)


def _overlaps(
    pool: ImageStore, pretrained: NDArray[np.int64], evaluation: ImageStore, tested: NDArray[np.int64]
) -> list[tuple[int, int]]:
    """Return pairs of numbers of a test chip and of a train chip of the pool that it overlaps, best in its own CRS."""
    ours, theirs = pool.chips(pretrained), evaluation.chips(tested)
    if not ours or not theirs:
        return []
    pairs = _overlaps_across(ours, theirs) | _overlaps_within(ours, theirs)
    return sorted(pairs.items())


def _overlaps_within(pool: Sequence[Chip], tested: Sequence[Chip]) -> dict[int, int]:
    """Return for test chips the first train chip of the same CRS that they overlap."""
    from scipy.spatial import cKDTree

    others, found = by_shape(tested, range(len(tested))), dict[int, int]()
    for shape, rows in by_shape(pool, range(len(pool))).items():
        tree = cKDTree(np.array([pool[row].centre for row in rows]))
        for other, numbers in others.items():
            if other.crs == shape.crs:
                centres = np.array([tested[number].centre for number in numbers])
                for number, near in zip(numbers.tolist(), closer(tree, shape, centres, other), strict=True):
                    if len(near):
                        found[number] = min(int(rows[near[0]]), found.get(number, len(pool)))
    return found


def _overlaps_across(pool: Sequence[Chip], tested: Sequence[Chip]) -> dict[int, int]:
    """Return for test chips a train chip of another CRS, if the circles within both footprints overlap."""
    from scipy.spatial import cKDTree

    groups, others = by_shape(pool, range(len(pool))), by_shape(tested, range(len(tested)))
    if len({shape.crs for shape in (*groups, *others)}) < 2:
        return {}
    ours, theirs, found = on_ellipsoid(pool), on_ellipsoid(tested), dict[int, int]()
    for shape, rows in groups.items():
        tree, own = cKDTree(ours[rows]), shape.inner * _least_metres(pool[rows[0]])
        for other, numbers in others.items():
            if other.crs == shape.crs:
                continue
            distances, nearest = tree.query(theirs[numbers])
            over = distances < own + other.inner * _least_metres(tested[numbers[0]])
            found |= dict(zip(numbers[over].tolist(), rows[nearest[over]].tolist(), strict=True))
    return found


def _least_metres(chip: Chip) -> float:
    """Return about the least length in metres of a unit of the chip's CRS: of degrees, that along its parallel."""
    unit = metres_per_unit(chip)
    return unit if unit == 1.0 else unit * math.cos(math.radians(chip.latitude or 0.0))
