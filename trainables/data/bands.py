"""Spectral bands of a store's channels: name, wavelength, resolution, and the reflectance of a stored value."""

import math
import re
from collections.abc import Sequence
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from trainables.data.class_names import RGB_BANDS
from trainables.fields.band_spelling import band_name

BAND_NAME = r"^[A-Za-z0-9_.-]{1,40}$"
DIGITAL_NUMBERS = 10_000.0
"""Quantification value of Sentinel-2 products: digital numbers per unit of reflectance."""
COLOURS = ("red", "green", "blue")
SPECTRAL = ("coastal", "blue", "green", "red", "nir", "swir1", "swir2")
"""Names of Landsat's bands, by wavelength."""
UNNAMED = re.compile(r"channel_\d+")
"""Name of a band without a name."""


class SpectralBand(BaseModel):
    """Spectral band of one channel; the stored value v has the reflectance scale * v + offset."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: Annotated[str, StringConstraints(pattern=BAND_NAME)]
    wavelength: Annotated[float, Field(gt=0)] | None = None
    """Central wavelength in nm; None if unknown."""
    resolution: Annotated[float, Field(gt=0)] | None = None
    """Side of a measured pixel in metres; None if unknown."""
    scale: Annotated[float, Field(gt=0)] | None = None
    """Reflectance per step of the stored value; None if unknown."""
    offset: float = 0.0
    """Reflectance of the stored value 0."""

    @property
    def colour(self) -> str | None:
        """Return "red", "green" or "blue" for such a band, else None."""
        if self.name in RGB_BANDS:
            return COLOURS[RGB_BANDS.index(self.name)]
        return self.name if self.name in COLOURS else None

    @property
    def is_landsat(self) -> bool:
        """Whether this is a band of Landsat or HLS that Sentinel-2 measures otherwise: all but red, green and blue."""
        return self.name in SPECTRAL and self.name not in COLOURS and self.wavelength is not None

    def same_as(self, other: "SpectralBand") -> bool:
        """Return whether both bands have the same name, and so measure the same part of the spectrum."""
        return self.name == other.name or (self.colour is not None and self.colour == other.colour)

    def described(self) -> str:
        """Return the band's name, wavelength and resolution as text."""
        known = [
            "" if self.wavelength is None else f"{self.wavelength:g} nm",
            "" if self.resolution is None else f"{self.resolution:g} m",
        ]
        told = ", ".join(part for part in known if part)
        return f"{self.name} ({told})" if told else self.name


class EncoderInputs(BaseModel):
    """Pixels that an encoder was trained on, as a trial's model.pt records them."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    bands: Annotated[tuple[SpectralBand, ...], Field(min_length=1, max_length=2**10)]
    """Band of each channel."""
    full: Annotated[int, Field(gt=0)]
    """Largest stored value, which becomes 1: 255 or 65535."""


SENTINEL_2: dict[str, SpectralBand] = {
    name: SpectralBand(name=name, wavelength=wavelength, resolution=resolution)
    for name, wavelength, resolution in (
        ("B01", 442.7, 60),
        ("B02", 492.4, 10),
        ("B03", 559.8, 10),
        ("B04", 664.6, 10),
        ("B05", 704.1, 20),
        ("B06", 740.5, 20),
        ("B07", 782.8, 20),
        ("B08", 832.8, 10),
        ("B8A", 864.7, 20),
        ("B09", 945.1, 60),
        ("B10", 1373.5, 60),
        ("B11", 1613.7, 20),
        ("B12", 2202.4, 20),
    )
}
"""Sentinel-2A's bands: central wavelengths in nm and pixel sides in metres (ESA, Sentinel-2 MSI User Guide).

