"""Label sets: other classes, several labels or a number for the images of a store, without a copy of the pixels.

A label set is a store of its own, STORE.NAME, that shares the pixel file, images, splits and places of the labelled
store. Its labels and fingerprint are its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from trainables.data import chip
from trainables.data.dataset_facts import FOLDER
from trainables.data.index_table import (
    CHIP,
    NUMBERED,
    SCHEMA,
    fingerprint,
    known_labels,
    multi_hot,
    open_rows,
    write_batch,
)
from trainables.data.preparing.atomic_folder import atomic_folder, explained, locked
from trainables.data.preparing.class_checks import look_alikes, one_sided
from trainables.data.preparing.field_points import Merged, PlacedPoints, Projection, placed_points
from trainables.data.preparing.label_numbers import fraction_of, number_of, number_summary
from trainables.data.shared_pixels import LABELS_OF, labels_of, share
from trainables.data.sources.meant_image import meant_image
from trainables.data.sources.options import choose
from trainables.data.sources.source import PrepareRequest, digest_of, some_names
from trainables.data.sources.table import TableRow, read_table
from trainables.data.store_addresses import store_folder
from trainables.data.store_check import image_counts
from trainables.data.store_format import INFO_FILE, PIXELS_FILE, ROWS_FILE, UNFINISHED
from trainables.data.store_info import StoreInfo, prepared
from trainables.errors import BadInputError
from trainables.printing.printable_text import printable

DEFAULT_NAME = "labels"
MOST_HINTED = 20
"""Maximum number of unknown paths for which a similar image is looked for."""


@dataclass(frozen=True)
class LabelRequest:
    """Request for a label set: the store, and the table of labels to attach."""

    store: str
    table: Path
    name: str = DEFAULT_NAME
    columns: Mapping[str, str] | None = None
    """Column names of the table for path and label, if they differ."""
    separator: str | None = None
    """Separator between several labels of one image; None: one class per image."""
    number: bool = False
    """Whether the label column contains a number per image (regression) instead of classes."""

    @property
    def column(self) -> str:
        """Name of the table's column of labels."""
        return (self.columns or {}).get("label", "label")


@dataclass(frozen=True)
class LabelSet:
    """Label set, and the images that are only in the table or only in the store."""

    info: StoreInfo
    only_in_table: tuple[str, ...]
    only_in_store: tuple[str, ...]
    made: bool
    """Whether it was written now; False if the same label set existed."""
    meant: str = ""
    """In words, which image of the store a path that is only in the table probably means."""
    points: tuple[str, ...] = ()
    """In words, where the points of the table lie, in place of paths."""

    def lines(self) -> list[str]:
        """Return one line per kind of unmatched images, with their number and some names."""
        if self.points:
            return list(self.points)
        sides = {"in the table and not in the store": self.only_in_table, "in no row": self.only_in_store}
        lines = [f"images {side}: {len(own):,} ({some_names(own)})" for side, own in sides.items() if own]
        return [*lines, *([self.meant] if self.meant else [])]


