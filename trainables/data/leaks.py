"""Images that stand in two splits at once: looked for when a data set is prepared."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

HASH_ROWS, HASH_COLUMNS = 8, 9
SAMPLED_SIDE = 32
"""Of larger images only every second, third, ... row and column is looked at."""
FEWEST_BITS = 8
"""A hash with fewer bits set, or cleared, says too little: the image is flat, and is compared with none."""
NEAR_BITS = 3
BANDS = 4
"""A pair within NEAR_BITS agrees in at least one of so many parts of the hash."""
THUMBNAIL = 32
NEAR_DIFFERENCE = 8 / 255
"""Largest mean difference of two nearly identical images, as a share of the full range."""
LARGEST_BUCKET = 512
"""Images that agree in one part of the hash; in larger buckets only equal hashes are compared."""
PAIRS_AT_ONCE = 256
EXAMPLES = 5
PATCH = re.compile(r"(S2[AB]_MSIL2A_\w+)_(\d+)_(\d+)")

Rows = NDArray[np.int64]
Pair = tuple[int, int]
"""A held-out image, and the image of another split that it is like."""


@dataclass(frozen=True)
class Leaks:
    """How many held-out images (validation and test) have a twin in another split, each counted once a kind."""

    identical: int
    near_identical: int
    neighbours: int
    examples: tuple[str, ...]


def perceptual_hashes(images: NDArray[np.generic]) -> NDArray[np.uint64]:
    """Return a 64-bit difference hash (N,) of (N, H, W, C) images, 0 where an image has too little structure.

    The mean over channels, reduced by area to 8 rows of 9 cells; a bit says that a cell is darker than the next one.
    """
    step = max(1, min(images.shape[1:3]) // SAMPLED_SIDE)
    images = np.ascontiguousarray(images[:, ::step, ::step])
    count, height, width, channels = images.shape
    precise = np.float32 if images.dtype == np.uint8 else np.float64  # sums of 8 bits are exact in 32
    rows, columns = _cells(height, HASH_ROWS), _cells(width, HASH_COLUMNS)
    sums = rows.astype(precise) @ images.reshape(count, height, width * channels).astype(precise)
    cells = sums @ np.repeat(columns, channels, axis=1).T.astype(precise)
    cells = cells.astype(np.float64) / columns.sum(axis=1)
    bits = (cells[:, :, :-1] < cells[:, :, 1:]).reshape(count, -1)
    hashes = np.packbits(bits, axis=1).view(">u8").ravel().astype(np.uint64)
    set_bits = bits.sum(axis=1)
    hashes[(set_bits < FEWEST_BITS) | (set_bits > bits.shape[1] - FEWEST_BITS)] = 0
    return hashes


def find_leaks(
    *,
    names: Sequence[str],
    splits: Sequence[str],
    content: NDArray[np.void],
    hashes: NDArray[np.uint64],
    tiles: Sequence[tuple[str, int, int] | None] | None,
    pixels: Callable[[Rows], NDArray[np.generic]],
) -> Leaks:
    """Count held-out images with a twin in another split: byte-identical, nearly identical, or beside it in a tile.

    `content` holds a digest of each image's pixels, `pixels` reads images by number, `tiles` gives place, row and
    column of patches. Nearly identical: hashes within 3 bits, and a mean difference of the reduced images within 8 of
    255 grey levels. Work is bounded: buckets of more than 512 images compare neighbours in the order of hashes alone.
    """
    codes = np.unique(np.asarray(splits), return_inverse=True)[1]
    held_out = np.asarray(splits) != "train"
    same = _twins(list(_runs(content)), codes, held_out)
    searched = held_out.copy()
    searched[[pair[0] for pair in same]] = False
    near = _near(hashes, codes, searched, pixels)
    beside = [] if tiles is None else _neighbours(tiles, codes, held_out)
    found = {"is": same, "is nearly": near, "lies beside": beside}
    examples = [
        f"{names[first]} ({splits[first]}) {word} {names[second]} ({splits[second]})"
        for word, pairs in found.items()
        for first, second in _once(pairs)[:EXAMPLES]
    ]
    counts = [len(_once(pairs)) for pairs in found.values()]
    return Leaks(counts[0], counts[1], counts[2], tuple(examples))


def tile_position(patch: str) -> tuple[str, int, int] | None:
    """Return acquisition (v2: with its tile), row and column of a BigEarthNet patch's name, None for other names."""
    match = PATCH.fullmatch(patch)
    return None if match is None else (match[1], int(match[2]), int(match[3]))


@lru_cache
def _cells(length: int, parts: int) -> NDArray[np.float64]:
    """Return which places of an axis each of its parts holds, (parts, length) of 0 and 1."""
    cells = np.zeros((parts, length))
    starts = _edges(length, parts)
    for part, (start, stop) in enumerate(zip(starts, np.append(starts[1:], length), strict=True)):
        cells[part, start : max(stop, start + 1)] = 1.0
    return cells


