"""User's table of images or points: CSV or Parquet.

Images have the columns path and label and, optionally, split and place; points have longitude, latitude and label and,
optionally, date.
"""

import contextlib
import csv
import datetime
import io
import math
import posixpath
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainables.data.sources.missing_labels import is_missing
from trainables.data.sources.source import PrepareRequest
from trainables.data.split_names import are_splits, named_split, two_words
from trainables.errors import BadInputError
from trainables.files.parquet_file import UNREADABLE, ParquetRows
from trainables.files.special_file import refuse_special

TABLE_BYTES = 2**30
"""Maximum size of a CSV table, which is read into memory; ten million rows fit."""
DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
USED = ("label", "split", "place")
"""Columns of every table; a label is needed."""
PATH, POINT, DATE = ("path",), ("longitude", "latitude"), "date"
"""Columns that name an image, or a point and its date."""
SEPARATOR_LINE = re.compile(r"\"?sep=.\"?\r?\n", re.IGNORECASE)
"""First line by which Excel states the separator, which is no row."""
DATE_TEXT = re.compile(r"(\d{4})-?(\d\d)-?(\d\d)(?:[T ].*)?", re.ASCII)
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


Line = tuple[int, Mapping[str, Any]]
"""Number of a line, from 1, and its cells by column."""


@dataclass(frozen=True)
class TableRow:
    """Row of one image, with its line number for messages."""

    where: str
    path: str
    labels: tuple[str, ...] | None
    """None for an empty cell: the image is unlabelled."""
    split: str | None
    place: str
    point: tuple[float, float] | None = None
    """Longitude and latitude in degrees; None in a table of images."""
    date: str = ""
    """Date of a point as YYYY-MM-DD; empty if it has none."""


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


def read_table(request: PrepareRequest, table: Path, *, points: bool = False) -> ImageTable:
    """Read a table of images.

    Args:
        request: Request with the column names and the label separator.
        table: CSV or Parquet file.
        points: Whether rows may be points by longitude and latitude; a table with a column of paths names images.

    Raises:
        BadInputError: A missing, repeated or ambiguous column, or an invalid row; the message names it.
    """
    if not table.exists():
        raise BadInputError(f"--table {table}: no such file")
    if table.is_dir():
        raise BadInputError(f"--table {table}: a folder; give the table's file")
    refuse_special(table, f"--table {table}")
    ways = (PATH, POINT) if points else (PATH,)
    read = _parquet if table.suffix.lower() == ".parquet" else _csv
    read_as, lines = read(request, table, ways)
    if not lines:
        raise BadInputError(f"{table}: no row; expected one for each {'image or point' if points else 'image'}")
    found = [row for _, row in lines]
    key = _key(request, list(found[0]), ways)
    rows = [_row(request, row, f"{table}:{number}", key) for number, row in lines]
    _refuse_two_words(request, table, found)
    unused = tuple(name for name in found[0] if name.strip() and name not in map(request.column, (*key, DATE, *USED)))
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


