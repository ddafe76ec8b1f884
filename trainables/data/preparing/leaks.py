"""Leak search: held-out images that are identical, nearly identical or adjacent to an image of another split."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

HASH_ROWS, HASH_COLUMNS = 8, 9
FEWEST_BITS = 8
"""Minimum number of set and of cleared bits of a hash; images with fewer are flat and aren't compared."""
NEAR_BITS = 3
BANDS = 4
"""Number of parts of a hash; two hashes within NEAR_BITS agree in at least one part."""
THUMBNAIL = 32
NEAR_DIFFERENCE = 8 / 255
"""Maximum mean difference of two nearly identical images, as a share of the full range."""
LARGEST_BUCKET = 512
"""Maximum number of images in a bucket that are compared pairwise; in larger buckets only neighbours by hash are."""
MOST_CANDIDATES = 8
"""Maximum number of images whose pixels are compared with one held-out image, by nearest hash."""
PAIRS_AT_ONCE = 64
EXAMPLES = 5

RowNumbers = NDArray[np.int64]
Pair = tuple[int, int]
"""Row numbers of a held-out image and of a similar image in another split."""


@dataclass(frozen=True)
class SplitLeaks:
    """Numbers of held-out images (validation and test) with a twin in another split, by kind, and examples."""

    identical: int
    near_identical: int
    neighbours: int
    examples: tuple[str, ...]


def perceptual_hashes(images: NDArray[np.generic]) -> NDArray[np.uint64]:
    """Return a 64-bit difference hash for each image.

    The mean over channels is reduced by area to 8 rows of 9 cells; each bit tells whether a cell is darker than the
    next cell in its row.

    Args:
        images: Images (N, H, W, C).

    Returns:
        Hashes (N,), uint64; 0 for an image with too little structure.
    """
    count, height, width, channels = images.shape
    flat = images.reshape(count, height, width * channels)
    # Sums of integers are exact, and rows first is where the time goes: 4096 x 3 values become 8 x 192.
    stretches = _stretches(height, HASH_ROWS)
    most = max(stop - start for start, stop in stretches) * np.iinfo(images.dtype).max  # type: ignore[type-var]
    sums = np.uint16 if most < 2**16 else np.uint32  # the narrower, the faster
    if height % HASH_ROWS:
        bands = np.stack([flat[:, start:stop].sum(axis=1, dtype=sums) for start, stop in stretches], axis=1)
    else:  # of equal height: in one call, which takes a third of the time
        bands = flat.reshape(count, HASH_ROWS, -1, flat.shape[2]).sum(axis=2, dtype=sums)
    columns, lengths = _cells(width, HASH_COLUMNS, channels)
    cells = bands.astype(np.float64) @ columns
    cells /= lengths
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
    pixels: Callable[[RowNumbers], NDArray[np.generic]],
) -> SplitLeaks:
    """Count held-out images with a twin in another split: identical, nearly identical, or adjacent in a tile.

    Nearly identical images have hashes within 3 bits, and a mean difference of their reduced images within 8 of 255
    grey levels. The search is bounded, so it can miss twins among thousands of similar hashes, but every reported twin
    is real: images are paired within buckets that agree in 16 bits of the hash, in buckets of more than 512 images only
    with the neighbours by hash, and pixels are compared for the 8 nearest hashes.

    Args:
        names: Name of each image (N).
        splits: Split of each image (N).
        content: Digests of the pixels (N,).
        hashes: Perceptual hashes (N,), uint64.
        tiles: Tile name, row and column of each image, None if unknown; None: no tiles.
        pixels: Function that returns the images (M, H, W, C) of M row numbers.
    """
    numbers = {split: number for number, split in enumerate(sorted(set(splits)))}
    codes = np.array([numbers[split] for split in splits], dtype=np.int64)
    held_out = codes != numbers.get("train", -1)
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
    return SplitLeaks(counts[0], counts[1], counts[2], tuple(examples))


