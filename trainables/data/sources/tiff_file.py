"""Decoding of TIFF and GeoTIFF: band axis, pages, and the meaning of values."""

import io
import logging
import lzma
import math
import re
import zlib
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trainables.data.sources.file_kinds import CONVERT, jpeg_frame
from trainables.data.sources.picture_file import MOST_BYTES
from trainables.data.sources.reading import MOST_BANDS, DecodedImage, NotReadError, ReadingOptions, upright
from trainables.data.sources.tiff_values import as_pixels
from trainables.files.unpacked_limit import check_unpacked

COMPRESSIONS = (1, 5, 6, 7, 8, 32773, 32946, 34925, 50000)
"""Supported compressions (none, LZW, JPEG, deflate, PackBits, LZMA, ZSTD): their decoders stop at the declared size."""
JPEG_COMPRESSIONS = (6, 7)
OTHER_FILES = {"_multifile": False, "is_ome": False, "is_mmstack": False, "is_ndtiff": False}
"""Options of tifffile that disable formats in which one file refers to others."""
MOST_PAGES = 4096
MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
STACKED = re.compile(r'\bSize([ZT])="(\d+)"')
"""Depths and times in the description of an OME-TIFF."""
COLOURED = (2, 5, 6)
"""Photometric interpretations of colours: RGB, CMYK, YCbCr."""
BAND_AXES = "SC"
PAGE_AXES = "IQ"
"""tifffile's axes of pages without further description."""
AXIS_NAMES = {"Z": "depths", "T": "times"}
RULES = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}


def read_tiff(content: bytes, reading: ReadingOptions) -> DecodedImage:
    """Return a TIFF's bands as channels.

    Each of several pages is a band; overviews and masks are skipped.

    Args:
        content: Bytes of the file.
        reading: Options for ambiguous files.

    Raises:
        NotReadError: An ambiguous or unsupported file.
        ValueError: A damaged file, or one of more pages than any image has.
    """
    with tiff_library().TiffFile(io.BytesIO(content), **OTHER_FILES) as tiff:
        if len(tiff.pages) > MOST_PAGES:
            raise ValueError(f"{len(tiff.pages):,} pages are more than any image has")
        pages = [page for page in tiff.pages if not _is_overview(page)]
        if not pages:
            raise NotReadError(f"a TIFF that holds only previews (a camera's raw file?) is not supported; {CONVERT}")
        _refuse_stack(pages[0])
        first = tiff.series[0]
        one = first.keyframe.index == pages[0].index and len(first.pages) in (1, len(pages))
        if one and (len(pages) == 1 or len(first.pages) == len(pages)):
            _check([first], len(content))
            values, how = _bands_last(first.asarray(maxworkers=1), first.axes)
        else:
            _check(pages, len(content))
            values, how = _stacked(pages, reading)
        return _described(values, pages[0], how, reading)


def _described(values: NDArray[Any], page: Any, how: str, reading: ReadingOptions) -> DecodedImage:
    pixels, said = as_pixels(values, page, reading)
    if pixels.shape[2] > MOST_BANDS:
        raise NotReadError(
            f"{_shape(pixels.shape)} is more than {MOST_BANDS} bands; write those that count, bands last"
        )
    facts = [f"TIFF of {pixels.dtype.itemsize * 8} bits, {pixels.shape[2]} channels{how}", *said]
    tag = page.tags.get(274)
    turned = int(tag.value) if tag is not None and tag.value in range(2, 9) else 1
    if turned != 1:
        facts.append("turned upright, as the orientation in the file says")
    return DecodedImage(upright(pixels, turned), tuple(facts))


def _shape(shape: Sequence[int]) -> str:
    height, width, channels = shape
    return f"{width} x {height} pixels with {channels} channels"


def _is_overview(page: Any) -> bool:
    """Whether a page is an overview (a smaller copy) or a mask."""
    old = page.tags.get(255)
    return bool(page.is_reduced or page.is_mask or (old is not None and old.value == 2))


