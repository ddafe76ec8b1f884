"""Satellite scenes as an image source of chips: Sentinel-2 products, GeoTIFFs and folders of bands, read by windows."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from sweep.maps.chip_grid import SceneGrid, scene_chips
from sweep.maps.raster_file import DRIVERS, closed_raster
from sweep.maps.scene import BAND_FILE, Scene, band_files, enter_scene
from trainables.data.bands import DIGITAL_NUMBERS, SpectralBand, named_bands
from trainables.data.chip import Chip
from trainables.data.class_names import RGB_BANDS, SENTINEL_2_BANDS
from trainables.data.sources.chip_choice import ChipChoice
from trainables.data.sources.source import ImageEntry, ImageSource, LabelledImage, PrepareRequest, digest_of, some_names
from trainables.data.stable_hash import SUBSET_SALT, stable_fraction
from trainables.errors import BadInputError

NEAREST = "nearest"


@dataclass(frozen=True)
class _Cut:
    """Chip with its position in the scene."""

    path: Path
    row: int
    column: int
    chip: Chip

    @property
    def name(self) -> str:
        return f"{self.chip.scene}/{self.row:05d}_{self.column:05d}"


def read_scenes(request: PrepareRequest) -> ImageSource:
    """List the chips of all scenes in a folder; needs rasterio.

    Chips lie on a grid from each scene's upper left corner. Each place and date is used once, from the scene with the
    last name: of a product that was processed twice, the later. A scene's chips don't depend on other files in the
    folder.

    Args:
        request: Request with the folder of scenes and the chip options.

    Raises:
        BadInputError: No scene, an unreadable scene, or a missing band.
    """
    folder = request.required_source()
    scenes = find_scenes(folder)
    choice = request.options.chips or ChipChoice()
    bands = _bands(request, scenes)
    left_out: Counter[str] = Counter()
    grids = [SceneGrid.of(path, bands, choice) for path in scenes]
    _refuse_eight_bits(request, grids)
    cuts: dict[tuple[str, str], _Cut] = {}
    for grid in sorted(grids, key=lambda one: one.name, reverse=True):
        for cut in _chosen(grid, choice, request, left_out):
            if cuts.setdefault((cut.chip.place, cut.chip.date or cut.chip.scene), cut) is not cut:
                left_out["chips of a place and date that stand there already"] += 1
    if not cuts:
        raise BadInputError(f"{folder}: no chip that can be used ({dict(left_out)}); choose a smaller --chip-size")
    chosen = sorted(cuts.values(), key=lambda cut: cut.name)
    rule = request.options.reading.resample or NEAREST

    def entries() -> Iterator[ImageEntry]:
        for cut in chosen:
            read = partial(_read, str(cut.path), bands, grids[0].channels, cut.row, cut.column, choice.chip_size, rule)
            yield ImageEntry(cut.name, read, place=cut.chip.place, chip=cut.chip)

    return ImageSource(
        str(folder.resolve()),
        (),
        entries,
        len(chosen),
        _notes(grids),
        decisions=_decisions(grids, chosen, rule),
        left_out=lambda: left_out,
        bands=_measured(bands, grids),
        state=digest_of(*(grid.state for grid in sorted(grids, key=lambda one: one.name)), *map(repr, chosen)),
        together=max(Counter(cut.chip.scene for cut in chosen).values()),
    )


def find_scenes(folder: Path) -> list[Path]:
    """Return the products, folders of bands and raster files in a folder, or the folder itself, sorted by name."""
    if not folder.exists():
        raise BadInputError(f"--source {folder}: no such folder")
    found = [folder] if folder.is_file() else list(_scenes_in(folder))
    if not found:
        raise BadInputError(f"{folder}: no scene: neither a product (.SAFE), nor bands (*_B04.tif), nor a GeoTIFF")
    return sorted(found)


def _scenes_in(folder: Path) -> Iterator[Path]:
    if folder.suffix.upper() == ".SAFE":
        if next(band_files(folder), None) is None:
            raise BadInputError(f"{folder}: a product without files of bands; fetch it again, or remove it")
        yield folder
        return
    inside = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    rasters = [path for path in inside if path.is_file() and path.suffix.lower() in DRIVERS]
    if any(BAND_FILE.search(path.name) for path in rasters):
        yield folder
        return
    yield from rasters
    for path in inside:
        if path.is_dir():
            yield from _scenes_in(path)


def _bands(request: PrepareRequest, scenes: Sequence[Path]) -> tuple[str, ...]:
    """Return the bands to read; empty: all bands of the GeoTIFFs."""
    asked = request.options.bands
    if not any(path.is_dir() for path in scenes):
        return asked
    if asked != SENTINEL_2_BANDS:
        return asked or RGB_BANDS
    have = {band for path in scenes if path.is_dir() for band, _, _ in band_files(path)}
    return tuple(band for band in SENTINEL_2_BANDS if band in have)  # level 2A has no B10


def _refuse_eight_bits(request: PrepareRequest, grids: Sequence[SceneGrid]) -> None:
    eight = [grid.path for grid in grids if grid.dtype == "uint8"]
    if eight and request.options.pixels != "none":
        raise BadInputError(
            f"{eight[0]}: has 8-bit values, and --pixels {request.options.pixels} makes 8 bits of 16; add --pixels none"
        )


def _chosen(grid: SceneGrid, choice: ChipChoice, request: PrepareRequest, left_out: Counter[str]) -> list[_Cut]:
    """Return a scene's chips within the limits, those with the smallest hashes of their place."""
    kept = []
    for row, column, chip in scene_chips(grid, choice):
        reason = choice.refusal(chip)
        if reason is not None:
            left_out[reason] += 1
        elif request.wants(chip.place):
            kept.append(_Cut(grid.path, row, column, chip))
    order = np.argsort(stable_fraction([cut.chip.place for cut in kept], salt=SUBSET_SALT), kind="stable")
    return [kept[number] for number in order[: choice.chips]]


