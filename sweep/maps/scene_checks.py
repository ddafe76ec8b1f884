"""Checks that the scenes of one pool go together: the same bands and one kind of values."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sweep.maps.channel_names import opaque_channels, own_names
from sweep.maps.chip_grid import SceneGrid
from sweep.maps.scene_scales import check_scales
from sweep.maps.scene_values import kind_of
from trainables.data.sources.source import PrepareRequest
from trainables.errors import BadInputError


def agreed_bands(files: Sequence[Path]) -> tuple[str, ...]:
    """Return the bands that all raster files describe, in the order of the first file; empty if none describes any.

    Raises:
        BadInputError: Files that describe different bands.
    """
    first, names = files[0], own_names(files[0], opaque_channels(files[0]))
    for path in files[1:]:
        own = own_names(path, opaque_channels(path))
        if set(own) != set(names):
            raise BadInputError(
                f"{path}: {_described(own)}, and {first} {_described(names)}; prepare them apart, or name the bands to "
                "read with --bands"
            )
    return names


def _described(names: Sequence[str]) -> str:
    return f"has the bands {', '.join(names)}" if names else "doesn't describe its bands"


def check_scenes(grids: Sequence[SceneGrid], request: PrepareRequest) -> None:
    """Raise BadInputError if the scenes can't be chips of one pool, or if the scale of their values is unknown."""
    first = grids[0]
    for grid in grids:
        if (grid.channels, kind_of(grid.measured)) != (first.channels, kind_of(first.measured)):
            raise BadInputError(
                f"{grid.path}: has {_kind(grid)}, and {first.path} {_kind(first)}; the scenes of a pool are of one "
                "kind: move masks and other products elsewhere, or name the bands to read with --bands"
            )
    _refuse_equal_names(grids)
    _refuse_single_bands(grids)
    check_scales(grids, request)


def _kind(grid: SceneGrid) -> str:
    return f"{grid.channels} band{'' if grid.channels == 1 else 's'} of {grid.measured}"


def _refuse_equal_names(grids: Sequence[SceneGrid]) -> None:
    by_name: dict[str, SceneGrid] = {}
    for grid in grids:
        other = by_name.setdefault(grid.name, grid)
        if other is not grid:
            raise BadInputError(
                f"{grid.path}: has the same name as {other.path}, and chips are named by their scene; rename one"
            )


def _refuse_single_bands(grids: Sequence[SceneGrid]) -> None:
    """Raise BadInputError for files of one band that show the same ground at one date: bands of one scene."""
    same: defaultdict[tuple[Any, ...], list[SceneGrid]] = defaultdict(list)
    for grid in grids:
        if grid.channels == 1 and grid.path.is_file():
            same[grid.path.parent, grid.date, grid.crs, grid.size, *tuple(grid.transform)[:6]].append(grid)
    for own in same.values():
        if len(own) > 1:
            raise BadInputError(
                f"{own[0].path}: has one band, and {own[1].path.name} shows the same ground at the same date: if they "
                "are bands of one scene, name them by Sentinel-2's bands (*_B02.tif, ...) or stack them into one file; "
                "if they are of several dates, put these into the names (2023-06-13)"
            )