@lru_cache
def _cells(length: int, parts: int, channels: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return a row's values in each of its parts, (length * channels, parts) of 0 and 1; and the parts' lengths."""
    cells = np.zeros((length, channels, parts))
    for part, (start, stop) in enumerate(_stretches(length, parts)):
        cells[start:stop, :, part] = 1.0
    return cells.reshape(length * channels, parts), cells[:, 0].sum(axis=0)


def _stretches(length: int, parts: int) -> list[tuple[int, int]]:
    """Return start and stop of each part of an axis; each part has at least one position."""
    starts = _edges(length, parts).tolist()
    return [(start, max(stop, start + 1)) for start, stop in zip(starts, [*starts[1:], length], strict=True)]


def _edges(length: int, parts: int) -> RowNumbers:
    """Return the starts of `parts` equal parts of an axis; in an axis shorter than `parts`, starts repeat."""
    return np.minimum(np.arange(parts) * length // parts, length - 1)


def _runs(values: NDArray[np.generic]) -> Iterator[RowNumbers]:
    """Yield the row numbers of the images with equal values, for each value that occurs more than once."""
    if not len(values):
        return
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    for start, stop in zip(starts, np.append(starts[1:], len(values)), strict=True):
        if stop - start > 1:
            yield order[start:stop]


def _twins(groups: Sequence[RowNumbers], codes: RowNumbers, held_out: NDArray[np.bool_]) -> list[Pair]:
    """Return for each held-out image one image of another split in the same group."""
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
    codes: RowNumbers,
    searched: NDArray[np.bool_],
    pixels: Callable[[RowNumbers], NDArray[np.generic]],
) -> list[Pair]:
    """Return nearly identical pairs from different splits; the first image of each pair is one of `searched`."""
    known = np.flatnonzero(hashes)
    parts = np.ascontiguousarray(hashes[known]).view(np.uint16).reshape(len(known), BANDS)
    found = [np.zeros((0, 2), np.int64)]
    for part in range(BANDS):
        found += [_candidates(known[bucket], hashes, codes, searched) for bucket in _runs(parts[:, part])]
    nearest = _nearest(np.unique(np.concatenate(found), axis=0), hashes)
    return _confirmed([(first, second) for first, second in nearest.tolist()], pixels)


def _candidates(
    group: RowNumbers, hashes: NDArray[np.uint64], codes: RowNumbers, searched: NDArray[np.bool_]
) -> RowNumbers:
    """Return candidate pairs (M, 2) of a bucket: a searched image, and an image of another split within NEAR_BITS."""
    if not searched[group].any() or (codes[group] == codes[group[0]]).all():
        return np.zeros((0, 2), np.int64)
    pairs = _beside_in_order(group, hashes, codes) if len(group) > LARGEST_BUCKET else _all_pairs(group)
    first, second = pairs
    near = (codes[first] != codes[second]) & (_distances(hashes[first], hashes[second]) <= NEAR_BITS)
    if not near.any():
        return np.zeros((0, 2), np.int64)
    both_ways = np.concatenate([pairs.T[near], pairs[::-1].T[near]])
    return _nearest(both_ways[searched[both_ways[:, 0]]], hashes)


def _all_pairs(group: RowNumbers) -> RowNumbers:
    """Return each pair of a bucket once, (2, M)."""
    return group[np.stack(np.triu_indices(len(group), 1))]


def _beside_in_order(group: RowNumbers, hashes: NDArray[np.uint64], codes: RowNumbers) -> RowNumbers:
    """Return pairs (2, M) of each image with the next and the previous image of another split, by hash order."""
    order = group[np.argsort(hashes[group], kind="stable")]
    starts = np.flatnonzero(np.append(True, codes[order[1:]] != codes[order[:-1]]))
    lengths = np.diff(starts, append=len(order))
    before, after = np.repeat(starts - 1, lengths), np.repeat(starts + lengths, lengths)
    pairs = [(order[some], order[there[some]]) for there, some in ((before, before >= 0), (after, after < len(order)))]
    return np.concatenate(pairs, axis=1)


def _nearest(pairs: RowNumbers, hashes: NDArray[np.uint64]) -> RowNumbers:
    """Return for each first image the pairs with the MOST_CANDIDATES nearest hashes."""
    first, second = pairs.T
    ordered = pairs[np.lexsort((second, _distances(hashes[first], hashes[second]), first))]
    starts = np.searchsorted(ordered[:, 0], ordered[:, 0])
    return ordered[np.arange(len(ordered)) - starts < MOST_CANDIDATES]


def _distances(first: NDArray[np.uint64], second: NDArray[np.uint64]) -> NDArray[np.int64]:
    counts: NDArray[np.int64] = np.bitwise_count(first ^ second).astype(np.int64)
    return counts


def _confirmed(pairs: list[Pair], pixels: Callable[[RowNumbers], NDArray[np.generic]]) -> list[Pair]:
    """Return the pairs whose reduced images differ by at most NEAR_DIFFERENCE."""
    kept = []
    for start in range(0, len(pairs), PAIRS_AT_ONCE):
        rows, places = np.unique(np.array(pairs[start : start + PAIRS_AT_ONCE]), return_inverse=True)
        first, second = _thumbnails(pixels(rows))[places.reshape(-1, 2).T]
        alike = np.abs(first - second).mean(axis=(1, 2, 3)) <= NEAR_DIFFERENCE
        kept += [pairs[start + number] for number in np.flatnonzero(alike)]
    return kept


def _thumbnails(images: NDArray[np.generic]) -> NDArray[np.float64]:
    """Return images reduced by area to at most 32 x 32 pixels, as shares of the full range."""
    full = np.iinfo(images.dtype).max  # type: ignore[type-var]
    reduced: NDArray[np.float64] = images.astype(np.float64)
    for axis in (1, 2):
        length = images.shape[axis]
        edges = _edges(length, min(THUMBNAIL, length))
        shape = [1, 1, 1, 1]
        shape[axis] = len(edges)
        reduced = np.add.reduceat(reduced, edges, axis=axis) / np.diff(edges, append=length).reshape(shape)
    return reduced / full


def _neighbours(
    tiles: Sequence[tuple[str, int, int] | None], codes: RowNumbers, held_out: NDArray[np.bool_]
) -> list[Pair]:
    """Return for each held-out patch one of its eight adjacent patches that is in another split."""
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
    """Return one pair per held-out image, in the order of the images."""
    return sorted({first: (first, second) for first, second in reversed(pairs)}.values())
