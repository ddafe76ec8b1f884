"""Store building: pixels, index rows with classes and splits, leak counts and the store's info."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainables.data import spatial_splits, splits
from trainables.data.chip import Chip
from trainables.data.index_table import fingerprint, multi_hot, open_rows, write_rows
from trainables.data.patch_names import tile_position
from trainables.data.preparing.atomic_folder import check_space
from trainables.data.preparing.class_checks import look_alikes, one_sided, refuse_apart
from trainables.data.preparing.decode_workers import ImageLayout, IndexRows, Progress, advised, convert
from trainables.data.preparing.leaks import find_leaks
from trainables.data.preparing.pixels import (
    FirstImage,
    PixelConversion,
    described_ranges,
    percentile_tables,
    reflectance_tables,
    thesis_tables,
)
from trainables.data.preparing.stored_bands import stored_bands
from trainables.data.seasons import SeasonPairs, visits
from trainables.data.sources.chip_choice import ChipChoice
from trainables.data.sources.decode import UndecodableError
from trainables.data.sources.options import AS_PRODUCTS, OWN_SPLITS, SPLIT_RULES
from trainables.data.sources.source import ImageSource, PrepareRequest, counted
from trainables.data.store_check import image_counts
from trainables.data.store_format import CHECKSUM_BYTES, FORMAT_VERSION, INFO_FILE, PIXELS_FILE, ROWS_FILE, UNFINISHED
from trainables.data.store_info import LeakCounts, OptionValue, PlaceDates, StoreInfo
from trainables.errors import BadInputError
from trainables.printable_text import printable

BLOCK_SIDES = 10
"""Default side of a spatial block, in chip sides."""


def make_store(
    folder: Path, name: str, request: PrepareRequest, listing: ImageSource, strict: bool, progress: Progress | None
) -> StoreInfo:
    """Write a store into an empty folder and return its info, which is the last file written.

    Args:
        folder: Empty folder for the store.
        name: Name of the store.
        request: Data set and options.
        listing: Images to store.
        strict: Whether leaks between splits are an error.
        progress: Function called with a description, the count so far and the total (None: unknown).

    Raises:
        BadInputError: Unusable images, or with `strict` an image in two splits.
    """
    started = time.perf_counter()
    reference, image = _first(request, listing)
    conversion, found = _conversion(request, listing, reference)
    layout = ImageLayout.of(conversion(image))
    if listing.count is not None:
        check_space(folder, listing.count * layout.row_bytes)
    rows = convert(
        listing.entries(),
        folder / PIXELS_FILE,
        layout,
        conversion,
        reference,
        skip_corrupt=request.options.skip_corrupt,
        together=listing.together,
        report=_reporter(listing, progress),
    )
    if not rows.names and rows.left_out:
        raise BadInputError(f"{listing.location}: no image that can be used ({counted(rows.left_out)} left out)")
    table = _assigned(rows, request, listing)
    leaks = _leaks(table, folder / PIXELS_FILE, layout)
    if strict and leaks.described():
        raise BadInputError(f"--strict: {leaks.described()} ({'; '.join(leaks.examples)}); choose other --splits")
    write_rows(folder / ROWS_FILE, **table.columns())
    info = _describe(name, request, listing, layout, table, rows, leaks)
    info = info.model_copy(
        update={
            "options": {**info.options, **found},
            "bands": stored_bands(request, listing.bands, reference.channels, str(found.get("percentiles", ""))),
            "notes": (*info.notes, *(f"{count:,} images: {fact}" for fact, count in sorted(rows.facts.items()))),
            "corrupt": tuple(rows.corrupt),
            "made": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC in {time.perf_counter() - started:.0f} s",
        }
    )
    info = info.model_copy(update={"fingerprint": fingerprint(info, open_rows(folder / ROWS_FILE))})
    (folder / INFO_FILE).write_text(info.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return info


def _reporter(listing: ImageSource, progress: Progress | None) -> Callable[[int], None] | None:
    if progress is None:
        return None
    position = listing.position
    if listing.count is None and position is not None:
        return lambda done: progress("reading the archive", *position())
    return lambda done: progress("converting images", done, listing.count)


def _conversion(
    request: PrepareRequest, listing: ImageSource, reference: FirstImage
) -> tuple[PixelConversion, dict[str, OptionValue]]:
    """Return the pixel conversion of the images, and its measured facts (percentile ranges) for the store's info."""
    size, rule = request.options.image_size, request.options.pixels
    if rule == "thesis":
        if reference.dtype != "uint16":
            raise BadInputError(
                f"--pixels thesis: is for values of 16 bits, and {reference.name} has 8; choose none or percentiles"
            )
        return PixelConversion(size, thesis_tables()), {}
    if rule == "reflectance":
        return PixelConversion(size, reflectance_tables(*(request.options.reflectance or AS_PRODUCTS))), {}
    if rule == "none":
        return PixelConversion(size), {}
    try:
        tables, ranges = percentile_tables(listing.entries(), reference, skip_corrupt=request.options.skip_corrupt)
    except UndecodableError as error:
        raise _advised(error) from error
    bands = request.options.bands or tuple(str(channel) for channel in range(len(ranges)))
    return PixelConversion(size, tables), {"percentiles": described_ranges(bands, ranges)}


