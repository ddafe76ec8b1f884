"""Checks that the scale of the scenes' values is stated, by the options or by the kind of product."""

from collections.abc import Sequence

import numpy as np

from sweep.maps.chip_grid import SceneGrid
from trainables.data.class_names import SENTINEL_2_BANDS
from trainables.data.preparing.linear_scale import FLOATS
from trainables.data.sources.options import AS_PRODUCTS
from trainables.data.sources.source import PrepareRequest
from trainables.errors import BadInputError

OFFSET_UNKNOWN = (
    "values of Sentinel-2 have an offset of 1000 since 2022-01-25, unless it was removed, and nothing here tells; add "
    "--pixels reflectance --reflectance 10000,-1000 (Copernicus, Planetary Computer) or 10000,0 (before that date, or "
    "removed, as from most of Element 84's sentinel-cogs), or put MTD_MSIL2A.xml of the product beside the bands"
)
"""Element84/earth-search, docs/collections/sentinel-2-l2a.md: removed from some items; the metadata isn't reliable."""
UNNAMED = "its bands aren't said to be Sentinel-2's"


def check_scales(grids: Sequence[SceneGrid], request: PrepareRequest) -> None:
    """Raise BadInputError if the scale of the values is unknown, or an option doesn't fit their type."""
    _refuse_two_scales(grids)
    _refuse_unknown_scale(grids, request)
    _refuse_unstated_reflectance(grids, request)
    _refuse_scales_by_band(grids, request)
    _refuse_second_offset(grids, request)
    _refuse_useless_range(grids[0], request)
    _refuse_foreign_nodata(grids[0], request)


def _refuse_two_scales(grids: Sequence[SceneGrid]) -> None:
    """Raise BadInputError if scenes state different scales, so that equal values aren't equal reflectances."""
    for grid in grids:
        if grid.stated != grids[0].stated:
            raise BadInputError(
                f"{grid.path}: states {_told(grid)} of its values, and {grids[0].path} {_told(grids[0])}; prepare them "
                "apart, or bring them to one scale"
            )


def _told(grid: SceneGrid) -> str:
    return " and ".join(f"scale {scale:g}, offset {offset:g}" for scale, offset in grid.stated)


def _refuse_unknown_scale(grids: Sequence[SceneGrid], request: PrepareRequest) -> None:
    rule, first = request.options.pixels, grids[0]
    has_range = request.options.reading.value_range is not None
    if first.dtype == FLOATS and ("pixels" not in request.stated or (rule == "none" and not has_range)):
        raise BadInputError(
            f"{first.path}: the scale of its {first.measured} values is unknown; add --pixels percentiles, "
            f"{_by_scale(first)}, --pixels thesis (2000 becomes white), or --pixels none with --value-range LOW,HIGH "
            "(which become 0 and 65535)"
        )
    eight = [grid.path for grid in grids if grid.dtype == "uint8"]
    if eight and rule != "none":
        raise BadInputError(f"{eight[0]}: has 8-bit values, but --pixels {rule} is for 16 bits; add --pixels none")
    unsure = [grid for grid in grids if grid.offset_unknown]
    if unsure and "pixels" not in request.stated:
        raise BadInputError(f"{unsure[0].path}: {OFFSET_UNKNOWN}")
    foreign = _foreign(grids)
    if foreign and "pixels" not in request.stated:
        why = "it states another than Sentinel-2's products" if _names_sentinel(foreign[0]) else UNNAMED
        raise BadInputError(
            f"{foreign[0].path}: the scale of its values is unknown, as {why}; add "
            f"--pixels none (values as they are), --pixels percentiles, {_by_scale(foreign[0])}, or --pixels thesis "
            "(2000 becomes white)"
        )


def _refuse_unstated_reflectance(grids: Sequence[SceneGrid], request: PrepareRequest) -> None:
    """Raise BadInputError for the rule reflectance without its numbers, if the default's may be wrong."""
    if request.options.pixels != "reflectance" or "reflectance" in request.stated:
        return
    if unsure := [grid for grid in grids if grid.offset_unknown]:
        raise BadInputError(f"{unsure[0].path}: {OFFSET_UNKNOWN}")
    doubtful = _foreign(grids) or [grid for grid in grids if grid.dtype == FLOATS]
    if doubtful:
        raise BadInputError(f"{doubtful[0].path}: the scale of its values is unknown; add {_by_scale(doubtful[0])}")


def _refuse_scales_by_band(grids: Sequence[SceneGrid], request: PrepareRequest) -> None:
    """Raise BadInputError for one reflectance of bands that state several scales."""
    if request.options.pixels == "reflectance" and len(grids[0].stated) > 1:
        raise BadInputError(
            f"{grids[0].path}: its bands state {_told(grids[0])}, and --reflectance is one for all; add --pixels "
            "percentiles, or name bands of one scale with --bands"
        )


def _foreign(grids: Sequence[SceneGrid]) -> list[SceneGrid]:
    """Return the scenes whose values may not be those of Sentinel-2's products: of other bands, or another scale."""
    return [grid for grid in grids if not (_names_sentinel(grid) and _is_as_products(grid))]


def _names_sentinel(grid: SceneGrid) -> bool:
    return set(grid.names) <= set(SENTINEL_2_BANDS)


def _is_as_products(grid: SceneGrid) -> bool:
    """Whether a scene states no scale, or that of Sentinel-2's products."""
    return not grid.is_scaled or bool(np.allclose(grid.stated, [(1.0 / AS_PRODUCTS[0], AS_PRODUCTS[1])], atol=0.0))


def _by_scale(grid: SceneGrid) -> str:
    """Return the options for values on a linear scale; if the files state one, with its numbers."""
    if not grid.is_scaled or len(grid.stated) > 1 or grid.stated[0][0] <= 0.0:
        return "--pixels reflectance with --reflectance SCALE,OFFSET"
    scale, offset = grid.stated[0]
    numbers = f"{1.0 / scale:.9g},{offset / scale:.9g}"
    return f"--pixels reflectance --reflectance {numbers} (stated with the values: {scale:g} * value {offset:+g})"


def _refuse_second_offset(grids: Sequence[SceneGrid], request: PrepareRequest) -> None:
    moved = [grid for grid in grids if any(grid.offsets)]
    if moved and request.options.reflectance is not None and request.options.reflectance[1] != 0.0:
        scale, offset = request.options.reflectance
        raise BadInputError(
            f"--reflectance {scale:g},{offset:g}: the offset {min(moved[0].offsets):+d} in the metadata of "
            f"{moved[0].name} is added already; give --reflectance {scale:g},0"
        )


def _refuse_useless_range(grid: SceneGrid, request: PrepareRequest) -> None:
    if request.options.reading.value_range is not None and grid.dtype != FLOATS:
        raise BadInputError(
            f"--value-range {request.options.reading.written_range}: is for floats and signed integers, and "
            f"{grid.path} has {grid.dtype}; leave it out"
        )


def _refuse_foreign_nodata(grid: SceneGrid, request: PrepareRequest) -> None:
    """Raise BadInputError for a nodata value that whole numbers of the scenes' type can't have."""
    nodata = None if request.options.chips is None else request.options.chips.nodata
    if nodata is None or np.dtype(grid.measured).kind == "f":
        return
    limits = np.iinfo(grid.measured)
    if nodata % 1.0 or not limits.min <= nodata <= limits.max:
        raise BadInputError(
            f"--nodata {nodata:g}: must be a whole number from {limits.min} to {limits.max}, as {grid.path} has values "
            f"of {grid.measured}"
        )
