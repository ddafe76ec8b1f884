"""Parsing of BigEarthNet patch names: tile, row, column and date."""

import re

PATCH = re.compile(
    r"(S2[A-D]_MSIL2A_(\d{8})T\d{5,6}(?:_N\d{4}_R\d{3}_(T\d{2}[A-Z]{3}))?)_(\d{1,3})_(\d{1,3})(?:\.[a-z]+)?", re.ASCII
)
"""v1.0 writes a time before ten o'clock with five digits or six: T95032, T095031."""


def tile_position(patch: str) -> tuple[str, int, int] | None:
    """Return acquisition, row and column of a patch's name or image file; None for other names.

    In v2.0 the acquisition includes the tile. Names of v1.0 have no tile; row and column are unique within an
    acquisition, most of which cover one tile.
    """
    match = PATCH.fullmatch(patch.rpartition("/")[2])
    return None if match is None else (match[1], int(match[4]), int(match[5]))


def ground_and_date(patch: str) -> tuple[str, str] | None:
    """Return the ground of a patch (tile, row, column) and its date YYYY-MM-DD; None for names without a tile.

    Patches lie on the grid of their tile, so the ground is the same at every date. Names of v1.0 have no tile.
    """
    match = PATCH.fullmatch(patch.rpartition("/")[2])
    if match is None or match[3] is None:
        return None
    day = match[2]
    return f"{match[3]} {int(match[4])} {int(match[5])}", f"{day[:4]}-{day[4:6]}-{day[6:]}"
