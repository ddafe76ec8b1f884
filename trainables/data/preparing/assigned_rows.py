"""Rows of a store in preparation: sorted by name, with classes and splits."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainables.data import spatial_splits, splits
from trainables.data.chip import Chip
from trainables.data.preparing.class_checks import refuse_apart
from trainables.data.preparing.decode_workers import IndexRows
from trainables.data.sources.chip_choice import BUFFERED, ChipChoice
from trainables.data.sources.options import BY_LONGITUDE, OWN_SPLITS, SPLIT_RULES
from trainables.data.sources.source import ImageSource, PrepareRequest
from trainables.errors import BadInputError


@dataclass(frozen=True)
class StoreRows:
    """Rows of the stored images, sorted by name."""

    names: list[str]
    labels: list[splits.Labels]
    splits: NDArray[np.int8]
    places: list[str]
    positions: list[int]
    checksums: list[bytes]
    hashes: list[int]
    fractions: dict[str, list[float]]
    original_labels: list[tuple[str, ...] | None] | None
    chips: list[Chip] | None
    """None if the images weren't cut from scenes."""
    splits_told: str
    """Origin of the splits, in words."""
    undescribed: int
    """Number of images left out because none of their labels is in the chosen label set."""

    def columns(self) -> dict[str, Any]:
        """Return the columns of the index table by name."""
        return {name: value for name, value in vars(self).items() if name not in ("splits_told", "undescribed")}


def assigned_rows(rows: IndexRows, request: PrepareRequest, listing: ImageSource) -> StoreRows:
    """Sort the rows by name, assign classes and splits, and drop rows without a split or outside the label set.

    Raises:
        BadInputError: Two images have one name.
    """
    order = sorted(range(len(rows.names)), key=rows.names.__getitem__)
    names = [rows.names[row] for row in order]
    for first, second in pairwise(names):
        if first == second:
            raise BadInputError(f"{listing.location}: two images are named {first}; names must be unique")
    labels = [_classes(names[number], rows.labels[row], listing) for number, row in enumerate(order)]
    described = [number for number, own in enumerate(labels) if own != ()]
    order, names = [order[number] for number in described], [names[number] for number in described]
    labels = [labels[number] for number in described]
    codes = _split(request, listing, rows, order, names, labels)
    if _published(request, [rows.splits[row] for row in order]) and not listing.multi_label:
        refuse_apart(listing.location, labels, codes, listing.class_names)
    kept = np.flatnonzero(codes != splits.LEFT_OUT).tolist()
    chosen = [order[number] for number in kept]
    derived = request.options.labels == "farmland"
    return StoreRows(
        names=[names[number] for number in kept],
        labels=[labels[number] for number in kept],
        splits=codes[kept],
        places=[rows.places[row] for row in chosen],
        positions=[rows.positions[row] for row in chosen],
        checksums=[rows.checksums[row] for row in chosen],
        hashes=[rows.hashes[row] for row in chosen],
        fractions={salt: [values[row] for row in chosen] for salt, values in rows.fractions.items()},
        original_labels=[rows.labels[row] for row in chosen] if derived else None,
        chips=_chips(rows, chosen),
        undescribed=len(rows.names) - len(described),
        splits_told=_splits_told(request, listing, [rows.splits[row] for row in order]) + _buffered(request, codes),
    )


def _classes(name: str, labels: Sequence[str] | None, listing: ImageSource) -> splits.Labels:
    """Return the class indices of an image in ascending order; None if it is unlabelled."""
    if labels is None:
        return None
    own = listing.classify(labels) if listing.classify else labels
    unknown = [label for label in own if label not in listing.class_index]
    if unknown:
        raise BadInputError(
            f"{name}: label {unknown[0]!r} is none of the {len(listing.class_names)} of {listing.location}"
        )
    return tuple(sorted({listing.class_index[label] for label in own}))