def _edges(length: int, parts: int) -> Rows:
    """Return where `parts` equal stretches start; in a shorter axis places repeat."""
    return np.minimum(np.arange(parts) * length // parts, length - 1)


def _runs(values: NDArray[np.generic]) -> Iterator[Rows]:
    """Yield the images that share a value, for each value that several have."""
    if not len(values):
        return
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    for start, stop in zip(starts, np.append(starts[1:], len(values)), strict=True):
        if stop - start > 1:
            yield order[start:stop]


def _twins(groups: Sequence[Rows], codes: Rows, held_out: NDArray[np.bool_]) -> list[Pair]:
    """Return for each held-out image of a group one of another split in it."""
    pairs = []
    for group in groups:
        own = codes[group]
        if (own == own[0]).all():
            continue
        for row in group[held_out[group]].tolist():
            others = group[own != codes[row]]
            if len(others):
                pairs.append((row, int(others[0])))
    return pairs


def _near(
    hashes: NDArray[np.uint64],
    codes: Rows,
    searched: NDArray[np.bool_],
    pixels: Callable[[Rows], NDArray[np.generic]],
) -> list[Pair]:
    known = np.flatnonzero(hashes)
    pairs: dict[Pair, None] = {}
    parts = hashes[known].view(np.uint16).reshape(len(known), BANDS) if len(known) else np.zeros((0, BANDS))
    for part in range(BANDS):
        for bucket in _runs(parts[:, part]):
            pairs |= dict.fromkeys(_candidates(known[bucket], hashes, codes, searched))
    return _confirmed(list(pairs), pixels)


def _candidates(group: Rows, hashes: NDArray[np.uint64], codes: Rows, searched: NDArray[np.bool_]) -> Iterator[Pair]:
    """Yield pairs of a bucket, an image that a twin is searched for first, in different splits and within NEAR_BITS."""
    if not searched[group].any() or (codes[group] == codes[group[0]]).all():
        return
    if len(group) > LARGEST_BUCKET:
        order = group[np.argsort(hashes[group], kind="stable")]
        first, second = order[:-1], order[1:]
    else:
        above = np.triu_indices(len(group), 1)
        first, second = group[above[0]], group[above[1]]
    differ = (codes[first] != codes[second]) & (_distances(hashes[first], hashes[second]) <= NEAR_BITS)
    for one, other in zip(first[differ].tolist(), second[differ].tolist(), strict=True):
        if searched[one]:
            yield one, other
        if searched[other]:
            yield other, one


def _distances(first: NDArray[np.uint64], second: NDArray[np.uint64]) -> NDArray[np.int64]:
    counts: NDArray[np.int64] = np.bitwise_count(first ^ second).astype(np.int64)
    return counts


def _confirmed(pairs: list[Pair], pixels: Callable[[Rows], NDArray[np.generic]]) -> list[Pair]:
    """Return the pairs whose reduced images hardly differ."""
    kept = []
    for start in range(0, len(pairs), PAIRS_AT_ONCE):
        some = np.array(pairs[start : start + PAIRS_AT_ONCE])
        first, second = (_thumbnails(pixels(some[:, side])) for side in (0, 1))
        alike = np.abs(first - second).mean(axis=(1, 2, 3)) <= NEAR_DIFFERENCE
        kept += [pairs[start + number] for number in np.flatnonzero(alike)]
    return kept


def _thumbnails(images: NDArray[np.generic]) -> NDArray[np.float64]:
    """Return images reduced by area to at most 32 x 32, as shares of the full range."""
    full = np.iinfo(images.dtype).max  # type: ignore[type-var]
    reduced: NDArray[np.float64] = images.astype(np.float64) / full
    for axis in (1, 2):
        length = images.shape[axis]
        edges = _edges(length, min(THUMBNAIL, length))
        shape = [1, 1, 1, 1]
        shape[axis] = len(edges)
        reduced = np.add.reduceat(reduced, edges, axis=axis) / np.diff(edges, append=length).reshape(shape)
    return reduced


def _neighbours(tiles: Sequence[tuple[str, int, int] | None], codes: Rows, held_out: NDArray[np.bool_]) -> list[Pair]:
    """Return for each held-out patch one of the eight around it that is in another split."""
    at = {tile: row for row, tile in enumerate(tiles) if tile is not None}
    around = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1) if down or right]
    pairs = []
    for row in np.flatnonzero(held_out).tolist():
        tile = tiles[row]
        if tile is not None:
            others = (at.get((tile[0], tile[1] + down, tile[2] + right)) for down, right in around)
            pairs += [(row, other) for other in others if other is not None and codes[other] != codes[row]][:1]
    return pairs


def _once(pairs: Sequence[Pair]) -> list[Pair]:
    """Return one pair for each held-out image, in the images' order."""
    return sorted({first: (first, second) for first, second in reversed(pairs)}.values())