def attach_labels(asked: LabelRequest, root: Path | None = None, project: Projection | None = None) -> LabelSet:
    """Attach a table's labels to a store as the label set STORE.NAME.

    The table names images by their path within the store's source, or has points, which label the chips that contain
    them. Images without a row, or with an empty cell, are unlabelled.

    Args:
        asked: Store, table and name of the label set.
        root: Folder of all stores; None: the default root.
        project: Function that projects longitudes and latitudes to a CRS; needed for points.

    Raises:
        BadInputError: Unknown store, unreadable table, no image in common, numbers that can't be learned, or another
            label set of that name.
    """
    if asked.number and asked.separator is not None:
        raise BadInputError(f"--separator {asked.separator!r}: an image has one number; leave out it, or --number")
    base = prepared(asked.store, root)
    store_folder(f"{asked.store}.{asked.name}", root)  # refuses a name that isn't plain, before anything is read
    rows = open_rows(store_folder(asked.store, root) / ROWS_FILE)
    options = choose(FOLDER, {"separator": asked.separator})
    request = PrepareRequest(FOLDER, options, table=asked.table, columns=asked.columns or {})
    listed = read_table(request, asked.table, points=True).rows
    names = rows.column("name").to_pylist()
    if listed[0].point is not None:
        placed = _placed(asked, rows, names, listed, project)
        info, made = _attached(asked, base, rows, placed.rows, placed.used, root, "; ".join(placed.lines))
        return LabelSet(info, (), (), made, points=placed.lines)
    table = _by_name(listed)
    only_in_table = tuple(sorted(table.keys() - set(names)))
    if len(only_in_table) == len(table):
        raise BadInputError(
            f"{asked.table}: none of its images ({some_names(only_in_table)}) is in {asked.store} "
            f"({some_names(names)}); name them by their path within the store's source{_meant(only_in_table, names)}"
        )
    own = [table.get(name) for name in names]
    info, made = _attached(asked, base, rows, own, [row for row in own if row is not None], root)
    only_in_store = tuple(name for name in names if name not in table)
    meant = _meant(only_in_table, only_in_store).removeprefix("; ")
    return LabelSet(info, only_in_table, only_in_store, made, meant)


def _placed(
    asked: LabelRequest, rows: Any, names: Sequence[str], points: Sequence[TableRow], project: Projection | None
) -> PlacedPoints:
    """Return the points of a table in the chips of the store; BadInputError if none lies in one."""
    chips = chip.read(rows.column("chip")) if CHIP.name in rows.schema.names else []
    if project is None or not any(one.crs for one in chips):
        raise BadInputError(
            f"{asked.table}: has points, and {asked.store} has no chips with coordinates, which scenes have; name "
            "images in a column path"
        )
    merged: Merged = "number" if asked.number else "labels" if asked.separator is not None else "class"
    return placed_points(asked.store, names, chips, points, merged, project)


def _attached(
    asked: LabelRequest,
    base: StoreInfo,
    rows: Any,
    found: Sequence[TableRow | None],
    used: Sequence[TableRow],
    root: Path | None,
    points: str = "",
) -> tuple[StoreInfo, bool]:
    """Write the label set with the row of each image; return its info, and whether it was written now."""
    labelled, info = _labelled(asked, base, rows, found, used)
    told = {"points": printable(points.removeprefix("points: "))} if points else {}
    info = info.model_copy(update={"fingerprint": fingerprint(info, labelled), "decisions": {**info.decisions, **told}})
    return info, _written(store_folder(info.name, root), info, labelled, store_folder(asked.store, root))


def _meant(written: Sequence[str], names: Sequence[str]) -> str:
    """Return, for the first of some paths that probably means an image, which one; empty without any."""
    hints = ((path, meant_image(path, names)) for path in written[:MOST_HINTED])
    return next((f"; {path!r} is no image of the store{hint}" for path, hint in hints if hint), "")


def _by_name(rows: Sequence[TableRow]) -> dict[str, TableRow]:
    """Return a table's rows by image path; BadInputError for an image with two rows."""
    found: dict[str, TableRow] = {}
    for row in rows:
        if row.path in found:
            raise BadInputError(f"{row.where}: {row.path} is named twice; an image has one row")
        found[row.path] = row
    return found


def _labelled(
    asked: LabelRequest, base: StoreInfo, rows: Any, found: Sequence[TableRow | None], used: Sequence[TableRow]
) -> tuple[Any, StoreInfo]:
    """Return a store's rows with the table's labels, and the info of the label set without its fingerprint.

    Args:
        asked: Request for the label set.
        base: Metadata of the store.
        rows: Index of the store.
        found: Row of each image; None without one.
        used: Rows of the table that label an image.
    """
    class_names: tuple[str, ...] = ()
    labels: list[tuple[int, ...] | None] = [None] * len(found)
    numbers: list[float | None] = []
    column = asked.column
    if asked.number:
        numbers = [None if row is None else number_of(row) for row in found]
        written = [value for row in used if (value := number_of(row)) is not None]
        told = number_summary(asked.table, column, [value for value in numbers if value is not None], written)
    else:
        _refuse_fractions(asked, used)
        own = [None if row is None else row.labels for row in found]
        class_names = tuple(sorted({label for labels in own for label in labels or ()}))
        index = {name: number for number, name in enumerate(class_names)}
        labels = [None if one is None else tuple(sorted({index[label] for label in one})) for one in own]
        kinds = "1 class" if len(class_names) == 1 else f"{len(class_names):,} classes"
        told = f"{kinds} by column {column!r} of {asked.table.name}"
    labelled = _batch(rows, labels, numbers)
    known = known_labels(labelled)
    if not known.any():
        raise BadInputError(f"{asked.table}: no image of {asked.store} has a label in it; fill the column {column!r}")
    return labelled, _info(asked, base, labelled, class_names, told)