def _refuse_stack(page: Any) -> None:
    found = {
        axis: int(count) for axis, count in STACKED.findall(page.description[: 2**16]) if "<OME" in page.description
    }
    for axis, count in found.items():
        if count > 1:
            raise NotReadError(f"a stack of {count} {AXIS_NAMES[axis]} is not supported; write each as an image")


def _bands_last(values: NDArray[Any], axes: str) -> tuple[NDArray[Any], str]:
    """Return values as (H, W, C), by the file's axis names or otherwise by the sizes, and a note on the decision."""
    if values.ndim == 2 and axes == "YX":
        return values[..., None], ""
    more = [axis for axis in axes if axis not in "YX"]
    if values.ndim != 3 or len(more) != 1 or more[0] not in BAND_AXES + PAGE_AXES:
        named = next((f"{AXIS_NAMES[axis]}" for axis in more if axis in AXIS_NAMES), "images")
        raise NotReadError(
            f"a stack of {named}, shape {values.shape} with axes {axes}, is not supported; write one image with "
            "its bands"
        )
    at = axes.index(more[0]) if more[0] in BAND_AXES else _band_axis(values.shape, more[0])
    if values.shape[at] > MOST_BANDS:
        raise NotReadError(
            f"shape {values.shape} with axes {axes} has {values.shape[at]} bands, the limit is {MOST_BANDS}; write "
            "those that count"
        )
    where = f" ({'bands first' if at == 0 else 'bands last' if at == 2 else 'bands between rows and columns'})"
    return np.moveaxis(values, at, -1), where


def _band_axis(shape: Sequence[int], axis: str) -> int:
    """Return the band axis of an array (A, B, C) written as A pages; NotReadError if it is ambiguous."""
    first, last = shape[0] <= MOST_BANDS, shape[2] <= MOST_BANDS
    if first and last and axis == "Q":  # the writer named no axes, and wrote whatever it had page by page
        square_first, square_last = shape[1] == shape[2], shape[0] == shape[1]
        first, last = square_first and not square_last, square_last and not square_first
        if not first and not last:
            raise NotReadError(
                f"shape {tuple(shape)} can be {shape[0]} or {shape[2]} bands; write it with its axes: "
                "tifffile.imwrite(..., metadata={'axes': 'CYX'}) or 'YXC'"
            )
    if first:
        return 0
    if last:
        return 2
    raise NotReadError(
        f"shape {tuple(shape)} has more than {MOST_BANDS} bands, whichever axis they are; write those that count"
    )


def _stacked(pages: Sequence[Any], reading: ReadingOptions) -> tuple[NDArray[Any], str]:
    """Return all pages as bands in order; pages of other sizes are resampled by the stated rule."""
    bands = [_bands_last(page.asarray(maxworkers=1), page.axes)[0] for page in pages]
    if len({(page.dtype, page.photometric) for page in pages}) > 1:
        found = ", ".join(dict.fromkeys(f"{page.dtype} {page.photometric.name}" for page in pages))
        raise NotReadError(f"{len(pages)} pages of different kinds ({found}) are not supported; write one image")
    if bands[0].shape[2] > 1 and int(pages[0].photometric) in COLOURED:
        raise NotReadError(f"{len(pages)} pages of red, green and blue are several images; write each as an image")
    if sum(band.shape[2] for band in bands) > MOST_BANDS:
        raise NotReadError(f"{len(pages)} pages of {_sizes(bands)} are more than {MOST_BANDS} bands; write one image")
    largest = max((band.shape[:2] for band in bands), key=math.prod)
    if all(band.shape[:2] == largest for band in bands):
        return np.concatenate(bands, axis=2), " (a page a band)"
    if not reading.resample:
        raise NotReadError(
            f"{len(pages)} pages of {_sizes(bands)} are bands of different sizes, or several images; write them in one "
            "size",
            f"say with --resample {'|'.join(RULES)} how smaller ones are enlarged",
        )
    enlarged = [enlarged_page(band, largest, reading.resample) for band in bands]
    return np.concatenate(enlarged, axis=2), f" (a page a band, enlarged by {reading.resample})"


