"""Pixel recipe: the conversion of satellite values to a store's pixels, saved with a model to convert scenes alike."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trainables.data.class_names import RGB_BANDS, SENTINEL_2_BANDS
from trainables.data.dataset_facts import KNOWN, SCENES
from trainables.data.preparing.pixels import (
    PixelConversion,
    range_tables,
    read_ranges,
    reflectance_tables,
    scaled_tables,
    thesis_tables,
)
from trainables.data.sources.reading import AS_READ, ReadingOptions
from trainables.errors import BadInputError

if TYPE_CHECKING:
    from trainables.data.store_info import StoreInfo


@dataclass(frozen=True)
class PixelRecipe:
    """Conversion of a scene's values to stored pixels."""

    bands: tuple[str, ...] = ()
    """Sentinel-2 bands in the order of the channels; empty if the source's channels were kept."""
    rule: str = ""
    """One of PIXEL_RULES; empty if the source has 8-bit pixels (JPEG)."""
    ranges: tuple[tuple[int, int], ...] = ()
    """Rule `percentiles`: the values of each channel that became 0 and 255."""
    metres: float | None = None
    """Ground side of a stored pixel in metres; None if unknown."""
    reflectance: tuple[float, float] | None = None
    """Rule `reflectance`: scale and offset."""
    reading: ReadingOptions = AS_READ
    """Options for files that can be read in more than one way."""

    @classmethod
    def of(cls, info: "StoreInfo") -> "PixelRecipe":
        """Return the recipe of a store."""
        facts, options = KNOWN.get(info.data_set), info.options
        bands = tuple(band for band in str(options.get("bands", "")).split(", ") if band)
        bands = tuple(band.name for band in info.bands) if info.data_set == SCENES.name else bands
        metres = (
            None
            if info.data_set != SCENES.name
            else min((band.resolution for band in info.bands if band.resolution), default=None)
        )
        if facts is not None and facts.pixel_metres is not None and facts.image_size is not None:
            metres = facts.pixel_metres * facts.image_size / info.image_size[0]
        return cls(
            bands=bands if set(bands) <= set(SENTINEL_2_BANDS) else (),
            rule=str(options.get("pixels", "")).partition(":")[0],
            ranges=read_ranges(str(options.get("percentiles", ""))),
            metres=metres,
            reflectance=_pair(str(options.get("reflectance", ""))),
            reading=ReadingOptions.read(
                str(options.get("value range", "")), str(options.get("resampling of pages", ""))
            ),
        )

    @classmethod
    def read(cls, fields: Mapping[str, Any]) -> "PixelRecipe":
        """Return the recipe from values that `written` returned."""
        ranges = tuple((int(low), int(high)) for low, high in fields["ranges"])
        reading = ReadingOptions.read(fields.get("value_range", ""), fields.get("resample", ""))
        reflectance = _pair(fields.get("reflectance", ""))
        return cls(tuple(fields["bands"]), fields["pixels"], ranges, fields["metres"], reflectance, reading)

    def written(self) -> dict[str, Any]:
        """Return the recipe as JSON values."""
        ranges = [list(one) for one in self.ranges]
        read = {"value_range": self.reading.written_range, "resample": self.reading.resample}
        if self.reflectance is not None:
            read["reflectance"] = "{!r},{!r}".format(*self.reflectance)
        known = {name: value for name, value in read.items() if value}
        return {"bands": list(self.bands), "pixels": self.rule, "ranges": ranges, "metres": self.metres, **known}

    def channel_bands(self, channels: int) -> tuple[str, ...]:
        """Return the band of each channel; red, green and blue for three channels without record; empty if unknown."""
        return self.bands or (RGB_BANDS if channels == len(RGB_BANDS) else ())

    def conversion(
        self, size: int, *, found: str, wanted: str, brightest: float | None = None, moved: bool = False
    ) -> PixelConversion:
        """Return the conversion of scene windows to (size, size) pixels of the store's type.

        Args:
            size: Side of the result, in pixels.
            found: Type of the scene's values, as `uint16`.
            wanted: Type of the store's pixels, as `uint8`.
            brightest: Value that becomes 255, instead of the recipe's rule.
            moved: Whether reading the scene already added its offset.

        Raises:
            BadInputError: No conversion from the found to the wanted type.
        """
        if self.reflectance is not None and found == "uint16" and brightest is None:
            scale, offset = self.reflectance
            return PixelConversion(size, reflectance_tables(scale, 0.0 if moved else offset))
        if found == wanted and brightest is None:
            return PixelConversion(size)
        if brightest is not None and wanted != "uint8":
            raise BadInputError(f"--scale {brightest:g}: the model takes {wanted} as it is; leave it out")
        if (found, wanted) != ("uint16", "uint8"):
            raise BadInputError(f"values are {found}, and the model takes {wanted}: give the scene as {wanted}")
        return PixelConversion(size, self._tables(brightest))

    def _tables(self, brightest: float | None) -> NDArray[np.uint8]:
        if brightest is not None:
            return scaled_tables(brightest)
        if self.rule == "thesis":
            return thesis_tables()
        if self.rule == "percentiles":
            return range_tables(self.ranges)
        raise BadInputError(
            "values have 16 bits, but the model and its data set have 8: give the value that becomes 255 with "
            "--scale VALUE"
        )


def _pair(text: str) -> tuple[float, float] | None:
    """Return the scale and offset of a store's option; None for an empty text."""
    scale, _, offset = text.partition(",")
    return (float(scale), float(offset)) if offset else None
