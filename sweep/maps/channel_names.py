"""Band names that raster files contain, and the channels of a file that hold the requested bands."""

import re
from collections.abc import Sequence
from pathlib import Path

from sweep.maps.raster_file import band_names, closed_raster, explained_raster, open_raster
from trainables.data.bands import BAND_NAME, COLOURS, SPECTRAL, SpectralBand
from trainables.data.class_names import SENTINEL_2_BANDS
from trainables.errors import BadInputError
from trainables.fields.band_spelling import band_name

LANDSAT = re.compile(r"L[COTEM]0?[1-9](?=_|\d{6})|HLS\.L30\.|LANDSAT", re.IGNORECASE)
"""Beginning of the names of Landsat's products, and of stacks of their bands."""
KNOWN = (*SENTINEL_2_BANDS, *SPECTRAL)
"""Names that say which part of the spectrum a band measures."""


def spelled(text: str | None) -> str:
    """Return a band's description as a band name (B4 becomes B04, Red becomes red); empty if it is none."""
    name = band_name((text or "").strip())
    name = name.lower() if name.lower() in COLOURS else name
    return name if re.fullmatch(BAND_NAME, name) else ""


def opaque_channels(path: Path) -> tuple[int, ...]:
    """Return the indices, from 1, of a file's channels without its alpha channel."""
    from rasterio.enums import ColorInterp

    with explained_raster(str(path)), closed_raster(), open_raster(path) as file:
        return tuple(index for index, kind in enumerate(file.colorinterp, 1) if kind != ColorInterp.alpha)


def own_names(path: Path, channels: Sequence[int]) -> tuple[str, ...]:
    """Return the names of a file's channels, given by their indices from 1; empty unless each has a name of its own."""
    texts = band_names(path)
    names = tuple(spelled(texts[index - 1]) for index in channels)
    _refuse_landsat(path, names)
    return names if all(names) and len(set(names)) == len(names) else ()


def chosen_channels(path: Path, bands: Sequence[str], channels: Sequence[int]) -> list[int] | None:
    """Return the channels of a file that hold the bands; None if the file doesn't say.

    Raises:
        BadInputError: The file names other bands.
    """
    texts = band_names(path)
    named = {spelled(texts[index - 1]): index for index in reversed(channels)}
    _refuse_landsat(path, tuple(named))
    found = [_one(band, named) for band in bands]
    if bands and None not in found:
        return [index for index in found if index is not None]
    own = [name for name in reversed(named) if name]
    if any(found) or (set(own) & set(KNOWN) and set(bands) & set(KNOWN)):
        missing = [band for band, index in zip(bands, found, strict=True) if index is None]
        raise BadInputError(
            f"{path}: has no band {', '.join(missing)}; its bands are described as {', '.join(own)}; give a scene with "
            "the bands, or correct the descriptions"
        )
    return None


def _refuse_landsat(path: Path, names: Sequence[str]) -> None:
    """Raise BadInputError for a stack of Landsat's bands by numbers, which would be taken for Sentinel-2's."""
    own = [name for name in names if name in SENTINEL_2_BANDS]
    if own and LANDSAT.match(path.name):
        raise BadInputError(
            f"{path}: is of Landsat by its name, and describes its bands as {', '.join(own)}, which are other parts of "
            f"the spectrum in Sentinel-2; describe them as {', '.join(SPECTRAL)}"
        )


def _one(band: str, named: dict[str, int]) -> int | None:
    if band in named:
        return named[band]
    alike = [
        index for name, index in named.items() if name and SpectralBand(name=name).same_as(SpectralBand(name=band))
    ]
    return alike[0] if alike else None