def _sizes(bands: Sequence[NDArray[Any]]) -> str:
    return ", ".join(dict.fromkeys(f"{band.shape[1]} x {band.shape[0]}" for band in bands))


def enlarged_page(band: NDArray[Any], largest: tuple[int, int], rule: str) -> NDArray[Any]:
    """Return a page (h, w, C) enlarged to (H, W, C) with the same aspect ratio.

    Args:
        band: Page (h, w, C).
        largest: Height and width of the largest page.
        rule: One of RESAMPLING.

    Raises:
        NotReadError: The page has another aspect ratio.
    """
    if band.shape[:2] == largest:
        return band
    if band.shape[0] * largest[1] != band.shape[1] * largest[0]:
        raise NotReadError(f"pages of {_sizes([band])} and {largest[1]} x {largest[0]} don't cover the same ground")
    size = largest[1], largest[0]
    layers = [
        np.asarray(Image.fromarray(band[..., k].astype(np.float32)).resize(size, RULES[rule]))
        for k in range(band.shape[2])
    ]
    values = np.stack(layers, axis=-1)
    if band.dtype.kind == "f":
        return values.astype(band.dtype)
    limits = np.iinfo(band.dtype)
    whole: NDArray[Any] = np.clip(np.rint(values), limits.min, limits.max).astype(band.dtype)
    return whole


def _check(parts: Sequence[Any], packed: int) -> None:
    """Raise for a TIFF that declares more than the size limit, or whose compression isn't in COMPRESSIONS."""
    declared = 0
    for part in parts:
        first = part.keyframe
        segments = math.prod(first.chunks) * first.dtype.itemsize * len(first.dataoffsets)
        declared += max(math.prod(part.shape) * part.dtype.itemsize, segments)
        if first.compression not in COMPRESSIONS:
            name = getattr(first.compression, "name", str(first.compression))
            raise NotReadError(
                f"compression {name} ({int(first.compression)}) is none that is read; pack it with deflate"
            )
    check_unpacked(declared, packed, MOST_BYTES)
    for part in parts:
        if part.keyframe.compression in JPEG_COMPRESSIONS:
            _check_jpeg(part)


def _check_jpeg(part: Any) -> None:
    """Raise for a JPEG strip or tile whose own header, which its decoder follows, declares more than the TIFF."""
    for page in getattr(part, "pages", [part]):
        page = page.aspage() if hasattr(page, "aspage") else page
        file = page.parent.filehandle
        for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True):
            if not count:
                continue
            file.seek(offset)
            frame = jpeg_frame(file.read(count))
            if frame is not None and (frame[2] > page.chunks[0] + 16 or frame[3] > page.chunks[1] + 16):
                raise ValueError(
                    f"a JPEG of {frame[3]} x {frame[2]} pixels in a part of {page.chunks[1]} x {page.chunks[0]}"
                )


@cache
def tiff_library() -> Any:
    """Return tifffile with decoders that stop at the end of a strip and ignore a writer's padding after it."""
    import tifffile

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # what counts of a damaged tag is said once for all images
    tifffile.TIFF.DECOMPRESSORS._codecs.update({8: _inflated, 32946: _inflated, 34925: _lzma_unpacked})
    return tifffile


def _inflated(data: bytes, /, *, out: int) -> bytes:
    import imagecodecs

    try:
        whole: bytes | bytearray = imagecodecs.deflate_decode(data, out=out)  # faster, and refuses what holds more
        return bytes(whole)
    except RuntimeError:
        pass
    return zlib.decompressobj().decompress(data, max(out, 1))


def _lzma_unpacked(data: bytes, /, *, out: int) -> bytes:
    return lzma.LZMADecompressor(memlimit=MOST_BYTES).decompress(data, max(out, 1))
