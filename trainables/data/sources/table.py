"""User's image table: CSV or Parquet with the columns path and label and, optionally, split and place."""

import contextlib
import csv
import io
import math
import posixpath
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainables.data.sources.missing_labels import is_missing
from trainables.data.sources.source import PrepareRequest
from trainables.data.split_names import are_splits, named_split, two_words
from trainables.errors import BadInputError
from trainables.parquet_file import UNREADABLE, ParquetRows
from trainables.special_file import refuse_special

TABLE_BYTES = 2**30
"""Maximum size of a CSV table, which is read into memory; ten million rows fit."""
DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
NEEDED, USED = ("path", "label"), ("path", "label", "split", "place")
OTHER_KINDS = {
    b"pk\x03\x04": "a zip or an Excel workbook; save it as CSV in UTF-8",
    b"\xd0\xcf\x11\xe0": "an older Excel workbook; save it as CSV in UTF-8",
    b"\x1f\x8b": "packed with gzip; unpack it",
    b"par1": "a Parquet file; give it the suffix .parquet",
    b"arrow1": "a Feather file; write CSV or Parquet",
    b"version https://git-lfs.github.com/spec/": "a git-LFS pointer; fetch the file with git lfs pull",
    b"<!doctype html": "a web page; fetch the file again",
    b"<html": "a web page; fetch the file again",
}
"""What other files begin with, in lower case, and in words what they are."""
WIDE = (b"\xff\xfe", b"\xfe\xff")
"""Byte order marks of UTF-16, which Excel calls Unicode."""


@dataclass(frozen=True)
class TableRow:
    """Row of one image, with its line number for messages."""

    where: str
    path: str
    labels: tuple[str, ...] | None
    """None for an empty cell: the image is unlabelled."""
    split: str | None
    place: str


@dataclass(frozen=True)
class ImageTable:
    """Rows of a table in order, and in words how it was read."""

    rows: list[TableRow]
    read_as: str
    has_splits: bool
    unused: tuple[str, ...] = ()
    """Names of columns without a meaning here."""
    other_splits: str = ""
    """The first of them that holds splits; empty if none does, or if a column of splits is used."""


def read_table(request: PrepareRequest, table: Path) -> ImageTable:
    """Read a table of images.

    Args:
        request: Request with the column names and the label separator.
        table: CSV or Parquet file.

    Raises:
        BadInputError: A missing, repeated or ambiguous column, or an invalid row; the message names it.
    """
    if not table.exists():
        raise BadInputError(f"--table {table}: no such file")
    if table.is_dir():
        raise BadInputError(f"--table {table}: a folder; give the table's file")
    refuse_special(table, f"--table {table}")
    read_as, found = _parquet(request, table) if table.suffix.lower() == ".parquet" else _csv(request, table)
    rows = [_row(request, row, f"{table}:{number}") for number, row in enumerate(found, start=2)]
    if not rows:
        raise BadInputError(f"{table}: no row; expected one for each image")
    _refuse_two_words(request, table, found)
    unused = tuple(name for name in found[0] if name.strip() and name not in map(request.column, USED))
    has_splits = any(row.split for row in rows)
    other = "" if has_splits else next((name for name in unused if are_splits(row[name] for row in found)), "")
    return ImageTable(rows, read_as, has_splits, unused, other)


