"""A person's own images: class folders, or a table of paths and labels; JPEG, PNG, TIFF or GeoTIFF."""

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from trainables.data.sources.archive import FileTree, open_tree
from trainables.data.sources.decode import IMAGE_SUFFIXES, OTHER_IMAGES, decode_picture
from trainables.data.sources.layout import file_of
from trainables.data.sources.source import Entry, Request, Source, some_names
from trainables.data.splits import named_split
from trainables.errors import BadInputError

TABLE_BYTES = 2**30
"""Most of a CSV table, which is read whole: ten million rows fit in."""


@dataclass(frozen=True)
class _Image:
    path: str
    labels: tuple[str, ...]
    split: str | None
    place: str


def read_folder(request: Request) -> Source:
    """List the images of a folder or zip: <class>/..., or <split>/<class>/..., or what the table names.

    An image's name is its path within the source. Classes are in the order of their names.
    """
    tree = open_tree(request.required_source())
    paths = [path for path in tree.names() if path.lower().endswith(IMAGE_SUFFIXES)]
    others = len(tree.names()) - len(paths)
    images = _of_folders(tree, paths) if request.table is None else _of_table(request, tree, paths)
    unused = len(paths) - len(images)
    wanted = [image for image in images if request.wants(image.path)]
    unread = [path for path in tree.names() if path.lower().endswith(OTHER_IMAGES)]
    others -= len(unread)
    notes = [f"{others:,} files that are no images were ignored"] if others else []
    if unread:
        notes.append(f"{len(unread):,} images of kinds that aren't supported were left out: {some_names(unread)}")
    if request.table is not None and unused > 0:
        notes.append(f"{unused:,} images that {request.table.name} doesn't name were ignored")

    reading = request.options.reading

    def entries() -> Iterator[Entry]:
        for image in wanted:
            yield Entry(
                image.path,
                partial(decode_picture, file_of(tree, image.path), image.labels, reading),
                image.split,
                image.place,
            )

    return Source(
        tree.location,
        tuple(sorted({label for image in images for label in image.labels})),
        entries,
        len(wanted),
        tuple(notes),
        multi_label=request.options.separator is not None,
    )


def _of_folders(tree: FileTree, paths: list[str]) -> list[_Image]:
    tops = {path.split("/", 1)[0] for path in paths if "/" in path}
    by_split = bool(tops) and all(named_split(top) for top in tops)
    images = []
    for path in paths:
        parts = path.split("/")
        if len(parts) < 2 + by_split:
            raise BadInputError(f"{tree.location}: {path}: lies in no class folder; move it, or give --table FILE")
        images.append(_Image(path, (parts[by_split],), named_split(parts[0]) if by_split else None, ""))
    if not images:
        raise BadInputError(
            f"{tree.location}: no image ({', '.join(IMAGE_SUFFIXES)}) in class folders; or give --table FILE"
        )
    _refuse_empty_classes(Path(tree.location), {image.labels[0] for image in images}, by_split)
    return images


def _refuse_empty_classes(root: Path, found: set[str], by_split: bool) -> None:
    parents = [path for path in root.iterdir() if path.is_dir()] if by_split and root.is_dir() else [root]
    folders = [path for parent in parents if parent.is_dir() for path in parent.iterdir() if path.is_dir()]
    empty = [path.name for path in folders if not path.name.startswith((".", "__")) and path.name not in found]
    if empty:
        raise BadInputError(f"{root}: class folders without an image: {some_names(empty)}; remove or fill them")


def _of_table(request: Request, tree: FileTree, paths: list[str]) -> list[_Image]:
    assert request.table is not None
    known, images = set(paths), []
    seen: set[str] = set()
    for number, row in enumerate(_rows(request, request.table), start=2):
        where = f"{request.table}:{number}"
        path = _text(row, request.column("path"), where)
        if path in seen:
            raise BadInputError(f"{where}: {path} is named twice; an image has one row")
        if path not in known:
            raise BadInputError(f"{where}: {path} isn't an image in {tree.location}; correct or remove the row")
        seen.add(path)
        images.append(_Image(path, _labels(request, row, where), _split(request, row, where), _place(request, row)))
    if not images:
        raise BadInputError(f"{request.table}: no row; expected one for each image")
    return images


def _labels(request: Request, row: Mapping[str, Any], where: str) -> tuple[str, ...]:
    value, separator = row[request.column("label")], request.options.separator
    if isinstance(value, list):
        labels = [str(label) for label in value]
    else:
        text = "" if value is None else str(value)
        labels = [part.strip() for part in text.split(separator)] if separator else [text.strip()]
    labels = [label for label in labels if label]
    if not labels:
        raise BadInputError(f"{where}: no label; give one or remove the row")
    if separator is None and len(labels) > 1:
        raise BadInputError(f"{where}: several labels; name what is between them with --separator")
    return tuple(labels)


def _split(request: Request, row: Mapping[str, Any], where: str) -> str | None:
    value = row.get(request.column("split"))
    if value is None or not str(value).strip():
        return None
    split = named_split(str(value))
    if split is None:
        raise BadInputError(f"{where}: split {value!r} is none of train, validation, test")
    return split


def _place(request: Request, row: Mapping[str, Any]) -> str:
    value = row.get(request.column("place"))
    return "" if value is None else str(value).strip()


def _text(row: Mapping[str, Any], column: str, where: str) -> str:
    value = row[column]
    if not isinstance(value, str) or not value.strip():
        raise BadInputError(f"{where}: column {column} is empty; give the image's path within the source")
    return value.strip().removeprefix("./")


def _rows(request: Request, table: Path) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of a CSV or Parquet file that has at least the columns path and label."""
    rows = _parquet_rows(table) if table.suffix.lower() == ".parquet" else _csv_rows(table)
    for row in rows:
        missing = [name for name in ("path", "label") if request.column(name) not in row]
        if missing:
            raise BadInputError(
                f"{table}: no column {request.column(missing[0])!r} among {', '.join(map(str, row))}; name the table's "
                f"own with --column {missing[0]}=NAME"
            )
        yield row


def _csv_rows(table: Path) -> list[Mapping[str, Any]]:
    try:
        if (size := table.stat().st_size) > TABLE_BYTES:
            raise BadInputError(
                f"{table}: has {size:,} bytes, the limit of a CSV table is {TABLE_BYTES:,}; write Parquet"
            )
        text = table.read_bytes().decode("utf-8-sig")  # line ends within quotes belong to names
        return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadInputError(f"{table}: not a CSV table in UTF-8 ({error})") from error


def _parquet_rows(table: Path) -> list[Mapping[str, Any]]:
    from trainables.parquet_file import UNREADABLE, ParquetRows

    try:
        rows: list[Mapping[str, Any]] = [row for batch in ParquetRows(table).batches() for row in batch]
    except UNREADABLE as error:
        raise BadInputError(f"{table}: not a Parquet table ({str(error).splitlines()[0]})") from error
    return rows
