"""User's own image files, with labels from class folders or a table, or without labels."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from trainables.data.sources.decode import IMAGE_SUFFIXES, OTHER_IMAGES, decode_picture
from trainables.data.sources.file_tree import FileTree, junk, open_tree
from trainables.data.sources.folder_layout import FolderLayout, names_unlabelled, read_layout
from trainables.data.sources.layout import file_of
from trainables.data.sources.meant_image import meant_image
from trainables.data.sources.source import (
    SHOWN_NAMES,
    ImageEntry,
    ImageSource,
    PrepareRequest,
    digest_of,
    some_names,
)
from trainables.data.sources.table import read_table
from trainables.errors import BadInputError


@dataclass(frozen=True)
class _Image:
    path: str
    name: str
    labels: tuple[str, ...] | None
    split: str | None
    place: str = ""


@dataclass(frozen=True)
class _ListedImages:
    """Images with their labels, and a description of the labels' origin."""

    images: list[_Image]
    classes_from: str
    splits_from: str
    left_out: Counter[str]
    unused: tuple[str, ...] = ()
    """Columns of the table that have no meaning here."""


def read_folder(request: PrepareRequest) -> ImageSource:
    """Return the source for a folder or zip of images.

    Labels come from a table or from the layout <class>/..., <split>/<class>/... or <class>/<split>/.... An image's name
    is its path within the source, without common wrapping folders. Classes are sorted by name. Images outside class
    folders, in a folder `unlabelled`, or with an empty cell are unlabelled.
    """
    tree = open_tree(request.required_source())
    paths = [path for path in tree.names() if path.lower().endswith(IMAGE_SUFFIXES)]
    listed = _of_folders(request, tree, paths) if request.table is None else _of_table(request, tree, paths)
    wanted = [image for image in listed.images if request.wants(image.name)]
    class_names = tuple(sorted({label for image in listed.images for label in image.labels or ()}))
    unread = [path for path in tree.names() if path.lower().endswith(OTHER_IMAGES)]
    left_out = _other_files(tree.names()) + tree.left_out + listed.left_out
    notes = (
        [f"{len(unread):,} images of kinds that aren't supported were left out: {some_names(unread)}"] if unread else []
    )

    reading = request.options.reading

    def entries() -> Iterator[ImageEntry]:
        for image in wanted:
            read = partial(decode_picture, file_of(tree, image.path), image.labels, reading)
            yield ImageEntry(image.name, read, image.split, image.place)

    return ImageSource(
        tree.location,
        class_names,
        entries,
        len(wanted),
        tuple(notes),
        multi_label=request.options.separator is not None,
        decisions={
            "classes": f"{len(class_names):,} by {listed.classes_from}" if class_names else "",
            "columns not used": some_names([repr(name) for name in listed.unused]) if listed.unused else "",
            "links followed": some_names(tree.links) if tree.links else "",
        },
        left_out=lambda: left_out,
        splits_from=listed.splits_from,
        state=digest_of(tree.state(image.path for image in listed.images), *map(_said, listed.images)),
    )


def _said(image: _Image) -> str:
    return repr((image.name, image.labels, image.split, image.place))


def _other_files(names: list[str]) -> Counter[str]:
    others = [name for name in names if not name.lower().endswith((*IMAGE_SUFFIXES, *OTHER_IMAGES))]
    suffixes = Counter(PurePosixPath(name).suffix.lower() or "no suffix" for name in others)
    return Counter({f"no image ({suffix})": count for suffix, count in suffixes.items()})


def _instead(names: list[str]) -> str:
    """Return in words what a source has instead of images."""
    kinds = Counter(PurePosixPath(name).suffix.lower() or "without a suffix" for name in names)
    return f" among {', '.join(f'{count:,} {kind}' for kind, count in kinds.most_common(SHOWN_NAMES))}" if kinds else ""


def _of_folders(request: PrepareRequest, tree: FileTree, paths: list[str]) -> _ListedImages:
    if not paths:
        raise BadInputError(
            f"{tree.location}: no image ({', '.join(IMAGE_SUFFIXES)}){_instead(tree.names())}; give the folder that "
            "holds them"
        )
    layout = read_layout(tree.location, paths, request.class_level)
    _refuse_empty_classes(Path(tree.location), layout)
    images = [
        _Image(
            image.path,
            image.path.removeprefix(layout.root),
            None if image.label is None else (image.label,),
            image.split,
        )
        for image in layout.images
    ]
    return _ListedImages(images, layout.classes_from, layout.splits_from, layout.left_out)


def _refuse_empty_classes(root: Path, layout: FolderLayout) -> None:
    """Raise BadInputError for an empty folder beside class folders, whose images are probably missing."""
    names = {image.label for image in layout.images if image.label is not None}
    if not root.is_dir() or not names:
        return
    beside = (path for parent in layout.class_parents for path in (root / parent).iterdir() if path.is_dir())
    empty = [
        path.name
        for path in beside
        if path.name not in names and junk(path.name) is None and not names_unlabelled(path.name)
    ]
    if empty:
        raise BadInputError(f"{root}: class folders without an image: {some_names(empty)}; remove or fill them")


def _of_table(request: PrepareRequest, tree: FileTree, paths: list[str]) -> _ListedImages:
    assert request.table is not None
    table = read_table(request, request.table)
    if table.other_splits and request.options.splits == "own":
        raise BadInputError(
            f"{request.table}: column {table.other_splits!r} holds splits; name it with --column "
            f"split={table.other_splits}, or choose --splits random"
        )
    known, seen, images = set(paths), set[str](), []
    for row in table.rows:
        if row.path in seen:
            raise BadInputError(f"{row.where}: {row.path} is named twice; an image has one row")
        if row.path not in known:
            raise BadInputError(
                f"{row.where}: {row.path} isn't an image in {tree.location}{meant_image(row.path, paths)}; correct or "
                "remove the row"
            )
        seen.add(row.path)
        images.append(_Image(row.path, row.path, row.labels, row.split, row.place))
    told = f"column {request.column('label')!r} of {request.table.name} ({table.read_as})"
    splits_from = f"column {request.column('split')!r} of {request.table.name}" if table.has_splits else ""
    unnamed = Counter({f"images that {request.table.name} doesn't name": len(known - seen)})
    return _ListedImages(images, told, splits_from, +unnamed, table.unused)
