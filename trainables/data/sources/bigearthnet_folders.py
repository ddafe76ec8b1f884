"""Folders of BigEarthNet: the one that holds the patches, and the patches in it."""

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from trainables.data.patch_names import tile_position
from trainables.data.sources.file_tree import junk
from trainables.data.sources.source import (
    PrepareRequest,
    some_names,
)
from trainables.errors import BadInputError

PROBED_FOLDERS = 20
"""Number of sub-folders inspected to recognise the layout; the full data set has 590,326."""


def find_root(request: PrepareRequest, levels: int) -> Path:
    """Return the folder that holds the patches: the source, or a folder that it wraps.

    Raises:
        BadInputError: There is no such folder, or there are several.
    """
    source, expected = request.required_source(), request.facts.layout
    if not source.is_dir():
        raise BadInputError(f"{source}: no such folder or tar; expected {expected}")
    if _has_patches(source, levels):
        return source
    folders = list(_sub_folders(source))
    while len(folders) == 1 and not _has_patches(folders[0], levels):  # folders that only wrap the patches
        folders = list(_sub_folders(folders[0]))
    found = [folder for folder in folders if _has_patches(folder, levels)]
    if len(found) == 1:
        return found[0]
    if found:
        names = some_names([folder.name for folder in found])
        raise BadInputError(f"{source}: holds several ({names}); give one of them as the source")
    raise BadInputError(f"{source}: expected {expected}; found {some_names([path.name for path in source.iterdir()])}")


def _has_patches(folder: Path, levels: int) -> bool:
    return any(_has_bands(patch) for patch in islice(_folders(folder, levels), PROBED_FOLDERS))


def _has_bands(patch: Path) -> bool:
    start = f"{patch.name}_B"
    with os.scandir(patch) as files:
        return any(file.name.startswith(start) and file.name.endswith(".tif") for file in files)


def patch_folders(root: Path, levels: int, strays: list[str]) -> Iterator[Path]:
    """Yield the patch folders; record folders that have neither a patch name nor a band file in `strays`."""
    for folder in _folders(root, levels):
        if tile_position(folder.name) or _has_bands(folder):
            yield folder
        else:
            strays.append(str(folder.relative_to(root)))


def _folders(root: Path, levels: int) -> Iterator[Path]:
    if levels == 1:
        yield from _sub_folders(root)
    else:
        for tile in _sub_folders(root):
            yield from _sub_folders(tile)


def _sub_folders(folder: Path) -> Iterator[Path]:
    """Yield the direct sub-folders by name, without hidden ones and those of operating systems."""
    with os.scandir(folder) as entries:  # knows folders without a call for each
        names = sorted(entry.name for entry in entries if junk(entry.name) is None and entry.is_dir())
    return (folder / name for name in names)