def _batch(rows: Any, labels: Sequence[tuple[int, ...] | None], numbers: Sequence[float | None]) -> Any:
    replaced = {
        "labels": pa.array(labels, pa.list_(pa.int16())),
        "original_labels": pa.array([None] * len(rows), pa.list_(pa.string())),
        "number": pa.array(numbers, pa.float64()),
    }
    schema = NUMBERED if numbers else SCHEMA
    schema = schema.append(CHIP) if CHIP.name in rows.schema.names else schema
    columns = [replaced.get(field.name) for field in schema]
    columns = [rows.column(field.name) if own is None else own for field, own in zip(schema, columns, strict=True)]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _info(asked: LabelRequest, base: StoreInfo, rows: Any, class_names: tuple[str, ...], told: str) -> StoreInfo:
    codes: NDArray[np.int8] = rows.column("split").indices.to_numpy()
    own = [labels or () for labels in rows.column("labels").to_pylist()]
    offsets = np.cumsum([0, *map(len, own)])
    hot = multi_hot(offsets, np.array(list(chain(*own)), dtype=np.int64), len(class_names))
    known = known_labels(rows)
    counts = image_counts(hot, known, codes, class_names, {})
    options = {name: value for name, value in base.options.items() if name != "labels"}
    return base.model_copy(
        update={
            **counts,
            "name": f"{asked.store}.{asked.name}",
            "class_names": class_names,
            "multi_label": asked.separator is not None,
            "number": asked.column if asked.number else "",
            "rules": {},
            "options": {**options, LABELS_OF: labels_of(base)},
            "notes": (
                *base.notes,
                *look_alikes(class_names, single=asked.separator is None),
                *one_sided(class_names, counts["class_counts"]),
            ),
            "decisions": {
                **base.decisions,
                "classes": printable(told),
                "labels": f"{known.sum():,} of {len(known):,} images have labels",
            },
            "source_state": digest_of(*(repr(one) for one in rows.column("labels").to_pylist())),
            "made": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC of {asked.table.name}",
            "fingerprint": UNFINISHED,
        }
    )


def _refuse_fractions(asked: LabelRequest, rows: Sequence[TableRow]) -> None:
    """Raise BadInputError for a class column of fractions, in which every value would be a class."""
    texts = [label for row in rows for label in row.labels or ()]
    if (fraction := fraction_of(texts)) is not None:
        raise BadInputError(
            f"{asked.table}: labels are numbers ({fraction}); add --number to learn them as such, or name the column "
            "of classes with --column label=NAME"
        )


def _written(folder: Path, info: StoreInfo, rows: Any, base: Path) -> bool:
    """Write the label set's folder; return False if the same one exists. BadInputError if a different one exists."""
    with locked(folder, "labelled"):
        existing = StoreInfo.read_folder(folder)
        if existing is not None:
            if existing.fingerprint != info.fingerprint:
                raise BadInputError(
                    f"{info.name}: has other labels already; choose another --name, or remove it: python -m sweep.data "
                    f"remove {info.name}"
                )
            return False
        with atomic_folder(folder) as aside, explained(folder.parent):
            share(base / PIXELS_FILE, aside / PIXELS_FILE)
            write_batch(aside / ROWS_FILE, rows)
            (aside / INFO_FILE).write_text(info.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return True