def _split(
    request: PrepareRequest,
    listing: ImageSource,
    rows: IndexRows,
    order: Sequence[int],
    names: Sequence[str],
    labels: Sequence[splits.Labels],
) -> splits.Codes:
    rule, share = request.options.splits, request.facts.test_share or 0.0
    given = [rows.splits[row] for row in order]
    if _published(request, given):
        codes = splits.given_split(names, given)
        codes = splits.test_on_validation(codes) if request.options.test_split == "validation" else codes
    elif rule == "thesis":
        codes = splits.thesis_split(names, listing.total() if listing.total else len(names))
    elif rule == "place":
        codes = splits.place_split([rows.places[row] for row in order], share)
    elif rule in ("block", "tile", "longitude"):
        codes = _by_ground(request, _chips(rows, order) or [], share)
    else:
        codes = (splits.exact_split if rule == "exact" else splits.random_split)(names, labels, share)
    for needed in (splits.TRAIN, splits.TEST):
        if not (codes == needed).any():
            raise _empty_split(listing, splits.SPLITS[needed], codes, published=_published(request, given))
    return codes


def _buffered(request: PrepareRequest, codes: splits.Codes) -> str:
    """Return a note on the chips that a spatial split left out as buffer; empty with other split rules."""
    near, rule = int((codes == splits.LEFT_OUT).sum()), request.options.splits
    if rule not in BUFFERED or not near:
        return ""
    of = "chips that overlap one of the next split" if rule == "longitude" else "train chips that overlap a test chip"
    return f"; {near:,} {of} or lie within the buffer are left out"


def _chips(rows: IndexRows, order: Sequence[int]) -> list[Chip] | None:
    chips = [chip for row in order if (chip := rows.chips[row]) is not None]
    return chips if chips and len(chips) == len(order) else None


def _by_ground(request: PrepareRequest, chips: Sequence[Chip], share: float) -> splits.Codes:
    choice, rule = request.options.chips or ChipChoice(), request.options.splits
    if rule == "longitude":  # EuroSAT's published split keeps its images
        return spatial_splits.longitude_split(chips, None if request.options.chips is None else choice.buffer)
    if rule == "tile":
        return spatial_splits.tile_split(chips, share, choice.buffer)
    size = spatial_splits.block_size(chips, choice.block_size)
    return spatial_splits.block_split(chips, share, size, choice.buffer)


def _published(request: PrepareRequest, given: Sequence[str | None]) -> bool:
    """Whether the options ask for the source's own splits and the source has them."""
    rule = request.options.splits
    return rule in OWN_SPLITS and (rule != "own" or any(given))


def _empty_split(listing: ImageSource, needed: str, codes: splits.Codes, *, published: bool) -> BadInputError:
    where = f"{listing.location}: no image for the {needed} split among {len(codes)}"
    if not published:
        return BadInputError(f"{where}; keep more of them, or choose other --splits")
    found = ", ".join(f"{(codes == code).sum():,} {name}" for code, name in enumerate(splits.SPLITS) if code in codes)
    ways = "test on a hash of the names with --splits random"
    if needed == "test" and splits.VALIDATION in codes:
        ways = f"test on the published validation split with --test-split validation, or {ways}"
    return BadInputError(f"{where} ({listing.splits_from or 'the source'} has {found}); {ways}")


def _splits_told(request: PrepareRequest, listing: ImageSource, given: Sequence[str | None]) -> str:
    """Return the origin of the splits in words: published by the source, or hashed from the image names."""
    rule, own = request.options.splits, listing.splits_from or "the source's own"
    if _published(request, given):
        told = f"published: {own}"
        if request.options.test_split == "validation":
            left_out = given.count("test")
            told += "; test is the published validation split (--test-split validation)"
            told += f", {left_out:,} images of the published test split are left out" if left_out else ""
        return told
    share = "" if request.facts.test_share is None or rule in BY_LONGITUDE else f", {request.facts.test_share:.0%} test"
    if rule == "own":
        return f"hashed: the source names none, so {SPLIT_RULES['random']}{share}"
    return f"hashed: {SPLIT_RULES[rule]}{share}" + (f"; the published ones ({own}) are not used" if any(given) else "")
