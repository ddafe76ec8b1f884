"""Facts of a pool's scenes in words: what was decided, what is unknown, what wasn't read; and its bands."""

import math
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sweep.maps.chip_grid import AS_THEY_ARE, SceneGrid
from sweep.maps.raster_file import ARCHIVES
from sweep.maps.scene_files import is_band_scene
from sweep.maps.scene_names import dates_in, lacks_metadata
from trainables.data.bands import DIGITAL_NUMBERS, SpectralBand, named_bands
from trainables.data.class_names import SENTINEL_2_BANDS
from trainables.data.preparing.linear_scale import FLOATS
from trainables.data.sources.source import some_names

PRODUCT = re.compile(r"S2[A-D]_")
"""Beginning of a Sentinel-2 product's name, whose second date is that of processing."""
ALIKE = 1.02
"""Ratio up to which two pixel sizes count as equal."""
RASTERS = (
    ".vrt",
    ".nc",
    ".hdf",
    ".h5",
    ".img",
    ".dat",
    ".bil",
    ".bsq",
    ".grd",
    ".asc",
    ".ecw",
    ".sid",
    ".zarr",
    ".png",
)


def unread_files(folder: Path) -> list[str]:
    """Return archives and rasters of other formats in a folder and below, in words; products aren't searched."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for path in _outside_products(folder):
        suffix = path.suffix.lower()
        kind = "archives, which must be unpacked first" if suffix in ARCHIVES else ""
        kind = "files of other formats, which must be converted to GeoTIFF" if suffix in RASTERS else kind
        if kind:
            found[kind].append(path.name)
    return [f"{kind}: {len(names):,} ({some_names(names)})" for kind, names in sorted(found.items())]


def _outside_products(folder: Path) -> list[Path]:
    if not folder.is_dir() or folder.suffix.upper() == ".SAFE":
        return []
    inside = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    below = [one for path in inside if path.is_dir() for one in _outside_products(path)]
    return [*(path for path in inside if path.is_file() or path.suffix == ".zarr"), *below]


def scene_notes(folder: Path, grids: Sequence[SceneGrid], reflectance: tuple[float, float] | None) -> tuple[str, ...]:
    """Return notes on what the scenes lack, one line each with the scenes' names.

    Args:
        folder: Folder of the scenes.
        grids: Scenes with their chips.
        reflectance: Scale and offset of the rule `reflectance`; None with other rules.
    """
    found = {
        "scenes without a scene classification (SCL), whose clouds, shadow and snow are unknown": [
            grid for grid in grids if grid.covers is None
        ],
        "scenes without a date in their name (20230613 or 2023-06-13)": [grid for grid in grids if not grid.date],
        "scenes with several dates in their name, of which the first is taken": [
            grid
            for grid in grids
            if not PRODUCT.match(grid.name) and grid.product is None and len(set(dates_in(grid.name))) > 1
        ],
        "scenes without coordinates": [grid for grid in grids if not grid.crs],
        "scenes of a local grid, without longitude and latitude": [
            grid for grid in grids if grid.crs and grid.centres is None
        ],
        "scenes without product metadata, to whose values no offset is added (-1000 since 2022, also of older images "
        "that were processed since)": [grid for grid in grids if lacks_metadata(grid.path)],
        "scenes without a whole chip on their grid, left out": [
            grid for grid in grids if not (grid.rows and grid.columns)
        ],
        "scenes that don't describe their bands, which are taken by position": [
            grid for grid in grids if not grid.described
        ],
        "scenes that state a scale or offset of their values, which isn't applied": [
            grid for grid in grids if grid.is_scaled and not _is_applied(grid, reflectance)
        ],
    }
    return (*(f"{told}: {_counted(own)}" for told, own in found.items() if own), *unread_files(folder))


def _is_applied(grid: SceneGrid, reflectance: tuple[float, float] | None) -> bool:
    """Whether the rule `reflectance` has the scale and offset that the scene states."""
    scale, offset = grid.stated[0]
    own = (1.0 / scale, offset / scale) if scale and len(grid.stated) == 1 else None
    return own is not None and reflectance is not None and np.allclose(own, reflectance, rtol=1e-6)


def _counted(grids: Sequence[SceneGrid]) -> str:
    return f"{len(grids):,} ({some_names([grid.name for grid in grids])})"


def scene_decisions(grids: Sequence[SceneGrid], rule: str) -> dict[str, str]:
    """Return what was decided, by subject: scenes, enlarged bands, offset, sizes of pixels."""
    offsets = sorted({value for grid in grids for value in grid.offsets})
    coarse = sorted({band for grid in grids for band in grid.coarse})
    return {
        "scenes": _counted(grids),
        "coarser bands": f"{', '.join(coarse)} enlarged by the rule {rule}" if coarse else "",
        "offset": f"{', '.join(f'{value:+d}' for value in offsets)} added to values, as the products say"
        if any(offsets)
        else "",
        "values": _values(grids),
        "pixel sizes": "" if _one_size(grids) else _sizes(grids),
    }


def _values(grids: Sequence[SceneGrid]) -> str:
    """Return how signed and floating-point values are read; empty for others, which are read as they are."""
    if grids[0].dtype != FLOATS:
        return ""
    values = sorted({grid.nodata_value for grid in grids if grid.nodata_value and not math.isnan(grid.nodata_value)})
    marks = [f"{value:g}" for value in values]
    empty = " or ".join([*marks, "NaN or infinite"] if grids[0].measured.startswith("float") else marks)
    types = " and ".join(sorted({grid.measured for grid in grids}))
    return types + (f"; pixels that are {empty} in a band lack data" if empty else "")


def _one_size(grids: Sequence[SceneGrid]) -> bool:
    known = [grid.metres for grid in grids if grid.metres]
    return not known or max(known) <= ALIKE * min(known)


def _sizes(grids: Sequence[SceneGrid]) -> str:
    names: defaultdict[str, list[str]] = defaultdict(list)
    for grid in grids:
        names["unknown" if grid.metres is None else f"{grid.metres:.3g} m"].append(grid.name)
    return ", ".join(f"{size} ({some_names(own)})" for size, own in names.items()) + ": chips differ in their ground"


def measured_bands(bands: Sequence[str], grids: Sequence[SceneGrid]) -> tuple[SpectralBand, ...]:
    """Return the bands with wavelength, resolution and scale; of Sentinel-2 products the offset is already added."""
    own = tuple(_resolved(_located(band, grids), grids) for band in named_bands(bands or grids[0].names))
    stated = {one for grid in grids for one in grid.stated}
    if len(stated) == 1 and (known := next(iter(stated))) != AS_THEY_ARE and known[0] > 0.0:
        return tuple(band.model_copy(update={"scale": known[0], "offset": known[1]}) for band in own)
    is_product = all(is_band_scene(grid.path) and grid.dtype != FLOATS and not grid.offset_unknown for grid in grids)
    if not is_product or not all(band.name in SENTINEL_2_BANDS for band in own):
        return own
    return tuple(band.model_copy(update={"scale": 1.0 / DIGITAL_NUMBERS, "offset": 0.0}) for band in own)


def _located(band: SpectralBand, grids: Sequence[SceneGrid]) -> SpectralBand:
    """Return a band of Landsat or HLS with its central wavelength, of several instruments the mean of theirs."""
    products = [grid.product for grid in grids if grid.product is not None]
    own = {one.wavelengths[band.name] for one in products if band.name in one.wavelengths}
    return band.model_copy(update={"wavelength": round(sum(own) / len(own), 1)}) if own else band


def _resolved(band: SpectralBand, grids: Sequence[SceneGrid]) -> SpectralBand:
    """Return a band with the scenes' pixel size, if it is known and coarser than the instrument's."""
    sizes = [grid.metres for grid in grids if grid.metres]
    if len(sizes) < len(grids) or not _one_size(grids) or max(sizes) <= ALIKE * (band.resolution or 0.0):
        return band
    return band.model_copy(update={"resolution": float(f"{max(sizes):.4g}")})