def _refuse_two_words(request: PrepareRequest, table: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Raise BadInputError if two words name one split, such as train and trainval."""
    values = {_plain(row.get(request.column("split"))) for row in rows}
    if found := two_words({value: split for value in values if (split := named_split(value))}):
        split, names = found
        raise BadInputError(
            f"{table}: column {request.column('split')!r}: {' and '.join(map(repr, names))} both name the {split} "
            "split; write one word for it, or choose --splits random"
        )


def _row(request: PrepareRequest, row: Mapping[str, Any], where: str) -> TableRow:
    place = _plain(row.get(request.column("place")))
    return TableRow(where, _path(request, row, where), _labels(request, row, where), _split(request, row, where), place)


def _check_columns(request: PrepareRequest, table: Path, columns: Sequence[str]) -> None:
    for name in USED:
        own = request.column(name)
        if own not in columns and (name in NEEDED or name in request.columns):
            if not any(map(str.strip, columns)):
                raise BadInputError(f"{table}: its first line is empty; it has to name the columns: path,label")
            among = ", ".join(map(repr, columns))
            raise BadInputError(
                f"{table}: no column {own!r} among {among}; name the table's own with --column {name}=NAME"
            )
        if Counter(columns)[own] > 1:
            raise BadInputError(f"{table}: {Counter(columns)[own]} columns are named {own!r}; rename all but one")


def _path(request: PrepareRequest, row: Mapping[str, Any], where: str) -> str:
    column = request.column("path")
    value = row[column]
    if not isinstance(value, str) or not value.strip():
        raise BadInputError(f"{where}: column {column} is empty; give the image's path within the source")
    return posixpath.normpath(value.strip())


def _labels(request: PrepareRequest, row: Mapping[str, Any], where: str) -> tuple[str, ...] | None:
    value, separator = row[request.column("label")], request.options.separator
    if isinstance(value, list):
        labels = [_text(label) for label in value]
    else:
        labels = [part.strip() for part in _plain(value).split(separator)] if separator else [_plain(value)]
    labels = [label for label in labels if label]
    if not labels:
        return None
    if missing := [label for label in labels if is_missing(label)]:
        raise BadInputError(f"{where}: label {missing[0]!r} means a missing label; give one, or leave the cell empty")
    if written := [label for label in labels if label[0] + label[-1] in ("[]", "{}", "()")]:
        raise BadInputError(
            f"{where}: label {written[0]!r} is a list written as text; write its labels as a|b, and add --separator '|'"
        )
    if separator is None and len(labels) > 1:
        raise BadInputError(f"{where}: several labels; give the character between them with --separator")
    return tuple(labels)


def _split(request: PrepareRequest, row: Mapping[str, Any], where: str) -> str | None:
    value = _plain(row.get(request.column("split")))
    if not value:
        return None
    split = named_split(value)
    if split is None:
        raise BadInputError(f"{where}: split {value!r} is none of train, validation, test")
    return split


def _text(value: Any) -> str:
    """Return a cell as text; empty for a missing value."""
    return "" if value is None or (isinstance(value, float) and math.isnan(value)) else str(value)


def _plain(value: Any) -> str:
    return _text(value).strip()


def _csv(request: PrepareRequest, table: Path) -> tuple[str, list[Mapping[str, Any]]]:
    try:
        if (size := table.stat().st_size) > TABLE_BYTES:
            raise BadInputError(
                f"{table}: has {size:,} bytes, the limit of a CSV table is {TABLE_BYTES:,}; write Parquet"
            )
        content = table.read_bytes()
    except OSError as error:
        raise BadInputError(f"--table {table}: can't be read ({error.strerror})") from error
    if other := next((words for start, words in OTHER_KINDS.items() if content[:64].lower().startswith(start)), None):
        raise BadInputError(f"{table}: not a CSV table, but {other}")
    try:
        text = content.decode("utf-8-sig")  # line ends within quotes belong to names
    except UnicodeDecodeError as error:
        found = "UTF-16" if content.startswith(WIDE) else f"byte {error.start} is none of it"
        raise BadInputError(f"{table}: not a CSV table in UTF-8 ({found}); save it as CSV in UTF-8") from error
    if "\0" in text:
        raise BadInputError(f"{table}: not a CSV table in UTF-8 (it has zero bytes); save it as CSV in UTF-8")
    try:
        delimiter = _delimiter(request, text)
        records = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        columns = next(records, [])
        _check_columns(request, table, columns)
        rows = list(_records(table, columns, records))
    except csv.Error as error:
        raise BadInputError(f"{table}: not a CSV table in UTF-8 ({error})") from error
    return f"{DELIMITERS[delimiter]} between columns", rows


def _delimiter(request: PrepareRequest, text: str) -> str:
    """Return the delimiter with which the first line has the path and label columns."""
    wanted = {request.column(name) for name in NEEDED}
    for delimiter in DELIMITERS:
        with contextlib.suppress(csv.Error):
            if wanted <= set(next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True), [])):
                return delimiter
    first = text.partition("\n")[0]
    return max(DELIMITERS, key=first.count)  # so that the error names the columns that there are


def _records(table: Path, columns: Sequence[str], records: Iterator[list[str]]) -> Iterator[Mapping[str, Any]]:
    for number, cells in enumerate((cells for cells in records if cells), start=2):
        if len(cells) > len(columns):
            raise BadInputError(
                f"{table}:{number}: {len(cells)} cells in {len(columns)} columns; put a cell that has a separator in "
                "it into quotes"
            )
        yield dict(zip(columns, [*cells, *[None] * (len(columns) - len(cells))], strict=True))


def _parquet(request: PrepareRequest, table: Path) -> tuple[str, list[Mapping[str, Any]]]:
    try:
        opened = ParquetRows(table)
        _check_columns(request, table, list(opened.schema.names))
        rows: list[Mapping[str, Any]] = [row for batch in opened.batches() for row in batch]
    except UNREADABLE as error:
        raise BadInputError(f"{table}: not a Parquet table ({str(error).splitlines()[0]})") from error
    return "Parquet", rows
