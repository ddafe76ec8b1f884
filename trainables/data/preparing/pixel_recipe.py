"""Pixel recipe: the conversion of satellite values to a store's pixels, saved with a model to convert scenes alike."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trainables.data.bands import UNNAMED
from trainables.data.class_names import RGB_BANDS
from trainables.data.dataset_facts import KNOWN, SCENES
from trainables.data.preparing.linear_scale import FLOATS, LinearScale, Ranges
from trainables.data.preparing.pixels import (
    PixelConversion,
    range_tables,
    read_ranges,
    reflectance_tables,
    scaled_tables,
    stated_scale,
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
    """Names of the bands in the order of the channels; empty if they have none."""
    rule: str = ""
    """One of PIXEL_RULES; empty if the source has 8-bit pixels (JPEG)."""
    ranges: Ranges = ()
    """Rule `percentiles`: the values of each channel that became 0 and 255."""
    metres: float | None = None
    """Ground side of a stored pixel in metres; None if unknown."""
    reflectance: tuple[float, float] | None = None
    """Rule `reflectance`: scale and offset."""
    reading: ReadingOptions = AS_READ
    """Options for files that can be read in more than one way."""
    values: str = ""
    """Type of the source's values, as int16; empty if they are unsigned of 8 or 16 bits, or unknown."""
    nodata: float | None = None
    """Value of pixels without data that was stated for the source's scenes; None: the files' own."""

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
            bands=() if any(map(UNNAMED.fullmatch, bands)) else bands,
            rule=str(options.get("pixels", "")).partition(":")[0],
            ranges=read_ranges(str(options.get("percentiles", ""))),
            metres=metres,
            reflectance=_pair(str(options.get("reflectance", ""))),
            reading=ReadingOptions.read(
                str(options.get("value range", "")), str(options.get("resampling of pages", ""))
            ),
            values=str(options.get("source values", "")),
            nodata=float(options["nodata value"]) if "nodata value" in options else None,
        )

    @classmethod
    def read(cls, fields: Mapping[str, Any]) -> "PixelRecipe":
        """Return the recipe from values that `written` returned."""
        ranges = tuple((low, high) for low, high in fields["ranges"])
        reading = ReadingOptions.read(fields.get("value_range", ""), fields.get("resample", ""))
        reflectance = _pair(fields.get("reflectance", ""))
        known = (tuple(fields["bands"]), fields["pixels"], ranges, fields["metres"], reflectance, reading)
        return cls(*known, fields.get("values", ""), fields.get("nodata"))

    def written(self) -> dict[str, Any]:
        """Return the recipe as JSON values."""
        ranges = [list(one) for one in self.ranges]
        read = {"value_range": self.reading.written_range, "resample": self.reading.resample, "values": self.values}
        if self.reflectance is not None:
            read["reflectance"] = "{!r},{!r}".format(*self.reflectance)
        known: dict[str, Any] = {name: value for name, value in read.items() if value}
        known |= {} if self.nodata is None else {"nodata": self.nodata}
        return {"bands": list(self.bands), "pixels": self.rule, "ranges": ranges, "metres": self.metres, **known}

    def channel_bands(self, channels: int) -> tuple[str, ...]:
        """Return the band of each channel; red, green and blue for three channels without record; empty if unknown."""
        return self.bands or (RGB_BANDS if channels == len(RGB_BANDS) else ())

    def conversion(
        self,
        size: int,
        *,
        found: str,
        wanted: str,
        brightest: float | None = None,
        moved: bool = False,
        measured: str = "",
    ) -> PixelConversion:
        """Return the conversion of scene windows to (size, size) pixels of the store's type.

        Args:
            size: Side of the result, in pixels.
            found: Type of the scene's values as read, as `uint16`; `float32` for signed and floating-point values.
            wanted: Type of the store's pixels, as `uint8`.
            brightest: Value that becomes 255, instead of the recipe's rule.
            moved: Whether reading the scene already added its offset, which may be 0.
            measured: Type of the values in the scene's files; empty: as read.

        Raises:
            BadInputError: No conversion from the found to the wanted type, or from values of another kind.
        """
        if brightest is not None:
            return self._brightened(size, found, wanted, brightest)
        if found != "uint8":
            self._refuse_other_kind(measured or found, wanted)
        reflectance = self._reflectance(moved=moved)
        if found == FLOATS:
            return PixelConversion(size, scale=self._scale(wanted, reflectance, measured or found))
        if reflectance is not None and found == "uint16":
            return PixelConversion(size, reflectance_tables(*reflectance))
        if self.reading.value_range is not None and found == "uint16":
            return PixelConversion(size, range_tables([self.reading.value_range], "uint16"))
        if found == wanted:
            return PixelConversion(size)
        if (found, wanted) != ("uint16", "uint8"):
            raise BadInputError(f"values are {found}, and the model takes {wanted}: give the scene as {wanted}")
        return PixelConversion(size, self._tables())

    def _reflectance(self, *, moved: bool) -> tuple[float, float] | None:
        return self.reflectance if self.reflectance is None or not moved else (self.reflectance[0], 0.0)

    def _brightened(self, size: int, found: str, wanted: str, brightest: float) -> PixelConversion:
        if wanted != "uint8":
            raise BadInputError(f"--scale {brightest:g}: the model takes {wanted} as it is; leave it out")
        if found == FLOATS:
            return PixelConversion(size, scale=LinearScale((0.0,), (brightest,), "uint8", truncated=True))
        if found != "uint16":
            raise BadInputError(f"values are {found}, and the model takes {wanted}: give the scene as {wanted}")
        return PixelConversion(size, scaled_tables(brightest))

    def _refuse_other_kind(self, measured: str, wanted: str) -> None:
        """Raise BadInputError for floats where the data set had whole numbers, and the reverse: their scale differs."""
        of_range = self.reading.value_range is not None and not self.values  # a folder's floats or signed integers
        if of_range and measured == "uint16":
            raise BadInputError(
                f"values are uint16, and those of the model's data set were floats or signed integers from "
                f"{self.reading.written_range}; give the scene as these"
            )
        if not of_range and _is_float(measured) != _is_float(self.values):
            raise BadInputError(
                f"values are {measured}, and those of the model's data set were {self.values or 'unsigned integers'}; "
                "convert the scene to their scale (gdal_translate -ot TYPE -scale)"
                + (", or say which value becomes 255 (--scale VALUE)" if wanted == "uint8" else "")
            )

    def _scale(self, wanted: str, reflectance: tuple[float, float] | None, measured: str) -> LinearScale:
        """Return the scale of signed and floating-point values."""
        if self.rule == "percentiles":
            return LinearScale.of_ranges(self.ranges, "uint8")
        if reflectance is None and self.reading.value_range is None and self.rule != "thesis":
            if wanted == "uint8":
                raise BadInputError(f"values are {measured}, and the model takes {wanted}: give the scene as {wanted}")
            return LinearScale.of_ranges([(0.0, np.iinfo(np.uint16).max)], wanted)
        return stated_scale(self.rule, reflectance, self.reading.value_range)

    def _tables(self) -> NDArray[np.uint8]:
        if self.rule == "thesis":
            return thesis_tables()
        if self.rule == "percentiles":
            return range_tables(self.ranges)
        raise BadInputError(
            "values have 16 bits, but the model and its data set have 8: give the value that becomes 255 with "
            "--scale VALUE"
        )


def _is_float(name: str) -> bool:
    return name.startswith("float")


def _pair(text: str) -> tuple[float, float] | None:
    """Return the scale and offset of a store's option; None for an empty text."""
    scale, _, offset = text.partition(",")
    return (float(scale), float(offset)) if offset else None
