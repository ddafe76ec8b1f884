"""Labels of points on the ground, as of field plots: each chip takes those of the points that it contains."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from trainables.data.chip import Chip
from trainables.data.chip_places import by_shape
from trainables.data.preparing.label_numbers import number_of
from trainables.data.sources.source import some_names
from trainables.data.sources.table import TableRow
from trainables.errors import BadInputError

Floats = NDArray[np.float64]
Projection = Callable[[str, Sequence[float], Sequence[float]], tuple[Floats, Floats]]
"""Function from a CRS, longitudes and latitudes to coordinates in the CRS, across and down."""
Merged = Literal["class", "labels", "number"]
"""What a chip takes of several points: the class on which they agree, all labels, or the mean of the numbers."""
TAKEN = {
    "class": "the class on which they agree",
    "labels": "all of their labels",
    "number": "the mean of their numbers",
}
SHOWN_LINES = 3
NEAR_DEGREES = 1.0
"""Distance in degrees from all centres beyond which a point isn't projected: projections end somewhere."""


@dataclass(frozen=True)
class PlacedPoints:
    """Points in the chips of a store."""

    rows: list[TableRow | None]
    """Row of each chip: that of its point, or of its points together; None without any."""
    used: list[TableRow]
    """Rows of the table that label a chip."""
    lines: tuple[str, ...]
    """In words, how many points lie in how many chips, and what became of the others."""


def placed_points(
    store: str,
    names: Sequence[str],
    chips: Sequence[Chip],
    points: Sequence[TableRow],
    merged: Merged,
    project: Projection,
) -> PlacedPoints:
    """Return the label of each chip from the points that it contains.

    A point with a date labels the chips of that date; one without labels those of all dates.

    Args:
        store: Name of the store.
        names: Names of the chips.
        chips: Chips of the store.
        points: Rows of a table of points.
        merged: What a chip takes of several points.
        project: Function that projects longitudes and latitudes to a CRS.

    Raises:
        BadInputError: No point with a label lies in a chip.
    """
    labelled = [row for row in points if row.labels is not None]
    around = chips_around(labelled, chips, project)
    dated = [
        [number for number in own if not row.date or chips[number].date == row.date]
        for row, own in zip(labelled, around, strict=True)
    ]
    members: defaultdict[int, list[TableRow]] = defaultdict(list)
    for row, own in zip(labelled, dated, strict=True):
        for number in own:
            members[number].append(row)
    outside = [row for row, own in zip(labelled, around, strict=True) if not own]
    elsewhen = [row for row, own, left in zip(labelled, around, dated, strict=True) if own and not left]
    if not members:
        raise _none_placed(store, chips, points, outside, elsewhen)
    rows = [_together(members[number], merged) if number in members else None for number in range(len(chips))]
    used = [row for row, own in zip(labelled, dated, strict=True) if own]
    several = sum(len(own) > 1 for own in members.values())
    apart = [names[number] for number in sorted(members) if _disagree(rows[number])]
    if len(apart) == len(members):
        raise BadInputError(
            f"{_table(points)}: the points of each chip disagree ({some_names(apart)}), so none is labelled"
        )
    dates = [own for row, own in zip(labelled, dated, strict=True) if not row.date and _dates(chips, own) > 1]
    empty = len(points) - len(labelled)
    told = {
        f"points: {len(points):,}, of which {len(used):,} lie in {len(members):,} chips": True,
        f"chips with several points: {several:,}; each takes {TAKEN[merged]}": several,
        f"chips whose points disagree, which stay unlabelled: {len(apart):,} ({some_names(apart)})": apart,
        f"points that label chips of several dates: {len(dates):,}; a column date names one": dates,
        f"points in no chip: {len(outside):,} ({_lines(outside)})": outside,
        f"points of a date that no chip there has: {len(elsewhen):,} ({_lines(elsewhen)})": elsewhen,
        f"points with an empty label: {empty:,}": empty,
    }
    return PlacedPoints(rows, used, tuple(line for line, said in told.items() if said))


