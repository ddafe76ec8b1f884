"""Meaning of TIFF values: palettes, inverted grey, CMYK, and values that need a stated range."""

import math
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trainables.data.sources.file_kinds import CONVERT
from trainables.data.sources.reading import NotReadError, ReadingOptions

MINISWHITE, MINISBLACK, RGB, PALETTE, CMYK, YCBCR = 0, 1, 2, 3, 5, 6
JPEG_COMPRESSIONS = (6, 7)
"""JPEG compressions, whose decoder converts luma and chroma to RGB."""
DARKEST, BRIGHTEST = 0, 65535
NODATA_TAG, METADATA_TAG = 42113, 42112
STATED_SCALE = re.compile(r'role="(scale|offset)">\s*([^<\s]+)')
"""Scale and offset in GDAL's metadata."""
SCALE = "say with --value-range LOW,HIGH which values become 0 and 65535"


def as_pixels(values: NDArray[Any], page: Any, reading: ReadingOptions) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Return raw TIFF values as pixels, and the decisions in words.

    Args:
        values: Values (H, W, C) of any type.
        page: Page of tifffile.
        reading: Options for ambiguous files.

    Returns:
        Pixels (H, W, C), uint8 or uint16, and the decisions.

    Raises:
        NotReadError: Values that need an option, which the error names, or that aren't supported.
    """
    photometric = int(page.photometric)
    if photometric == PALETTE:
        return _coloured(values, page), ("colours of its palette",)
    if photometric == CMYK:
        return _from_cmyk(values), ("CMYK made red, green and blue without its colour profile",)
    _check_colours(page)
    said = (*_opacity(values, page), *_stated(page))
    values = _in_whole_bytes(values, page)
    if values.dtype not in (np.uint8, np.uint16):
        if photometric == MINISWHITE:
            raise NotReadError(
                f"TIFF of {values.dtype} in which white is the smallest value is not supported; {CONVERT}"
            )
        return _scaled(values, page, reading, said)
    if reading.value_range is not None:
        raise NotReadError(
            f"{values.dtype} has its own range, and a range of {reading.written_range} is stated, which is for floats "
            "and integers with sign",
            "leave --value-range out",
        )
    if photometric == MINISWHITE:
        return _inverted(values, page), ("inverted, as white is its smallest value", *said)
    if (nodata := _nodata(page)) is not None and (values == nodata).any():
        said = (*said, f"pixels without data, which keep their value {nodata:g}")
    return values, said


def _check_colours(page: Any) -> None:
    """Raise NotReadError for colours other than grey, red, green and blue, and YCbCr that its JPEG decoder converts."""
    photometric = int(page.photometric)
    converted = photometric == YCBCR and int(page.compression) in JPEG_COMPRESSIONS
    if photometric not in (MINISWHITE, MINISBLACK, RGB) and not converted:
        raise NotReadError(
            f"TIFF of colours {page.photometric.name} is not supported; {CONVERT} of red, green and blue"
        )


def _in_whole_bytes(values: NDArray[Any], page: Any) -> NDArray[Any]:
    """Return values of 1, 2 or 4 bits stretched to 8 bits; others are returned unchanged."""
    if values.dtype == np.bool_:
        return values.astype(np.uint8) * np.uint8(255)
    if values.dtype == np.uint8 and _bits(page) < 8:
        return np.asarray(values * (255 // (2 ** _bits(page) - 1))).astype(np.uint8)
    return values


def _inverted(values: NDArray[Any], page: Any) -> NDArray[Any]:
    """Return values of a file in which white is the smallest value, with black as the smallest."""
    most = 2 ** _bits(page) - 1 if values.dtype == np.uint16 else 255
    return np.asarray(most - np.minimum(values, most)).astype(values.dtype)


def _bits(page: Any) -> int:
    return int(page.bitspersample) if isinstance(page.bitspersample, int) else int(page.bitspersample[0])


def _opacity(values: NDArray[Any], page: Any) -> tuple[str, ...]:
    """Return a note on channels declared as alpha; writers of satellite images declare near infrared so."""
    extra = [int(one) for one in page.extrasamples]
    opaque = values.shape[2] > 1 and any(one in (1, 2) for one in extra)
    return ("a channel that the file calls opacity is kept as a channel",) if opaque else ()


def _coloured(values: NDArray[Any], page: Any) -> NDArray[np.uint8]:
    if values.shape[2] != 1 or page.colormap is None:
        raise NotReadError(f"TIFF with a palette and {values.shape[2]} channels is not supported; {CONVERT}")
    colours = np.asarray(page.colormap)
    eight = colours if colours.max(initial=0) < 256 else colours >> 8
    return np.moveaxis(eight[:, values[..., 0].astype(np.int64)], 0, -1).astype(np.uint8)


def _from_cmyk(values: NDArray[Any]) -> NDArray[np.uint8]:
    if values.dtype != np.uint8 or values.shape[2] != 4:
        raise NotReadError(f"CMYK of {values.dtype} with {values.shape[2]} channels is not supported; {CONVERT}")
    return np.asarray(Image.fromarray(np.ascontiguousarray(values), "CMYK").convert("RGB"))


def _stated(page: Any) -> tuple[str, ...]:
    """Return notes on a scale and a nodata value that the file states and that aren't used."""
    notes = []
    if scale := _scale(page):
        notes.append(f"not applied: {scale}, which the file states")
    tag = page.tags.get(NODATA_TAG)
    if tag is not None and _nodata(page) is None:
        notes.append(f"the nodata value {str(tag.value).strip(chr(0) + ' ')[:40]!r} isn't a number, and isn't used")
    return tuple(notes)


