"""Bands of a new store, with the scale and offset from stored values to reflectance."""

from collections.abc import Sequence

import numpy as np

from trainables.data.bands import DIGITAL_NUMBERS, SpectralBand, named_bands, unnamed_bands
from trainables.data.preparing.pixels import BRIGHTEST, read_ranges
from trainables.data.sources.source import PrepareRequest
from trainables.errors import BadInputError


def stored_bands(
    request: PrepareRequest, stated: Sequence[SpectralBand], channels: int, percentiles: str
) -> tuple[SpectralBand, ...]:
    """Return the bands of a store's channels.

    Args:
        request: Data set and options.
        stated: Bands that the source states; empty: those of the request.
        channels: Number of channels of the images.
        percentiles: Ranges of the percentile rule, as text; empty with other rules.

    Raises:
        BadInputError: The number of band names differs from `channels`.
    """
    options = request.options
    bands = tuple(stated) or named_bands(options.bands) or unnamed_bands(channels)
    if len(bands) != channels:
        raise BadInputError(
            f"--bands {','.join(options.bands)}: names {len(bands)} bands, the images have {channels} channels; name "
            "each channel once, in the files' order"
        )
    if request.facts.bands and not stated:  # published data sets of Sentinel-2 hold its digital numbers
        bands = tuple(_scaled(band, 1.0 / DIGITAL_NUMBERS, 0.0) for band in bands)
    if options.pixels == "thesis":
        return tuple(map(_of_thesis, bands))
    if options.pixels == "reflectance":
        return tuple(_scaled(band, 1.0 / np.iinfo(np.uint16).max, 0.0) for band in bands)
    if options.pixels == "percentiles":
        ranges = read_ranges(percentiles)
        return tuple(_stretched(band, low, high, 255) for band, (low, high) in zip(bands, ranges, strict=True))
    if request.facts.name == "scenes" and (own := options.reading.value_range) is not None:
        return tuple(_stretched(band, *own, np.iinfo(np.uint16).max) for band in bands)
    return bands


def _of_thesis(band: SpectralBand) -> SpectralBand:
    """Return the band after the thesis' rule, whose values are Sentinel-2's unless the source states another scale."""
    if band.scale in (None, 1.0 / DIGITAL_NUMBERS):
        return _scaled(band, BRIGHTEST / DIGITAL_NUMBERS / 255.0, 0.0)
    return _stretched(band, 0.0, BRIGHTEST, 255)


def _scaled(band: SpectralBand, scale: float, offset: float) -> SpectralBand:
    return band.model_copy(update={"scale": scale, "offset": offset})


def _stretched(band: SpectralBand, low: float, high: float, most: int) -> SpectralBand:
    """Return the band after stretching: values from `low` to `high` became 0 to `most`."""
    if band.scale is None:
        return band
    return _scaled(band, band.scale * (high - low) / most, band.offset + band.scale * low)
