"""Validation slice of a trial: train images that are held out for selection.

Images are held out one by one, by their stable hash. Where the store is split by place, whole places are held out;
where it is split by tile and train is a single tile, whole blocks of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from trainables.data import chip
from trainables.data.spatial_splits import block_size, blocks_of, near
from trainables.data.stable_hash import VALIDATION_SALT, hashed_groups
from trainables.data.store_info import StoreInfo
from trainables.errors import BadInputError

Numbers = NDArray[np.int64]
OTHER = {
    "block": "a smaller --block-size",
    "tile": "--splits block --block-size METRES",
    "place": "--splits random",
}
"""Options that give more places, by what the split keeps whole."""


@dataclass(frozen=True)
class ValidationSlice:
    """Rows of train and validation.

    Attributes:
        train: Rows that stay in train, ascending.
        validation: Rows that are held out, ascending.
        places: Number of places of the train split, and of those that are held out; None if images are held out one by
            one.
        whole: What a place is: block, tile or place; empty if images are held out one by one.
        left_out: Number of train images in neither, as they overlap a validation image or lie within the buffer.
    """

    train: Numbers
    validation: Numbers
    places: tuple[int, int] | None = None
    whole: str = ""
    left_out: int = 0


def validation_slice(info: StoreInfo, rows: Any, train: Numbers, share: float) -> ValidationSlice:
    """Return the slice of a store's train images that a trial holds out.

    Args:
        info: Metadata of the store.
        rows: Index of the store, as `open_rows` returns it.
        train: Rows of the train split, ascending.
        share: Wanted share of the train images, `validation_fraction`.

    Raises:
        BadInputError: The store has a validation split, or train or validation would be empty.
    """
    if "validation" in info.splits:
        raise BadInputError(f"validation_fraction: {info.name} has its own validation split; set it to 0, got {share}")
    if info.kept_whole:
        return _of_places(info, rows, train, share)
    held_out = rows.column(f"hash_{VALIDATION_SALT}").to_numpy()[train] < share
    if held_out.all() or not held_out.any():
        raise BadInputError(
            f"validation_fraction: {share} of the {len(train)} train images of {info.name} leaves train or "
            "validation empty; choose another fraction between 0 and 1"
        )
    return ValidationSlice(train[~held_out], train[held_out])


def _of_places(info: StoreInfo, rows: Any, train: Numbers, share: float) -> ValidationSlice:
    chips = _chips(rows)
    whole = _whole(info, chips, train)
    groups = hashed_groups(_places(info, whole, rows, chips, train), VALIDATION_SALT)
    chosen = _nearest_to(share * len(train), groups)
    held_out = train[np.sort(np.concatenate([groups[number] for number in chosen]))]
    kept = np.setdiff1d(train, held_out)
    if not len(kept):
        told = f"{share} of the {len(train):,} train images of {info.name}, in whole {whole}s ({len(groups):,})"
        way = (
            "choose a smaller one"
            if len(groups) > 1
            else f"set it to 0, or prepare the data with {OTHER[info.kept_whole]}"
        )
        raise BadInputError(f"validation_fraction: {told}, leaves train empty; {way}")
    buffer = float(info.options.get("buffer", 0.0))
    close = np.zeros(0, dtype=np.int64) if chips is None else near(chips, kept, held_out, buffer)
    if len(close) == len(kept):
        raise BadInputError(
            f"validation_fraction: every train image of {info.name} outside the {len(chosen):,} {whole}s of "
            "validation overlaps one of them, or lies within its buffer; prepare the data with a smaller --buffer or "
            "a larger --block-size"
        )
    kept = np.setdiff1d(kept, close)
    return ValidationSlice(kept, held_out, (len(groups), len(chosen)), whole, len(close))


def _whole(info: StoreInfo, chips: Sequence[chip.Chip] | None, train: Numbers) -> str:
    """Return what is held out whole: what the split keeps whole, or blocks where train is a single tile."""
    own = [] if info.kept_whole != "tile" or chips is None else [chips[row] for row in train.tolist()]
    one_tile = len({one.tile for one in own}) == 1 and all(one.crs for one in own)
    return "block" if one_tile else info.kept_whole


def _nearest_to(wanted: float, groups: Sequence[Numbers]) -> list[int]:
    """Return the places to hold out: in their order, those that bring the number of images nearer to `wanted`.

    If none does, since all are larger than twice that number, it is the smallest one.
    """
    chosen, held = [], 0
    for number, members in enumerate(groups):
        if abs(held + len(members) - wanted) < abs(held - wanted):
            chosen.append(number)
            held += len(members)
    return chosen or [min(range(len(groups)), key=lambda number: len(groups[number]))]


def _places(info: StoreInfo, whole: str, rows: Any, chips: Sequence[chip.Chip] | None, train: Numbers) -> list[str]:
    """Return the place of each train image that is kept whole: its block, its tile, or the one of the index."""
    if whole == "block" and chips is not None:
        stated = info.options.get("block size")
        blocks = blocks_of(chips, block_size(chips, None if stated is None else float(stated)))
        return [blocks[row] for row in train.tolist()]
    if whole == "tile" and chips is not None:
        return [chips[row].tile for row in train.tolist()]
    places: list[str] = rows.column("place").take(pa.array(train)).to_pylist()
    names: list[str] = rows.column("name").take(pa.array(train)).to_pylist()
    return [place or name for place, name in zip(places, names, strict=True)]


def _chips(rows: Any) -> list[chip.Chip] | None:
    return chip.read(rows.column("chip")) if "chip" in rows.schema.names else None
