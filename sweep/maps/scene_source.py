"""Satellite scenes as an image source of chips: Sentinel-2 products, GeoTIFFs and folders of bands, read by windows."""

import secrets
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np
import rasterio  # noqa: F401  # so that what worker processes are forked from has it

from sweep.maps.chip_grid import SceneGrid, scene_chips
from sweep.maps.chip_reader import ChipReader
from sweep.maps.scene_bands import chosen_bands
from sweep.maps.scene_checks import check_scenes
from sweep.maps.scene_facts import measured_bands, scene_decisions, scene_notes
from sweep.maps.scene_search import find_scenes
from trainables.data.chip import Chip
from trainables.data.preparing.linear_scale import FLOATS
from trainables.data.sources.chip_choice import ChipChoice
from trainables.data.sources.source import ImageEntry, ImageSource, PrepareRequest, counted, digest_of
from trainables.data.stable_hash import SUBSET_SALT, stable_fraction
from trainables.errors import BadInputError

NEAREST = "nearest"
STRIP_BYTES = 2**24
"""Maximum size of a strip that is read at once; a row of chips of a Sentinel-2 tile, three bands, has 8 MB."""


class _PlacedChip(NamedTuple):
    """Chip with its position in the scene, its name and its place."""

    path: Path
    row: int
    column: int
    chip: Chip
    name: str
    place: str


def read_scenes(request: PrepareRequest) -> ImageSource:
    """List the chips of all scenes in a folder; needs rasterio.

    Chips lie on a grid from each scene's upper left corner, of Landsat from the CRS' origin. If several scenes show a
    place at one date, the last one by name is used: of a product that was processed twice, the later version. A scene's
    chips don't depend on other files in the folder.

    Args:
        request: Request with the folder of scenes and the chip options.

    Raises:
        BadInputError: No scene, an unreadable scene, or a missing band.
    """
    folder = request.required_source()
    scenes = find_scenes(folder)
    choice = request.options.chips or ChipChoice()
    bands = chosen_bands(request, scenes)
    left_out: Counter[str] = Counter()
    grids = [SceneGrid.of(path, bands, choice) for path in scenes]
    check_scenes(grids, request)
    grids, chosen = _choose(grids, bands, request, choice, left_out)
    if not chosen:
        raise _no_chip(folder, grids, left_out, choice)
    rule = request.options.reading.resample or NEAREST
    return ImageSource(
        str(folder.resolve()),
        (),
        partial(_entries, chosen, grids, bands, request, secrets.token_hex(8)),
        len(chosen),
        scene_notes(folder, grids, request.options.reflectance),
        decisions=scene_decisions(grids, rule),
        left_out=lambda: left_out,
        bands=measured_bands(bands, grids),
        values=grids[0].measured if grids[0].dtype == FLOATS else "",
        state=digest_of(
            *(grid.state for grid in sorted(grids, key=lambda one: one.name)), *(cut.name for cut in chosen)
        ),
        together=max(Counter(cut.chip.scene for cut in chosen).values()),
    )


def _choose(
    grids: list[SceneGrid],
    bands: tuple[str, ...],
    request: PrepareRequest,
    choice: ChipChoice,
    left_out: Counter[str],
) -> tuple[list[SceneGrid], list[_PlacedChip]]:
    """Return the grids, counted where that is needed, and the chosen chips of all scenes by name."""
    shared = _sharing_places(grids, choice)
    grids = _counted_where_needed(grids, shared, bands, request, choice)
    chosen: list[_PlacedChip] = []
    seen: set[tuple[str, str]] = set()
    for grid in sorted(grids, key=lambda one: one.name, reverse=True):
        own = _chosen(grid, choice, request, left_out)
        chosen += _unseen(own, seen, left_out) if grid.path in shared else own
    return grids, sorted(chosen, key=lambda cut: cut.name)


