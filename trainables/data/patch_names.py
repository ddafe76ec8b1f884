"""Parsing of BigEarthNet patch names: tile, row and column."""

import re

PATCH = re.compile(
    r"(S2[A-D]_MSIL2A_\d{8}T\d{5,6}(?:_N\d{4}_R\d{3}_T\d{2}[A-Z]{3})?)_(\d{1,3})_(\d{1,3})(?:\.[a-z]+)?", re.ASCII
)
"""v1.0 writes a time before ten o'clock with five digits or six: T95032, T095031."""


def tile_position(patch: str) -> tuple[str, int, int] | None:
    """Return acquisition, row and column of a patch's name or image file; None for other names.

    In v2.0 the acquisition includes the tile. Names of v1.0 have no tile; row and column are unique within an
    acquisition, most of which cover one tile.
    """
    match = PATCH.fullmatch(patch.rpartition("/")[2])
    return None if match is None else (match[1], int(match[2]), int(match[3]))
