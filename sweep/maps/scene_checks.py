"""Checks that the scenes of one pool go together: the same bands, one type of values, and a stated scale."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sweep.maps.channel_names import opaque_channels, own_names
from sweep.maps.chip_grid import SceneGrid
from trainables.data.class_names import SENTINEL_2_BANDS
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
        if (grid.channels, grid.dtype) != (first.channels, first.dtype):
            raise BadInputError(
                f"{grid.path}: has {_kind(grid)}, and {first.path} {_kind(first)}; the scenes of a pool are of one "
                "kind: move masks and other products elsewhere, or name the bands to read with --bands"
            )
    _refuse_equal_names(grids)
    _refuse_single_bands(grids)
    _refuse_unknown_scale(grids, request)
    _refuse_second_offset(grids, request)


def _kind(grid: SceneGrid) -> str:
    return f"{grid.channels} band{'' if grid.channels == 1 else 's'} of {grid.dtype}"


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
        if grid.channels == 1 and not grid.path.is_dir():
            same[grid.path.parent, grid.date, grid.crs, grid.size, *tuple(grid.transform)[:6]].append(grid)
    for own in same.values():
        if len(own) > 1:
            raise BadInputError(
                f"{own[0].path}: has one band, and {own[1].path.name} shows the same ground at the same date: if they "
                "are bands of one scene, name them by Sentinel-2's bands (*_B02.tif, ...) or stack them into one file; "
                "if they are of several dates, put these into the names (2023-06-13)"
            )


def _refuse_unknown_scale(grids: Sequence[SceneGrid], request: PrepareRequest) -> None:
    rule = request.options.pixels
    eight = [grid.path for grid in grids if grid.dtype == "uint8"]
    if eight and rule != "none":
        raise BadInputError(f"{eight[0]}: has 8-bit values, but --pixels {rule} is for 16 bits; add --pixels none")
    foreign = [grid.path for grid in grids if not set(grid.names) <= set(SENTINEL_2_BANDS)]
    if foreign and "pixels" not in request.stated:
        raise BadInputError(
            f"{foreign[0]}: the scale of its values is unknown, as its bands aren't said to be Sentinel-2's; add "
            "--pixels none (values as they are), percentiles, reflectance (with --reflectance SCALE,OFFSET), or thesis "
            "(2000 becomes white)"
        )


def _refuse_second_offset(grids: Sequence[SceneGrid], request: PrepareRequest) -> None:
    moved = [grid for grid in grids if any(grid.offsets)]
    if moved and request.options.reflectance is not None and request.options.reflectance[1] != 0.0:
        scale, offset = request.options.reflectance
        raise BadInputError(
            f"--reflectance {scale:g},{offset:g}: the offset {min(moved[0].offsets):+d} in the metadata of "
            f"{moved[0].name} is added already; give --reflectance {scale:g},0"
        )
