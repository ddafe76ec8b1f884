"""Parquet files with a column of encoded images, as the Hugging Face hub publishes data sets."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from trainables.data.sources.archive import first_bytes
from trainables.data.sources.decode import UndecodableError, decode_picture
from trainables.data.sources.file_kinds import refuse_kind
from trainables.data.sources.file_tree import junk
from trainables.data.sources.parquet_labels import LabelColumn, LabelReader, is_text, label_reader
from trainables.data.sources.parquet_shards import check_shards
from trainables.data.sources.parquet_splits import splits_of_paths, splits_of_values
from trainables.data.sources.reading import NotReadError, ReadingOptions
from trainables.data.sources.source import (
    ArchiveFile,
    ImageEntry,
    ImageSource,
    LabelledImage,
    PrepareRequest,
    digest_of,
    some_names,
)
from trainables.data.split_names import are_splits, named_split
from trainables.errors import BadInputError
from trainables.files.parquet_file import UNREADABLE, ParquetRows
from trainables.files.special_file import refuse_special

VALUES_AT_ONCE = 4096
IMAGE_COLUMNS, LABEL_COLUMNS = ("image", "img"), ("label", "labels")
HUB_STEM = re.compile(r"(train|training|test|testing|val|valid|validation|dev)(-.*)?", re.IGNORECASE)
"""File names whose stem becomes part of the image names when the splits aren't used."""


@dataclass(frozen=True)
class _RowSplits:
    """Splits of rows: by the file's path, by a column's values, or none."""

    of_path: Mapping[str, str]
    column: str | None = None
    of_value: Mapping[object, str] | None = None

    @property
    def told(self) -> str:
        if self.column is not None:
            return f"column {self.column!r}"
        return f"the files' paths ({some_names(sorted(self.of_path))})" if self.of_path else ""


def read_parquet(request: PrepareRequest) -> ImageSource:
    """List the images of one Parquet file, or of all Parquet files in a folder.

    A row's split comes from the file's name or a parent folder, otherwise from a column. Class names come from the
    hub's metadata in the files, otherwise from the labels. Images are named by split and number: train-000017.

    Args:
        request: Request with the source and, if they differ, the column names.

    Raises:
        BadInputError: No Parquet file, a missing column, or unclear splits or labels.
    """
    source = request.required_source()
    if not source.exists():
        raise BadInputError(f"{source}: no such file or folder")
    refuse_special(source, str(source))
    paths, left_out = _found(source)
    check_shards(str(source), [path.relative_to(source).as_posix() for path in paths if path != source])
    if not paths:
        raise BadInputError(f"{source}: expected {request.facts.layout}; found no .parquet file")
    files = [
        _File(path, path.relative_to(source).as_posix() if path != source else path.name, request) for path in paths
    ]
    reader = label_reader(
        [file.labels for file in files], (value for file in files for value in file.values(file.label))
    )
    splits = _splits(request, files)
    total = sum(file.rows for file in files)
    return ImageSource(
        str(source.resolve()),
        reader.class_names,
        partial(_entries, request, files, reader, splits),
        total if request.options.fraction == 1.0 else None,
        multi_label=reader.several,
        decisions={"classes": reader.told(), "columns not used": _unused(files)},
        left_out=lambda: left_out,
        splits_from=splits.told,
        state=digest_of(*(file.state for file in files)),
    )


def _found(source: Path) -> tuple[list[Path], Counter[str]]:
    """Return the Parquet files, and counts of the other files by reason."""
    if not source.is_dir():
        return [source], Counter()
    paths, left_out = [], Counter[str]()
    for path in sorted(source.rglob("*")):
        if path.is_file():
            other = "" if path.suffix.lower() == ".parquet" else "no .parquet"
            reason = junk(path.relative_to(source).as_posix()) or other
            left_out[reason] += bool(reason)
            paths += [] if reason else [path]
    return paths, +left_out


def _splits(request: PrepareRequest, files: "list[_File]") -> _RowSplits:
    """Return the splits and their origin: the requested column, otherwise the paths, otherwise a column named split."""
    where, asked = str(request.source), request.columns.get("split")
    if request.options.splits != "own":
        return _RowSplits({file.relative: split for file in files if (split := file.hub_split)})
    of_path = {} if asked else splits_of_paths(where, [file.relative for file in files])
    column = asked or "split"
    if of_path:
        return _RowSplits(of_path)
    if not all(column in file.columns for file in files):
        _refuse_other_splits(where, files)
        return _RowSplits({})
    values = (value for file in files for value in file.values(column))
    of_value = splits_of_values(where, column, values, asked=bool(asked))
    return _RowSplits({}) if of_value is None else _RowSplits({}, column, of_value)


def _unused(files: "list[_File]") -> str:
    unused = sorted({repr(name) for file in files for name in file.unused})
    return some_names(unused) if unused else ""