Sentinel-2B's wavelengths differ by 17 nm in B12 (2185.7 nm), and by at most 3.4 nm in the other bands.
"""


TEN_METRES = (*RGB_BANDS, "B08")
BAND_SETS = {"10 m": TEN_METRES, "10 and 20 m": (*TEN_METRES, "B05", "B06", "B07", "B8A", "B11", "B12")}
"""Named sets of Sentinel-2 bands, red, green and blue first."""


def band_words(names: Sequence[str]) -> str:
    """Return a short name of a choice of bands, different for each choice and order; "all" for an empty choice.

    >>> band_words(("B04", "B03", "B02")), band_words(("B02", "B03", "B04", "B08")), band_words(("B11", "B08"))
    ('RGB', '10 m, blue first', 'B11, B08')
    """
    chosen = tuple(map(band_name, names))
    for words, own in BAND_SETS.items():
        if chosen == own:
            return words
        if chosen == tuple(name for name in SENTINEL_2 if name in own):
            return f"{words}, blue first"
    left_out = [name for name in SENTINEL_2 if name not in chosen]
    if len(chosen) > len(left_out) and chosen == tuple(name for name in SENTINEL_2 if name in chosen):
        return f"{len(chosen)} of Sentinel-2" + (f", not {' '.join(left_out)}" if left_out else "")
    return "RGB" if chosen == RGB_BANDS else ", ".join(chosen) or "all"


def named_bands(names: Sequence[str]) -> tuple[SpectralBand, ...]:
    """Return bands with the given names; Sentinel-2 names get wavelength and resolution."""
    return tuple(SENTINEL_2.get(name) or SpectralBand(name=name) for name in map(band_name, names))


def band_names(bands: Sequence[SpectralBand]) -> tuple[str, ...]:
    """Return the names of bands; empty if one has only its channel's number as a name."""
    names = tuple(band.name for band in bands)
    return () if any(re.fullmatch(r"channel_\d+", name) for name in names) else names


def unnamed_bands(channels: int) -> tuple[SpectralBand, ...]:
    """Return default bands for images without band names: three channels are red, green and blue."""
    names = COLOURS if channels == len(COLOURS) else [f"channel_{number}" for number in range(1, channels + 1)]
    return tuple(SpectralBand(name=name) for name in names)


def colour_channels(bands: Sequence[SpectralBand]) -> tuple[int, int, int] | None:
    """Return the channel indices of red, green and blue; None if one of them is missing."""
    colours = [band.colour for band in bands]
    if not set(COLOURS) <= set(colours):
        return None
    red, green, blue = map(colours.index, COLOURS)
    return red, green, blue


def described_bands(bands: Sequence[SpectralBand]) -> str:
    """Return the bands as text in channel order, with the reflectance of a stored value."""
    told = ", ".join(band.described() for band in bands)
    if any(band.scale is None for band in bands):
        return told
    scales = {(band.scale, band.offset) for band in bands}
    if len(scales) > 1:
        return f"{told}; reflectance by band: " + ", ".join(f"{band.name} {_measured(band)}" for band in bands)
    return f"{told}; reflectance: {_measured(bands[0])}"


def other_reflectance(ours: EncoderInputs, theirs: EncoderInputs) -> tuple[str, str] | None:
    """Return in words the reflectances of the first band that differs, of both; None if none is known to differ.

    Bands are compared by name, since one store may have some of the other's, and by the reflectance of the pixel
    values 0 and 1.
    """
    for band in ours.bands:
        other = next((one for one in theirs.bands if one.same_as(band)), None)
        if other is None or band.scale is None or other.scale is None:
            continue
        scales = (band.scale * ours.full, other.scale * theirs.full)
        if not (math.isclose(*scales, rel_tol=1e-6) and math.isclose(band.offset, other.offset, abs_tol=1e-6)):
            bits = [f" of {one.full.bit_length()} bits" * (ours.full != theirs.full) for one in (ours, theirs)]
            told = [f"{_measured(one, 6)}{more}" for one, more in zip((band, other), bits, strict=True)]
            return f"{band.name} = {told[0]}", told[1]
    return None


def _measured(band: SpectralBand, digits: int = 4) -> str:
    return f"{band.scale:.{digits}g} * value" + (f" {band.offset:+.{digits}g}" if band.offset else "")