def _scale(page: Any) -> str:
    """Return the scale and offset of GDAL's metadata in words; empty if values are stated as they are."""
    tag = page.tags.get(METADATA_TAG)
    found = dict(STATED_SCALE.findall(str(tag.value)[: 2**16])) if tag is not None else {}
    stated = {
        name: text for name, text in found.items() if text not in (("1", "1.0") if name == "scale" else ("0", "0.0"))
    }
    return " and ".join(f"{name} {text[:40]}" for name, text in sorted(stated.items(), reverse=True))


def _nodata(page: Any) -> float | None:
    tag = page.tags.get(NODATA_TAG)
    try:
        return None if tag is None else float(str(tag.value).strip("\0 "))
    except ValueError:
        return None


def _scaled(
    values: NDArray[Any], page: Any, reading: ReadingOptions, said: tuple[str, ...]
) -> tuple[NDArray[np.uint16], tuple[str, ...]]:
    """Return the stated value range scaled to 0 ... 65535; nodata and NaN become 0."""
    if values.dtype.kind not in "fiu":
        raise NotReadError(f"values of {values.dtype} are not supported; {CONVERT}")
    nodata = _nodata(page)
    valid = np.isfinite(values)
    if nodata is not None and not math.isnan(nodata):
        # A float's text is of the file's precision; a whole number that the type lacks stands for none of its values.
        valid &= values != (np.asarray(nodata).astype(values.dtype) if values.dtype.kind == "f" else nodata)
    if reading.value_range is None:
        scale = _scale(page)
        raise NotReadError(
            f"{values.dtype} values{_found(values[valid])}{'' if nodata is None else f', nodata {nodata:g}'}, need a "
            f"scale that is stated, and the file states {f'{scale}, which is not a range' if scale else 'none'}",
            SCALE,
        )
    low, high = reading.value_range
    numbers = np.where(valid, values.astype(np.float64), low)
    scaled = np.rint(np.clip((numbers - low) / (high - low), 0.0, 1.0) * BRIGHTEST).astype(np.uint16)
    scale = f"{values.dtype} values: {low:g} to {high:g} became {DARKEST} to {BRIGHTEST}"
    outside = "values beyond that range were cut off" if ((numbers < low) | (numbers > high)).any() else ""
    empty = "" if valid.all() else f"pixels without data became {DARKEST}"
    return scaled, tuple(one for one in (scale, outside, empty, *said) if one)


def _found(valid: NDArray[Any]) -> str:
    return f" from {valid.min():g} to {valid.max():g}" if valid.size else ""
