"""Search for a published layout in a folder or an archive, and access to its files."""

from collections.abc import Callable, Sequence
from pathlib import Path

from trainables.data.sources.file_tree import FileTree
from trainables.data.sources.source import ArchiveFile, File, some_names
from trainables.errors import BadInputError

DEEPEST_ROOT = 6
"""Maximum number of folders above a layout; EuroSAT's 13 bands have
ds/images/remote_sensing/otherDatasets/sentinel_2/tif.
"""


def find_root(tree: FileTree, paths: Sequence[str], matches: Callable[[set[str]], bool], expected: str) -> str:
    """Return the topmost folder ("" or "a/b/") whose content matches a layout.

    Args:
        tree: Folder or archive.
        paths: Relative paths of its files.
        matches: Whether a set of paths, relative to a folder, is the layout.
        expected: The layout in words, for the error message.

    Raises:
        BadInputError: No folder matches; the message states the expected and the found content.
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
    """Return a file's path in a folder, or its content from an archive."""
    path = tree.path(name)
    return path if path is not None else ArchiveFile(f"{tree.location}: {name}", tree.read(name))


def _under(paths: Sequence[str], root: str) -> set[str]:
    return {path.removeprefix(root) for path in paths if path.startswith(root)} if root else set(paths)


def located(tree: FileTree, root: str) -> str:
    """Return the location of the layout: its folder, or the archive."""
    folder = Path(tree.location)
    return str(folder / root) if folder.is_dir() else tree.location
