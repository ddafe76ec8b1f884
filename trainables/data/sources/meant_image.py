"""Image that a table's path probably means, for messages about paths without an image."""

import unicodedata
from collections.abc import Sequence
from pathlib import PurePosixPath
from urllib.parse import unquote


def meant_image(written: str, paths: Sequence[str]) -> str:
    """Return in words the image that a path probably means: " (it has 'a/b.png')"; empty if none or several are near.

    Args:
        written: Path in the table.
        paths: Paths of the images.
    """
    wanted = _plain_path(written)
    near = [path for path in paths if f"/{wanted}".endswith(f"/{_plain_path(path)}")]
    near = near or [path for path in paths if f"/{_plain_path(path)}".endswith(f"/{wanted}")]
    near = near or [path for path in paths if PurePosixPath(_plain_path(path)).with_suffix("").as_posix() == wanted]
    return f" (it has {near[0]!r})" if len(near) == 1 else ""


def _plain_path(path: str) -> str:
    """Return a path as compared for a hint: slashes, no percent signs, one Unicode form, without letter case."""
    return unicodedata.normalize("NFC", unquote(path).replace("\\", "/")).casefold()
