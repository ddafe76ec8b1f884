"""Leaks between two stores: test images with a duplicate, a near duplicate or the same ground in a pool."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainables.data.catalog import LeakCounts
from trainables.data.chip import Chip
from trainables.data.preparing.leaks import find_leaks
from trainables.data.store import ImageStore

EXAMPLES = 3


@dataclass(frozen=True)
class StoreLeaks:
    """Numbers of test images of the evaluation's store with a twin in the pool; `tested`: number of test images."""

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
        return lines or [f"none of {self.tested:,} test images stands in the pool"]


def leaks_between(pool: ImageStore, evaluation: ImageStore) -> StoreLeaks:
    """Compare all images of a pool with the test split of an evaluation's store, by pixels, hash and footprint.

    Args:
        pool: Store of the pretraining images.
        evaluation: Store with the test split.
    """
    pretrained, tested = np.arange(len(pool)), evaluation.split("test")
    content = np.concatenate([pool.checksums(pretrained), evaluation.checksums(tested)])
    hashes = np.concatenate([pool.perceptual_hashes(pretrained), evaluation.perceptual_hashes(tested)])
    alike = _layout(pool) == _layout(evaluation)

    def pixels(rows: NDArray[np.int64]) -> NDArray[np.generic]:
        own = rows < len(pool)
        found = np.empty((len(rows), *_layout(pool)[:3]), dtype=pool.info.dtype)
        found[own] = pool.images(rows[own]).numpy()
        found[~own] = evaluation.images(tested[rows[~own] - len(pool)]).numpy()
        return found

    leaks = find_leaks(
        names=[*pool.names(pretrained), *evaluation.names(tested)],
        splits=["train"] * len(pool) + ["test"] * len(tested),
        content=content,
        hashes=hashes if alike else np.zeros_like(hashes),
        tiles=None,
        pixels=pixels,
    )
    pairs = _overlaps(pool, evaluation, tested)
    names = [
        f"{evaluation.names([tested[number]])[0]} overlaps {pool.names([other])[0]}"
        for number, other in pairs[:EXAMPLES]
    ]
    reason = "" if alike else f"images are {_layout(pool)} in {pool.info.name}, {_layout(evaluation)} there"
    return StoreLeaks(len(tested), LeakCounts(**vars(leaks)), len(pairs), tuple(names), reason)


def _layout(store: ImageStore) -> tuple[int, int, int, str]:
    return (*store.info.image_size, store.info.channels, store.info.dtype)


def _overlaps(pool: ImageStore, evaluation: ImageStore, tested: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Return pairs of a test chip's number and the row of an overlapping pool chip in the same CRS."""
    from scipy.spatial import cKDTree

    ours, theirs = pool.chips(np.arange(len(pool))), evaluation.chips(tested)
    pairs = []
    for crs in sorted({chip.crs for chip in theirs or [] if chip.crs}):
        rows = [row for row, chip in enumerate(ours or []) if chip.crs == crs]
        if not rows or ours is None or theirs is None:
            continue
        tree = cKDTree([ours[row].centre for row in rows])
        largest = max(ours[row].ground_side for row in rows)
        for number, chip in enumerate(theirs):
            if chip.crs == crs:
                near = tree.query_ball_point(chip.centre, (largest + chip.ground_side) / 2, p=np.inf)
                over = [rows[k] for k in near if _overlap(chip, ours[rows[k]])]
                pairs += [(number, min(over))] if over else []
    return pairs


def _overlap(one: Chip, other: Chip) -> bool:
    reach = (one.ground_side + other.ground_side) / 2 * (1 - 1e-9)
    return all(abs(a - b) < reach for a, b in zip(one.centre, other.centre, strict=True))
