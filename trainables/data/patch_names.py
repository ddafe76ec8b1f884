"""Names of BigEarthNet patches: their tile, row and column."""

import re

PATCH = re.compile(r"(S2[AB]_MSIL2A_\d{8}T\d{6}(?:_N\d{4}_R\d{3}_T\d{2}[A-Z]{3})?)_(\d+)_(\d+)", re.ASCII)


def tile_position(patch: str) -> tuple[str, int, int] | None:
    """Return acquisition (v2: with its tile), row and column of a BigEarthNet patch's name, None for other names."""
    match = PATCH.fullmatch(patch)
    return None if match is None else (match[1], int(match[2]), int(match[3]))
