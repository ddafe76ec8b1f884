"""What a source of images hands to `prepare`: entries to be read one by one, and a check of the folder's layout."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainables.errors import BadInputError

SHOWN_NAMES = 6
"""How many names of a folder's content an error message shows."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One decoded image, (H, W, C) uint8, and the indices of its classes, ascending."""

    image: NDArray[np.uint8]
    labels: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """One image that is still to be decoded: its base name, its split and the function that reads it.

    `read` runs in a thread and raises BadInputError for what it can't decode. It may hold the encoded bytes or a path,
    so that a folder and an archive look the same to `prepare`.
    """

    name: str
    split: str
    read: Callable[[], Picture]


@dataclass(frozen=True)
class Source:
    """All images of a data set as found: where, in which classes, and what a person should know about them."""

    location: str
    class_names: tuple[str, ...]
    entries: list[Entry]
    notes: tuple[str, ...] = ()


def find_folder(source: Path, matches: Callable[[Path], bool], expected: str) -> Path:
    """Return `source`, or its one direct sub-folder, for which `matches` holds.

    Raises BadInputError that says what was expected and what is there.
    """
    if not source.is_dir():
        raise BadInputError(f"{source}: no such folder; expected {expected}")
    if matches(source):
        return source
    found = [folder for folder in sub_folders(source) if matches(folder)]
    if len(found) == 1:
        return found[0]
    if found:
        raise BadInputError(f"{source}: holds several ({_some_names(found)}); give one of them as the source")
    raise BadInputError(f"{source}: expected {expected}; found {_some_names(source.iterdir())}")


def sub_folders(folder: Path) -> Iterator[Path]:
    """Yield the direct sub-folders of `folder`, hidden ones left out, sorted by name."""
    return (path for path in sorted(folder.iterdir()) if not path.name.startswith(".") and path.is_dir())


def _some_names(paths: Iterator[Path] | list[Path]) -> str:
    names = sorted(path.name for path in paths)
    more = f" and {len(names) - SHOWN_NAMES} more" if len(names) > SHOWN_NAMES else ""
    return (", ".join(names[:SHOWN_NAMES]) or "an empty folder") + more