def _entries(
    chosen: Sequence[_PlacedChip],
    grids: Sequence[SceneGrid],
    bands: tuple[str, ...],
    request: PrepareRequest,
    listing: str,
) -> Iterator[ImageEntry]:
    """Yield the chips; those of one row of a scene are read in strips."""
    choice, channels = request.options.chips or ChipChoice(), grids[0].channels
    rule = request.options.reading.resample or NEAREST
    column_bytes = choice.chip_size * channels * np.dtype(grids[0].dtype).itemsize
    most_columns = max(choice.chip_size, STRIP_BYTES // column_bytes)
    by_percentiles = request.options.pixels == "percentiles"
    unmarked = {grid.path for grid in grids if not grid.marked}
    for (path, row), line in groupby(chosen, lambda cut: (cut.path, cut.row)):
        reader = ChipReader(str(path), bands, channels, choice, rule, unmarked=path in unmarked, listing=listing)
        for cut, strip in _in_strips(list(line), most_columns, choice.chip_size):
            partly = by_percentiles and bool(cut.chip.nodata)
            read = partial(reader, row, cut.column, strip, count=cut.chip.nodata is None, mark=partly)
            yield ImageEntry(cut.name, read, place=cut.place, chip=cut.chip)


def _sharing_places(grids: Sequence[SceneGrid], choice: ChipChoice) -> set[Path]:
    """Return the scenes of which another scene can have a chip of the same place and date."""
    side = choice.chip_size
    return {grid.path for grid in grids if any(grid is not one and grid.may_share_places(one, side) for one in grids)}


def _unseen(cuts: Sequence[_PlacedChip], seen: set[tuple[str, str]], left_out: Counter[str]) -> Iterator[_PlacedChip]:
    """Yield the chips whose place and date aren't in `seen`, and add them to it."""
    for cut in cuts:
        key = cut.chip.footprint, cut.chip.date or cut.chip.scene
        if key in seen:
            left_out["chips of a place and date that another scene has"] += 1
        else:
            seen.add(key)
            yield cut


def _counted_where_needed(
    grids: list[SceneGrid], shared: set[Path], bands: tuple[str, ...], request: PrepareRequest, choice: ChipChoice
) -> list[SceneGrid]:
    """Return the grids with each chip's share of nodata if the selection needs it; otherwise reading counts it later.

    The selection needs it if a number of chips per scene is requested, if percentiles are taken over the selection, or
    if another scene can have a chip of the same place and date.
    """
    needed = choice.chips is not None or request.options.pixels == "percentiles"
    return [grid.counted(bands, choice) if needed or grid.path in shared else grid for grid in grids]


def _in_strips(line: Sequence[_PlacedChip], most: int, side: int) -> Iterator[tuple[_PlacedChip, tuple[int, int]]]:
    """Yield each chip of a row with its strip (first column, length); chips at most one chip side apart share a strip.

    Args:
        line: Chips of one row, by column.
        most: Maximum length of a strip in pixels.
        side: Side of a chip in pixels.
    """
    strip: list[_PlacedChip] = []
    for cut in line:
        far = strip and (cut.column > strip[-1].column + 2 * side or cut.column + side > strip[0].column + most)
        if far:
            yield from _of_strip(strip, side)
            strip = []
        strip.append(cut)
    yield from _of_strip(strip, side)


def _of_strip(strip: Sequence[_PlacedChip], side: int) -> Iterator[tuple[_PlacedChip, tuple[int, int]]]:
    span = strip[0].column, strip[-1].column + side - strip[0].column
    return ((cut, span) for cut in strip)


def _chosen(grid: SceneGrid, choice: ChipChoice, request: PrepareRequest, left_out: Counter[str]) -> list[_PlacedChip]:
    """Return a scene's chips within the limits, those with the smallest hashes of their place."""
    kept = []
    for row, column, chip in scene_chips(grid, choice):
        reason = choice.refusal(chip)
        if reason:
            left_out[reason] += 1
        elif request.wants(place := chip.place):
            kept.append(_PlacedChip(grid.path, row, column, chip, f"{grid.name}/{row:05d}_{column:05d}", place))
    if choice.chips is None:
        return kept
    order = np.argsort(stable_fraction([cut.place for cut in kept], salt=SUBSET_SALT), kind="stable")
    return [kept[number] for number in order[: choice.chips]]


def _no_chip(folder: Path, grids: Sequence[SceneGrid], left_out: Counter[str], choice: ChipChoice) -> BadInputError:
    if left_out:
        return BadInputError(f"{folder}: no chip that can be used ({counted(left_out)} left out); choose other limits")
    height, width = max((grid.size for grid in grids), key=min)
    return BadInputError(
        f"{folder}: no scene holds a whole chip of {choice.chip_size} pixels on its grid (the largest scene has "
        f"{width} x {height}); choose a smaller --chip-size"
    )