def _first(request: PrepareRequest, listing: ImageSource) -> tuple[FirstImage, NDArray[np.generic]]:
    """Return the first decodable image, with the channels and type that all others must have."""
    fault: BadInputError | None = None
    for entry in listing.entries():
        try:
            image = entry.read().image
            return FirstImage.of(entry.name, image), image
        except BadInputError as error:
            if not request.options.skip_corrupt:
                raise _advised(error) from error
            fault = error
    raise BadInputError(f"{listing.location}: no image that can be used" + (f" ({fault})" if fault else ""))


def _advised(error: BadInputError) -> BadInputError:
    return BadInputError(advised(str(error), error.option)) if isinstance(error, UndecodableError) else error


@dataclass(frozen=True)
class _StoreRows:
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
        return {name: value for name, value in vars(self).items() if name not in ("splits_told", "undescribed")}


def _assigned(rows: IndexRows, request: PrepareRequest, listing: ImageSource) -> _StoreRows:
    """Sort the rows by name, assign classes and splits, and drop rows without a split or outside the label set."""
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
    return _StoreRows(
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
    near = int((codes == splits.LEFT_OUT).sum())
    if request.options.splits not in ("block", "tile") or not near:
        return ""
    return f"; {near:,} train chips that overlap a test chip or lie within the buffer are left out"


def _chips(rows: IndexRows, order: Sequence[int]) -> list[Chip] | None:
    chips = [chip for row in order if (chip := rows.chips[row]) is not None]
    return chips if chips and len(chips) == len(order) else None


def _by_ground(request: PrepareRequest, chips: Sequence[Chip], share: float) -> splits.Codes:
    choice, rule = request.options.chips or ChipChoice(), request.options.splits
    if rule == "longitude":
        return spatial_splits.longitude_split(chips)
    if rule == "tile":
        return spatial_splits.tile_split(chips, share, choice.buffer)
    size = choice.block_size or BLOCK_SIDES * max(chip.ground_side for chip in chips)
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
    share = "" if request.facts.test_share is None else f", {request.facts.test_share:.0%} test"
    if rule == "own":
        return f"hashed: the source names none, so {SPLIT_RULES['random']}{share}"
    return f"hashed: {SPLIT_RULES[rule]}{share}" + (f"; the published ones ({own}) are not used" if any(given) else "")


def _leaks(table: _StoreRows, path: Path, layout: ImageLayout) -> LeakCounts:
    pixels = map_pixels(path, layout)
    positions = np.array(table.positions)
    tiles = [tile_position(name) for name in table.names]
    leaks = find_leaks(
        names=table.names,
        splits=[splits.SPLITS[code] for code in table.splits],
        content=np.array(table.checksums, dtype=f"V{CHECKSUM_BYTES}"),
        hashes=np.array(table.hashes, dtype=np.uint64),
        tiles=tiles if any(tiles) else None,
        pixels=lambda rows: pixels[positions[rows]],
    )
    return LeakCounts(**vars(leaks))


def map_pixels(path: Path, layout: ImageLayout) -> NDArray[np.generic]:
    """Return all images of a pixel file as a memory-mapped array (images, H, W, C)."""
    try:
        flat = np.memmap(path, dtype=layout.dtype, mode="r")
    except (OSError, ValueError) as error:
        raise BadInputError(f"{path}: can't be read ({error}); remove the store and prepare it again") from error
    image = layout.row_bytes // flat.dtype.itemsize
    return np.asarray(flat[: len(flat) // image * image]).reshape(-1, layout.height, layout.width, layout.channels)


def _describe(
    name: str,
    request: PrepareRequest,
    listing: ImageSource,
    layout: ImageLayout,
    table: _StoreRows,
    rows: IndexRows,
    leaks: LeakCounts,
) -> StoreInfo:
    own = [labels or () for labels in table.labels]
    offsets = np.cumsum([0, *map(len, own)])
    hot = multi_hot(offsets, np.array(list(chain(*own)), dtype=np.int64), len(listing.class_names))
    known = np.array([labels is not None for labels in table.labels])
    counts = image_counts(hot, known, table.splits, listing.class_names, listing.rules)
    left_out = listing.left_out() + rows.left_out + Counter({"images with none of these labels": table.undescribed})
    decided = {
        **listing.decisions,
        **_chips_told(rows),
        "labels": _labels_told(known),
        "splits": table.splits_told,
        "distance between splits": spatial_splits.described_distance(table.chips or [], table.splits),
        "left out": counted(left_out),
    }
    return StoreInfo(
        format_version=FORMAT_VERSION,
        name=name,
        data_set=request.facts.name,
        source=printable(listing.location),
        image_size=(layout.height, layout.width),
        channels=layout.channels,
        dtype=layout.dtype,
        class_names=listing.class_names,
        multi_label=listing.multi_label,
        rules=listing.rules,
        **counts,
        options=described(request),
        licence=request.facts.licence,
        notes=(
            *listing.notes,
            *_unused(listing, hot),
            *one_sided(listing.class_names, counts["class_counts"], spelt=not request.options.labels),
            *(look_alikes(listing.class_names, single=not listing.multi_label) if not request.options.labels else ()),
        ),
        leaks=leaks,
        corrupt=(),
        made="",
        fingerprint=UNFINISHED,
        decisions={key: printable(text) for key, text in decided.items() if text},
        source_state=listing.state,
        place_dates=_place_dates(table),
    )


def _chips_told(rows: IndexRows) -> dict[str, str]:
    """Return how many chips of how many places there are, and of which dates; empty where images aren't chips."""
    chips = [chip for chip in rows.chips if chip is not None]
    dates = sorted({chip.date for chip in chips if chip.date})
    return {
        "chips": f"{len(chips):,} of {len({chip.place for chip in chips}):,} places" if chips else "",
        "dates": f"{len(dates):,}, {dates[0]} to {dates[-1]}" if len(dates) > 1 else "".join(dates),
    }


def _place_dates(table: _StoreRows) -> PlaceDates:
    """Count the places and dates of the train images, for pairs of seasons."""
    own = np.flatnonzero(table.splits == splits.TRAIN).tolist()
    chips = None if table.chips is None else [table.chips[row] for row in own]
    return SeasonPairs(visits([table.names[row] for row in own], chips)).counts


def _labels_told(known: NDArray[np.bool_]) -> str:
    """Return a note on the number of labelled images; empty if all are labelled."""
    if known.all():
        return ""
    if not known.any():
        return f"none of {len(known):,} images has labels: a pool to pretrain on"
    return f"{known.sum():,} of {len(known):,} images have labels; the others are pretrained on alone"


def _unused(listing: ImageSource, hot: NDArray[np.bool_]) -> list[str]:
    empty = [listing.class_names[column] for column in np.flatnonzero(hot.sum(axis=0) == 0)]
    return [f"classes without an image: {', '.join(empty)}"] if empty else []


def described(request: PrepareRequest) -> dict[str, OptionValue]:
    """Return the chosen options in the form of a store's info."""
    columns = ", ".join(f"{name}={own}" for name, own in sorted(request.columns.items()))
    chosen = {"table": request.table.name if request.table else "", "columns": columns}
    return request.options.described(request.facts) | {name: value for name, value in chosen.items() if value}