def _refuse_other_splits(where: str, files: "list[_File]") -> None:
    """Raise BadInputError if an unused column of texts holds splits."""
    for column in files[0].unused_texts:
        shared = all(column in file.unused_texts for file in files)
        if shared and are_splits(value for file in files for value in file.values(column)):
            raise BadInputError(
                f"{where}: column {column!r} holds splits; name it with --column split={column}, or choose --splits "
                "random"
            )


class _File:
    """Parquet file with the columns of its images and labels."""

    def __init__(self, path: Path, relative: str, request: PrepareRequest) -> None:
        self.path, self.relative = path, relative
        opened = self._open()
        schema, self.rows = opened.schema, opened.count
        self.columns: list[str] = schema.names
        self.image = self._column(request, "image", IMAGE_COLUMNS)
        self.label = self._column(request, "label", LABEL_COLUMNS)
        self.place = self._column(request, "place", ()) if "place" in request.columns else None
        if "split" in request.columns:
            self._column(request, "split", ())
        self.labels = LabelColumn.of(str(path), schema, self.label)
        used = (self.image, self.label, self.place, request.columns.get("split", "split"))
        self.unused = tuple(name for name in self.columns if name not in used)
        self.unused_texts = tuple(name for name in self.unused if is_text(schema.field(name).type))
        kept = path.stat()
        self.state = f"{relative} {kept.st_size} {kept.st_mtime_ns} {self.image} {self.label} {self.place}"

    @property
    def hub_split(self) -> str | None:
        """Split at the beginning of the file name, as the hub names files; None if absent."""
        return named_split(self.path.stem.split("-")[0]) if HUB_STEM.fullmatch(self.path.stem) else None

    def batches(self, split: str | None) -> Iterator[list[dict[str, Any]]]:
        """Yield rows in batches, with the columns of image, label, place and split."""
        columns = dict.fromkeys(one for one in (self.image, self.label, self.place, split) if one)
        try:
            yield from self._open().batches(list(columns))
        except UNREADABLE as error:
            raise self._damaged(error) from error

    def values(self, column: str) -> Iterator[Any]:
        """Yield the values of one column, without reading images."""
        try:
            for rows in self._open().batches([column], VALUES_AT_ONCE):
                yield from (row[column] for row in rows)
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
        try:
            refuse_kind(first_bytes(self.path))
        except NotReadError as kind:
            return BadInputError(f"{self.path}: {kind}")
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        return BadInputError(f"{self.path}: not a readable Parquet file ({reason}); download it again")

    def _column(self, request: PrepareRequest, name: str, usual: tuple[str, ...]) -> str:
        wanted = (request.columns[name],) if name in request.columns else usual
        if len(both := [column for column in wanted if column in self.columns]) > 1:
            raise BadInputError(
                f"{self.path}: columns {' and '.join(map(repr, both))}: either may be the {name}; choose one with "
                f"--column {name}=NAME"
            )
        for column in wanted:
            if self.columns.count(column) > 1:
                raise BadInputError(f"{self.path}: several columns are named {column!r}; rename all but one")
            if column in self.columns:
                return column
        raise BadInputError(
            f"{self.path}: no column {' or '.join(wanted)} among {', '.join(self.columns)}; name it with --column "
            f"{name}=NAME"
        )


def _entries(
    request: PrepareRequest, files: list[_File], reader: LabelReader, splits: _RowSplits
) -> Iterator[ImageEntry]:
    counts: Counter[str] = Counter()
    for file in files:
        own = splits.of_path.get(file.relative)
        row_of_file = 0
        for rows in file.batches(splits.column):
            for row in rows:
                row_of_file += 1
                name = f"{own or 'image'}-{counts[own or 'image']:06d}"
                counts[own or "image"] += 1
                if request.wants(name):
                    where = f"{file.path}: row {row_of_file}"
                    split = splits.of_value[row[splits.column]] if splits.column and splits.of_value else own
                    read = partial(_read, where, row[file.image], row[file.label], reader, request.options.reading)
                    yield ImageEntry(name, read, split, str(row[file.place]) if file.place else "")


def _bytes(value: Any, where: str) -> bytes:
    content = value.get("bytes") if isinstance(value, dict) else value
    if value is None:
        raise UndecodableError(f"{where}: no image (null); give it one, or remove the row")
    if not isinstance(content, bytes):
        raise BadInputError(f"{where}: the image column holds no bytes; it has to embed the images")
    return content


def _read(where: str, image: Any, label: Any, reader: LabelReader, reading: ReadingOptions) -> LabelledImage:
    try:
        labels = reader.labels(label, where)
    except BadInputError as error:
        raise UndecodableError(str(error)) from error
    return decode_picture(ArchiveFile(where, _bytes(image, where)), labels, reading)
