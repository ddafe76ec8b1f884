"""Finding a published layout in a folder or an archive, and handing out its files."""

from collections.abc import Callable, Sequence
from pathlib import Path

from trainables.data.sources.file_tree import FileTree
from trainables.data.sources.source import ArchiveFile, File, some_names
from trainables.errors import BadInputError

DEEPEST_ROOT = 6
"""Folders above the layout: EuroSAT's 13 bands lie under ds/images/remote_sensing/otherDatasets/sentinel_2/tif."""


def find_root(tree: FileTree, paths: Sequence[str], matches: Callable[[set[str]], bool], expected: str) -> str:
    """Return the folder ("" or "a/b/") under which the relative paths match, the topmost.

    Raises BadInputError that says what was expected and what is there.
    """
    level = {""}
    for _ in range(DEEPEST_ROOT + 1):
        found = sorted(root for root in level if matches(_under(paths, root)))
        if len(found) == 1:
            return found[0]
        if found:
            raise BadInputError(f"{tree.location}: holds several ({some_names(found)}); give one of them as the source")
        level = {f"{root}{rest.split('/', 1)[0]}/" for root in level for rest in _under(paths, root) if "/" in rest}
        if len(level) > DEEPEST_ROOT:  # many folders side by side hold no wrapped layout
            break
    top = sorted({path.split("/", 1)[0] for path in paths})
    raise BadInputError(f"{tree.location}: expected {expected}; found {some_names(top)}")


def file_of(tree: FileTree, name: str) -> File:
    """Return the file itself where the tree is a folder, else its content out of the archive."""
    path = tree.path(name)
    return path if path is not None else ArchiveFile(f"{tree.location}: {name}", tree.read(name))


def _under(paths: Sequence[str], root: str) -> set[str]:
    return {path.removeprefix(root) for path in paths if path.startswith(root)} if root else set(paths)


def located(tree: FileTree, root: str) -> str:
    """Return where the layout was found: the folder itself, or the archive."""
    folder = Path(tree.location)
    return str(folder / root) if folder.is_dir() else tree.location
