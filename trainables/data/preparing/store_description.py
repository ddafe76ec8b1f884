"""Metadata of a store in preparation: counts, origin of the splits, options and notes."""

from collections import Counter
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from trainables.data import spatial_splits, splits
from trainables.data.index_table import multi_hot
from trainables.data.preparing.assigned_rows import StoreRows
from trainables.data.preparing.class_checks import look_alikes, one_sided
from trainables.data.preparing.decode_chunk import ImageLayout
from trainables.data.preparing.decode_workers import IndexRows
from trainables.data.seasons import SeasonPairs, visits
from trainables.data.sources.source import ImageSource, PrepareRequest, counted
from trainables.data.store_check import image_counts
from trainables.data.store_format import FORMAT_VERSION, UNFINISHED
from trainables.data.store_info import LeakCounts, OptionValue, PlaceDates, StoreInfo
from trainables.printing.printable_text import printable


def described_store(
    name: str,
    request: PrepareRequest,
    listing: ImageSource,
    layout: ImageLayout,
    table: StoreRows,
    rows: IndexRows,
    leaks: LeakCounts,
) -> StoreInfo:
    """Return the metadata of a store whose pixels and rows are written; without bands, `made` and a fingerprint."""
    own = [labels or () for labels in table.labels]
    offsets = np.cumsum([0, *map(len, own)])
    hot = multi_hot(offsets, np.array(list(chain(*own)), dtype=np.int64), len(listing.class_names))
    known = np.array([labels is not None for labels in table.labels])
    counts = image_counts(hot, known, table.splits, listing.class_names, listing.rules)
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
        options=described_options(request),
        licence=request.facts.licence,
        notes=(
            *_notes(request, listing, hot, counts["class_counts"]),
            *(f"{count:,} images: {fact}" for fact, count in sorted(rows.facts.items())),
            *rows.use.notes(layout.dtype),
        ),
        leaks=leaks,
        corrupt=tuple(rows.corrupt),
        made="",
        fingerprint=UNFINISHED,
        decisions=_decisions(listing, table, rows, known),
        source_state=listing.state,
        place_dates=_place_dates(table),
    )


def _decisions(listing: ImageSource, table: StoreRows, rows: IndexRows, known: NDArray[np.bool_]) -> dict[str, str]:
    """Return what was detected in the source rather than chosen, in words."""
    left_out = listing.left_out() + rows.left_out + Counter({"images with none of these labels": table.undescribed})
    decided = {
        **listing.decisions,
        **_chips_told(rows),
        "labels": _labels_told(known),
        "splits": table.splits_told,
        "distance between splits": spatial_splits.described_distance(table.chips or [], table.splits),
        "left out": counted(left_out),
    }
    return {key: printable(text) for key, text in decided.items() if text}


def _notes(
    request: PrepareRequest, listing: ImageSource, hot: NDArray[np.bool_], class_counts: dict[str, tuple[int, ...]]
) -> tuple[str, ...]:
    own_classes = not request.options.labels
    return (
        *listing.notes,
        *_unused(listing, hot),
        *one_sided(listing.class_names, class_counts, spelt=own_classes),
        *(look_alikes(listing.class_names, single=not listing.multi_label) if own_classes else ()),
    )


def _chips_told(rows: IndexRows) -> dict[str, str]:
    """Return how many chips of how many places there are, and of which dates; empty where images aren't chips."""
    chips = [chip for chip in rows.chips if chip is not None]
    dates = sorted({chip.date for chip in chips if chip.date})
    return {
        "chips": f"{len(chips):,} of {len({chip.place for chip in chips}):,} places" if chips else "",
        "dates": f"{len(dates):,}, {dates[0]} to {dates[-1]}" if len(dates) > 1 else "".join(dates),
    }


def _place_dates(table: StoreRows) -> PlaceDates:
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
    return f"{known.sum():,} of {len(known):,} images have labels; the others are used for pretraining only"


def _unused(listing: ImageSource, hot: NDArray[np.bool_]) -> list[str]:
    empty = [listing.class_names[column] for column in np.flatnonzero(hot.sum(axis=0) == 0)]
    return [f"classes without an image: {', '.join(empty)}"] if empty else []


def described_options(request: PrepareRequest) -> dict[str, OptionValue]:
    """Return the chosen options in the form of a store's info."""
    columns = ", ".join(f"{name}={own}" for name, own in sorted(request.columns.items()))
    chosen = {"table": request.table.name if request.table else "", "columns": columns}
    return request.options.described(request.facts) | {name: value for name, value in chosen.items() if value}