def _notes(grids: Sequence[SceneGrid]) -> tuple[str, ...]:
    bare = [grid.name for grid in grids if grid.covers is None]
    undated = [grid.name for grid in grids if not grid.date]
    lacking = {
        "a scene classification (SCL), whose clouds, shadow and snow are unknown": bare,
        "a date": undated,
        "coordinates": [grid.name for grid in grids if not grid.crs],
    }
    return tuple(
        f"scenes without {told}: {len(names):,} ({some_names(names)})" for told, names in lacking.items() if names
    )


def _decisions(grids: Sequence[SceneGrid], cuts: Sequence[_Cut], rule: str) -> dict[str, str]:
    offsets = sorted({value for grid in grids for value in grid.offsets})
    dates = sorted({cut.chip.date for cut in cuts if cut.chip.date})
    coarse = sorted({band for grid in grids for band in grid.coarse})
    return {
        "scenes": f"{len(grids):,} ({some_names([grid.name for grid in grids])})",
        "chips": f"{len(cuts):,} of {len({cut.chip.place for cut in cuts}):,} places",
        "dates": f"{len(dates):,}, {dates[0]} to {dates[-1]}" if dates else "",
        "coarser bands": f"{', '.join(coarse)} enlarged by the rule {rule}" if coarse else "",
        "offset": f"{', '.join(f'{value:+d}' for value in offsets)} added to values, as the products say"
        if any(offsets)
        else "",
    }


def _measured(bands: Sequence[str], grids: Sequence[SceneGrid]) -> tuple[SpectralBand, ...]:
    """Return the bands with their scale if all scenes are Sentinel-2 products; their offset is already added."""
    own = named_bands(bands or grids[0].names)
    if not all(grid.path.is_dir() and band.name in SENTINEL_2_BANDS for grid in grids for band in own):
        return own
    return tuple(band.model_copy(update={"scale": 1.0 / DIGITAL_NUMBERS, "offset": 0.0}) for band in own)


class _OpenScene:
    """Scene that a process read last, kept open because its chips are consecutive."""

    def __init__(self) -> None:
        self._key: tuple[str, tuple[str, ...]] | None = None
        self._stack = ExitStack()
        self._scene: Scene | None = None

    def of(self, path: str, bands: tuple[str, ...], channels: int) -> Scene:
        if self._scene is None or self._key != (path, bands):
            self._stack.close()
            self._scene, self._key = enter_scene(self._stack, Path(path), bands, channels), (path, bands)
        return self._scene


_last = _OpenScene()


def _read(
    path: str, bands: tuple[str, ...], channels: int, row: int, column: int, side: int, rule: str
) -> LabelledImage:
    with closed_raster():
        return LabelledImage(_last.of(path, bands, channels).chip(row, column, side, rule), None)
