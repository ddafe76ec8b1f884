"""Names of BigEarthNet patches: their tile, row and column."""

import re

PATCH = re.compile(
    r"(S2[A-D]_MSIL2A_\d{8}T\d{5,6}(?:_N\d{4}_R\d{3}_T\d{2}[A-Z]{3})?)_(\d{1,3})_(\d{1,3})(?:\.[a-z]+)?", re.ASCII
)
"""v1.0 writes a time before ten o'clock with five digits or six: T95032, T095031."""


def tile_position(patch: str) -> tuple[str, int, int] | None:
    """Return acquisition (v2: with its tile), row and column of a patch's name or image file, None for other names.

    v1.0's names have the acquisition alone: each patch's row and column is its own among that acquisition's, most of
    which lie in one tile.
    """
    match = PATCH.fullmatch(patch.rpartition("/")[2])
    return None if match is None else (match[1], int(match[2]), int(match[3]))