def _key(request: PrepareRequest, columns: Sequence[str], ways: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """Return the columns that name a row's image or point: those that the user named, else the first that exist."""
    named = [key for key in ways if {*key, *([DATE] if key == POINT else [])} & set(request.columns)]
    if len(named) > 1:
        raise BadInputError("--column: path is for images, longitude, latitude and date are for points; name one kind")
    there = [key for key in ways if set(map(request.column, key)) <= set(columns)]
    return [*named, *there, *ways][0]


def _row(request: PrepareRequest, row: Mapping[str, Any], where: str, key: tuple[str, ...]) -> TableRow:
    place = _plain(row.get(request.column("place")))
    labels, split = _labels(request, row, where), _split(request, row, where)
    if key == POINT:
        longitude, latitude = (_degrees(request, row, where, name) for name in POINT)
        return TableRow(where, "", labels, split, place, (longitude, latitude), _date(request, row, where))
    return TableRow(where, _path(request, row, where), labels, split, place)


def _degrees(request: PrepareRequest, row: Mapping[str, Any], where: str, name: str) -> float:
    text, most = _plain(row[request.column(name)]), 180.0 if name == "longitude" else 90.0
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not abs(value) <= most:
        raise BadInputError(
            f"{where}: column {request.column(name)!r}: {text!r} is no {name} in degrees, from {-most:g} to {most:g} "
            "with a decimal point; correct it, or leave the row out"
        )
    return value


def _date(request: PrepareRequest, row: Mapping[str, Any], where: str) -> str:
    """Return a point's date as YYYY-MM-DD; empty for an empty cell, BadInputError for another text."""
    text = _plain(row.get(request.column(DATE)))
    if not text:
        return ""
    match = DATE_TEXT.fullmatch(text)
    with contextlib.suppress(ValueError):
        if match is not None:
            return datetime.date(*map(int, match.groups())).isoformat()
    raise BadInputError(f"{where}: column {request.column(DATE)!r}: {text!r} is no date; write it as 2023-06-13")


def _check_columns(
    request: PrepareRequest, table: Path, columns: Sequence[str], ways: Sequence[tuple[str, ...]]
) -> None:
    key = _key(request, columns, ways)
    for name in (*key, *([DATE] if key == POINT else []), *USED):
        own = request.column(name)
        if own not in columns and (name in (*key, "label") or name in request.columns):
            if not any(map(str.strip, columns)):
                raise BadInputError(f"{table}: its first line is empty; it has to name the columns: path,label")
            among = ", ".join(map(repr, columns))
            also = ", or those of points with --column longitude=NAME --column latitude=NAME" if POINT in ways else ""
            raise BadInputError(
                f"{table}: no column {own!r} among {among}; name the table's own with --column {name}=NAME"
                f"{also if key == PATH and name == 'path' else ''}"
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


def _csv(request: PrepareRequest, table: Path, ways: Sequence[tuple[str, ...]]) -> tuple[str, list[Line]]:
    """Return in words how a CSV table was read, and its rows with the numbers of their lines."""
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
    if stated := SEPARATOR_LINE.match(text):
        raise BadInputError(f"{table}: its first line, {stated[0].strip()!r}, is Excel's and no row; remove it")
    try:
        delimiter = _delimiter(request, text, ways)
        records = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        columns = next(records, [])
        _check_columns(request, table, columns, ways)
        rows = list(_records(table, columns, records))
    except csv.Error as error:
        raise BadInputError(f"{table}: not a CSV table in UTF-8 ({error})") from error
    return f"{DELIMITERS[delimiter]} between columns", rows


def _delimiter(request: PrepareRequest, text: str, ways: Sequence[tuple[str, ...]]) -> str:
    """Return the delimiter with which the first line has the label column and those of an image or a point."""
    wanted = [{request.column(name) for name in (*key, "label")} for key in ways]
    for delimiter in DELIMITERS:
        with contextlib.suppress(csv.Error):
            found = set(next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True), []))
            if any(columns <= found for columns in wanted):
                return delimiter
    first = text.partition("\n")[0]
    return max(DELIMITERS, key=first.count)  # so that the error names the columns that there are


def _records(table: Path, columns: Sequence[str], records: Any) -> Iterator[Line]:
    """Yield the rows of a `csv.reader` with the numbers of their lines.

    Rows of empty cells, and empty cells beyond the columns, are left out: Excel writes them where cells were formatted.
    """
    for cells in records:
        if not any(map(str.strip, cells)):
            continue
        if any(map(str.strip, cells[len(columns) :])):
            raise BadInputError(
                f"{table}:{records.line_num}: {len(cells)} cells in {len(columns)} columns; put a cell that has a "
                "separator in it into quotes"
            )
        own = [*cells[: len(columns)], *[None] * (len(columns) - len(cells))]
        yield records.line_num, dict(zip(columns, own, strict=True))


def _parquet(request: PrepareRequest, table: Path, ways: Sequence[tuple[str, ...]]) -> tuple[str, list[Line]]:
    """Return how a Parquet table was read, and its rows with their numbers, as if it had a line of names."""
    try:
        opened = ParquetRows(table)
        _check_columns(request, table, list(opened.schema.names), ways)
        rows: list[Line] = list(enumerate((row for batch in opened.batches() for row in batch), start=2))
    except UNREADABLE as error:
        raise BadInputError(f"{table}: not a Parquet table ({str(error).splitlines()[0]})") from error
    return "Parquet", rows