def chips_around(points: Sequence[TableRow], chips: Sequence[Chip], project: Projection) -> list[list[int]]:
    """Return the numbers of the chips that contain each point, ascending.

    A chip contains its upper and left edges, and not the lower and right ones, so a point between neighbours is in one.
    """
    from scipy.spatial import cKDTree

    found: list[list[int]] = [[] for _ in points]
    placed = np.array([row.point or (np.nan, np.nan) for row in points], dtype=np.float64).reshape(-1, 2)
    for shape, own in by_shape(chips, range(len(chips))).items():
        close = np.flatnonzero(_close(placed, [chips[number] for number in own.tolist()]))
        if not len(close):
            continue
        coordinates = np.stack(project(shape.crs, placed[close, 0].tolist(), placed[close, 1].tolist()), 1)
        finite = np.isfinite(coordinates).all(1)
        close, coordinates = close[finite], coordinates[finite]
        tree = cKDTree(np.array([chips[number].centre for number in own.tolist()]))
        candidates = tree.query_ball_point(coordinates, shape.outer * (1.0 + 1e-6)) if len(close) else []
        for point, place, near in zip(close.tolist(), coordinates.tolist(), candidates, strict=True):
            found[point] += [
                number for number in own[np.array(near, dtype=np.int64)].tolist() if _holds(chips[number], *place)
            ]
    return [sorted(own) for own in found]


def _close(points: Floats, chips: Sequence[Chip]) -> NDArray[np.bool_]:
    """Return a mask (n,) of the points within NEAR_DEGREES of the extent of the chips' known centres."""
    centres = np.array([(one.longitude, one.latitude) for one in chips if one.longitude is not None], dtype=np.float64)
    if not len(centres):
        return np.zeros(len(points), dtype=np.bool_)
    low, high = centres.min(0) - NEAR_DEGREES, centres.max(0) + NEAR_DEGREES
    within: NDArray[np.bool_] = np.all((points >= low) & (points <= high), axis=1)
    return within


def _holds(chip: Chip, across: float, down: float) -> bool:
    """Return whether a chip contains a place of its CRS."""
    a, b, c, d, e, f = chip.transform
    across, down, area = across - c, down - f, a * e - b * d
    column, row = (e * across - b * down) / area, (a * down - d * across) / area
    return 0.0 <= column < chip.side and 0.0 <= row < chip.side


def _together(rows: Sequence[TableRow], merged: Merged) -> TableRow:
    """Return one row for the points of a chip; without labels if their classes disagree."""
    if len(rows) == 1:
        return rows[0]
    if merged == "number":
        mean = float(np.mean([number_of(row) for row in rows]))
        return replace(rows[0], labels=(repr(mean),))
    labels = tuple(sorted({label for row in rows for label in row.labels or ()}))
    return replace(rows[0], labels=labels if merged == "labels" or len(labels) == 1 else None)


def _disagree(row: TableRow | None) -> bool:
    return row is not None and row.labels is None


def _dates(chips: Sequence[Chip], numbers: Sequence[int]) -> int:
    return len({chips[number].date for number in numbers})


def _none_placed(
    store: str,
    chips: Sequence[Chip],
    points: Sequence[TableRow],
    outside: Sequence[TableRow],
    elsewhen: Sequence[TableRow],
) -> BadInputError:
    """Return the error for points of which none labels a chip."""
    table = _table(points)
    if elsewhen:
        dates = sorted({one.date or "unknown" for one in chips})
        return BadInputError(
            f"{table}: {len(elsewhen):,} points lie in chips of {store}, none of them at its date (the chips': "
            f"{some_names(dates)}); correct the column date, or leave it out to label all dates"
        )
    if not outside:
        return BadInputError(f"{table}: all {len(points):,} points have an empty label; fill the column")
    centres = np.array([(one.longitude, one.latitude) for one in chips if one.longitude is not None], dtype=np.float64)
    own = np.array([row.point for row in outside], dtype=np.float64)
    turned = [replace(row, point=(row.point[1], row.point[0])) for row in outside if row.point is not None]
    swapped = len(centres) and _close(np.array([row.point for row in turned]), chips).any()
    hint = "; longitude and latitude seem to be swapped" if swapped else ""
    return BadInputError(
        f"{table}: none of its {len(outside):,} points ({_extent(own)}) lies in a chip of {store} "
        f"({_extent(centres) if len(centres) else 'of an unknown place'}); give degrees on WGS 84{hint}"
    )


def _extent(places: Floats) -> str:
    (west, south), (east, north) = places.min(0), places.max(0)
    return f"longitude {west:.4g} to {east:.4g}, latitude {south:.4g} to {north:.4g}"


def _table(points: Sequence[TableRow]) -> str:
    return points[0].where.rpartition(":")[0]


def _lines(rows: Sequence[TableRow]) -> str:
    """Return the line numbers of the first rows in the table, as text."""
    numbers = [row.where.rpartition(":")[2] for row in rows]
    more = f" and {len(numbers) - SHOWN_LINES:,} more" if len(numbers) > SHOWN_LINES else ""
    return f"lines {', '.join(numbers[:SHOWN_LINES])}{more}"
