"""Shapes and positions of chips on the ground, for distances between chips of any coordinate reference system (CRS)."""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainables.data.chip import SQUARE, Chip

EQUATOR_RADIUS = 6_378_137.0
ECCENTRICITY_SQUARED = 0.00669437999014
"""Shape of the Earth in WGS 84; the radius in metres."""
DEGREE_METRES = math.radians(EQUATOR_RADIUS)
"""Length in metres of a degree along the equator; no degree of longitude is longer."""
TOUCHING = 1e-6
"""Tolerance as a share of a chip's side, below which footprints touch rather than overlap."""
SEARCHED_AT_ONCE = 1024
NEAR_DEGREES = 0.01
"""Maximum difference between a centre's coordinates and its longitude and latitude in a CRS of degrees."""


@dataclass(frozen=True)
class Shape:
    """Footprint of chips without its position: a parallelogram, mostly an upright square, in units of a CRS.

    Attributes:
        crs: Coordinate reference system.
        edges: Vectors along the upper and the left edge.
    """

    crs: str
    edges: tuple[tuple[float, float], tuple[float, float]]

    @property
    def is_square(self) -> bool:
        """Whether it is an upright square."""
        (a, d), (b, e) = self.edges
        return b == d == 0.0 and math.isclose(abs(a), abs(e), rel_tol=SQUARE)

    @property
    def outer(self) -> float:
        """Radius of the circle around it."""
        (a, d), (b, e) = self.edges
        return max(math.hypot(a + b, d + e), math.hypot(a - b, d - e)) / 2.0

    @property
    def inner(self) -> float:
        """Radius of the circle within it around its centre."""
        (a, d), (b, e) = self.edges
        return abs(a * e - b * d) / max(math.hypot(a, d), math.hypot(b, e)) / 2.0


def by_shape(chips: Sequence[Chip], numbers: Iterable[int]) -> dict[Shape, NDArray[np.int64]]:
    """Return the numbers of the chips by shape; chips without CRS are left out."""
    groups: defaultdict[Shape, list[int]] = defaultdict(list)
    for number in numbers:
        if chips[number].crs:
            groups[shape_of(chips[number].crs, chips[number].edges)].append(int(number))
    return {key: np.array(own, dtype=np.int64) for key, own in groups.items()}


@lru_cache(maxsize=2**10)
def shape_of(crs: str, edges: tuple[tuple[float, float], tuple[float, float]]) -> Shape:
    """Return the shape with these edges; squares are rounded, as scenes in degrees have slightly different pixels."""
    shape = Shape(crs, edges)
    side = float(f"{edges[0][0]:.6g}")
    return Shape(crs, ((side, 0.0), (0.0, -side))) if shape.is_square else shape


def gaps(offsets: NDArray[np.float64], own: Shape, other: Shape) -> NDArray[np.float64]:
    """Return the gaps (n,) between footprints whose centres are `offsets` (n, 2) apart; negative if they overlap.

    A gap is the largest over the normals of all edges (separating axis theorem), and so at most the distance. Between
    upright squares it is the larger one of the gaps in both directions.
    """
    edges = np.array([own.edges, other.edges])
    normals = (edges[..., ::-1] * (1.0, -1.0) / np.linalg.norm(edges, axis=-1, keepdims=True)).reshape(4, 2)
    reach = np.abs(edges.reshape(4, 2) @ normals.T).sum(axis=0) / 2.0
    found: NDArray[np.float64] = (np.abs(offsets @ normals.T) - reach).max(axis=1)
    return found


def closer(
    tree: Any, shape: Shape, centres: NDArray[np.float64], other: Shape, gap: float = 0.0
) -> Iterator[NDArray[np.int64]]:
    """Yield for each footprint at `centres` those of a tree that overlap it or are nearer than `gap`, ascending.

    Args:
        tree: Tree of centres of the shape `shape`.
        shape: Shape of the footprints in the tree.
        centres: Centres (n, 2) of the shape `other`.
        other: Shape of the footprints at `centres`.
        gap: Smallest gap of footprints that aren't near, in units of the CRS; 0: they overlap.
    """
    least = gap - TOUCHING * 2.0 * min(shape.inner, other.inner)
    is_square = shape.is_square and other.is_square
    reach = least + (shape.inner + other.inner if is_square else shape.outer + other.outer)
    for start in range(0, len(centres), SEARCHED_AT_ONCE):
        part = centres[start : start + SEARCHED_AT_ONCE]
        for own, found in zip(part, tree.query_ball_point(part, reach, p=np.inf if is_square else 2.0), strict=True):
            near = np.sort(np.array(found, dtype=np.int64))
            yield near if is_square else near[gaps(tree.data[near] - own, shape, other) < least]


def metres_per_unit(chip: Chip) -> float:
    """Return an upper bound of the metres per unit of a chip's CRS: a degree at the equator, else 1.

    Projected coordinates count as metres; those in feet are less.
    """
    across, down = chip.centre
    if chip.longitude is None or chip.latitude is None:
        return 1.0
    is_degrees = abs(across - chip.longitude) < NEAR_DEGREES and abs(down - chip.latitude) < NEAR_DEGREES
    return DEGREE_METRES if is_degrees else 1.0


def on_ellipsoid(chips: Sequence[Chip]) -> NDArray[np.float64]:
    """Return the centres' positions (n, 3) in metres from the Earth's centre; zeros where they are unknown.

    On a sphere, chips that touch would seem to overlap.
    """
    known = [(chip.longitude, chip.latitude) if chip.longitude is not None else (0.0, 0.0) for chip in chips]
    longitude, latitude = np.radians(np.array(known, dtype=np.float64).reshape(-1, 2)).T
    radius = EQUATOR_RADIUS / np.sqrt(1.0 - ECCENTRICITY_SQUARED * np.sin(latitude) ** 2)
    across = radius * np.cos(latitude)
    up = (1.0 - ECCENTRICITY_SQUARED) * radius * np.sin(latitude)
    return np.stack([across * np.cos(longitude), across * np.sin(longitude), up], 1)
