"""Parquet files with encoded images in a column, as the Hugging Face hub publishes data sets."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from trainables.data.sources.decode import decode_picture
from trainables.data.sources.source import Blob, Entry, Request, Source
from trainables.data.splits import named_split
from trainables.errors import BadInputError
from trainables.parquet_file import UNREADABLE, ParquetRows

LABELS_AT_ONCE = 4096
IMAGE_COLUMNS, LABEL_COLUMNS = ("image", "img"), ("label", "labels")


def read_parquet(request: Request) -> Source:
    """List the images of one Parquet file or of all in a folder: a column of bytes, one of labels.

    A file named train-..., test-... or validation-... gives its rows that split. Class names come from the hub's
    metadata in the file where it is there; else the labels themselves are the names. An image's name is its split and
    its number within that: train-000017.
    """
    source = request.required_source()
    paths = sorted(source.rglob("*.parquet")) if source.is_dir() else [source]
    if not paths or not source.exists():
        raise BadInputError(f"{source}: expected {request.facts.layout}; found no .parquet file")
    files = [_File(path, request) for path in paths]
    class_names = files[0].class_names or _found_names(files)
    total = sum(file.rows for file in files)
    return Source(
        str(source.resolve()),
        class_names,
        partial(_entries, request, files, class_names),
        total if request.options.fraction == 1.0 else None,
        multi_label=files[0].several,
    )


class _File:
    """One Parquet file and where its images and labels are."""

    def __init__(self, path: Path, request: Request) -> None:
        self.path = path
        self.split = named_split(path.stem.split("-")[0])
        opened = self._open()
        schema, self.rows = opened.schema, opened.count
        self.image = self._column(schema, request, "image", IMAGE_COLUMNS)
        self.label = self._column(schema, request, "label", LABEL_COLUMNS)
        self.place = request.columns.get("place")
        self.class_names = _class_names(schema, self.label)
        self.several = pa.types.is_list(schema.field(self.label).type)

    def batches(self) -> Iterator[list[dict[str, Any]]]:
        """Yield the rows, some at a time."""
        columns = [self.image, self.label, *([self.place] if self.place else [])]
        try:
            yield from self._open().batches(columns)
        except UNREADABLE as error:
            raise self._damaged(error) from error

    def labels(self) -> Iterator[Any]:
        """Yield the labels alone, without reading an image."""
        try:
            for rows in self._open().batches([self.label], LABELS_AT_ONCE):
                yield from (row[self.label] for row in rows)
        except UNREADABLE as error:
            raise self._damaged(error) from error

    def _open(self) -> ParquetRows:
        try:
            return ParquetRows(self.path)
        except UNREADABLE as error:
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> BadInputError:
        if isinstance(error, BadInputError):
            return error
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        return BadInputError(f"{self.path}: not a readable Parquet file ({reason}); download it again")

    def _column(self, schema: Any, request: Request, name: str, usual: tuple[str, ...]) -> str:
        wanted = (request.columns[name],) if name in request.columns else usual
        for column in wanted:
            if column in schema.names:
                return column
        raise BadInputError(
            f"{self.path}: no column {' or '.join(wanted)} among {', '.join(schema.names)}; name it with --column "
            f"{name}=NAME"
        )


def _entries(request: Request, files: list[_File], class_names: tuple[str, ...]) -> Iterator[Entry]:
    counts: dict[str, int] = {}
    for file in files:
        split = file.split or "image"
        row_of_file = 0
        for rows in file.batches():
            for row in rows:
                number, row_of_file = counts.get(split, 0), row_of_file + 1
                counts[split] = number + 1
                name = f"{split}-{number:06d}"
                if request.wants(name):
                    where = f"{file.path}: row {row_of_file}"
                    labels = _labels(row[file.label], class_names if file.class_names else (), where)
                    read = partial(
                        decode_picture,
                        Blob(where, _bytes(row[file.image], where)),
                        labels,
                        request.options.reading,
                    )
                    yield Entry(name, read, file.split, str(row[file.place]) if file.place else "")


def _labels(value: Any, class_names: tuple[str, ...], where: str) -> tuple[str, ...]:
    values = value if isinstance(value, list) else [value]
    if not values or any(one is None for one in values):
        raise BadInputError(f"{where}: no label; remove the row")
    if not class_names:
        return tuple(str(one) for one in values)
    for one in values:
        if not isinstance(one, int) or not 0 <= one < len(class_names):
            raise BadInputError(f"{where}: label {one!r} is none of 0 to {len(class_names) - 1}")
    return tuple(class_names[one] for one in values)


def _bytes(value: Any, where: str) -> bytes:
    content = value.get("bytes") if isinstance(value, dict) else value
    if not isinstance(content, bytes):
        raise BadInputError(f"{where}: the image column holds no bytes; it has to embed the images")
    return content


def _found_names(files: list[_File]) -> tuple[str, ...]:
    """Return the labels that occur, numbers in their own order."""
    found: set[Any] = set()
    for file in files:
        for value in file.labels():
            found.update(value if isinstance(value, list) else [value])
    found.discard(None)
    numbers = all(isinstance(value, int) for value in found)
    return tuple(str(value) for value in sorted(found, key=None if numbers else str))


def _class_names(schema: Any, label: str) -> tuple[str, ...]:
    """Return the names that the hub keeps in the file's metadata, empty where there are none."""
    try:
        features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
        feature = features[label]
        names = feature.get("names") or feature.get("feature", {}).get("names") or ()
        return tuple(str(name) for name in names)
    except (KeyError, TypeError, ValueError, AttributeError):
        return ()
