"""Image files to arrays, with an error that names the file; one read a file, since small files cost mostly that."""

import importlib.util
import io
import lzma
import math
import os
import zlib
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from trainables.data.sources.source import Blob, File
from trainables.errors import BadInputError
from trainables.unpacked_limit import SMALL, check_unpacked

Pixels = TypeVar("Pixels", bound=NDArray[np.generic])
REMEDY = "fetch the file again, remove it from the source, or leave such files out with --skip-corrupt"
MOST_BYTES = 2**30
"""Of one image, unpacked; larger ones are refused before a pixel is decoded (trainables/unpacked_limit.py)."""
MOST_FILE_BYTES = 2**30
"""Of one file, as it lies on disk: no image that a model trains on is larger."""
MOST_SCANS = 500
"""Of a JPEG, which is decoded once for each: progressive ones have about 10."""
FEW_PIXELS = SMALL // 16
"""Of an image that is small whatever its bands and bits are, so that nothing has to be looked up."""
JPEG_MAGIC = b"\xff\xd8"
SCAN = b"\xff\xda"
"""Begins a JPEG's scan; within one no two bytes are these."""
TIFF_COMPRESSIONS = (1, 5, 6, 7, 8, 32773, 32946, 34925)
"""None, LZW, JPEG, deflate, PackBits, LZMA: those whose unpacking ends at what the file declares."""
OTHER_FILES = {"_multifile": False, "is_ome": False, "is_mmstack": False, "is_ndtiff": False}
"""What tifffile doesn't look for: formats of which one file names others."""
MOST_PAGES = 4096
TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def decode_rgb(file: File, size: int | None = None) -> NDArray[np.uint8]:
    """Return the (H, W, 3) uint8 pixels of a JPEG or PNG; greyscale is repeated into R, G, B, opacity is dropped.

    With `size` the image has to be (size, size).
    """

    def check(width: int, height: int) -> None:
        if size is not None and (width, height) != (size, size):
            raise ValueError(f"expected {size} x {size} pixels, found {width} x {height}")

    return _decoded(file, lambda content: _with_pil(content, check, ("JPEG", "PNG"), _rgb))


def decode_band(file: File, *, largest: int) -> NDArray[np.uint16]:
    """Return the (H, W) uint16 values of a single-band 16-bit TIFF whose sides divide `largest`.

    PIL gives the values that tifffile gives, and faster: 2,300 against 1,700 bands a second on one core.
    """

    def read(content: bytes) -> NDArray[np.uint16]:
        def check(width: int, height: int) -> None:
            if width != height or not width or largest % width:
                raise ValueError(f"expected a square whose side divides {largest}, found {width} x {height} pixels")

        return _with_pil(content, check, ("TIFF",), _one_band)

    return _decoded(file, read)


def decode_any(file: File) -> NDArray[np.generic]:
    """Return the (H, W, C) uint8 or uint16 pixels of a JPEG, PNG, TIFF or GeoTIFF.

    JPEG and 8-bit PNG become R, G, B; a TIFF keeps its bands and its 8 or 16 bits.
    """
    return _decoded(file, lambda content: _tiff(content) if content[:4] in TIFF_MAGIC else _picture(content))


def load(file: File) -> bytes:
    """Return the content of a file, on disk or out of an archive; OSError when it can't be read."""
    if isinstance(file, Blob):
        return file.content
    with open(file, "rb", buffering=0) as opened:  # noqa: PTH123  # a Path takes longer than the read
        if (size := os.fstat(opened.fileno()).st_size) > MOST_FILE_BYTES:
            raise OSError(f"{size:,} bytes are more than any image has")
        return opened.read()


def _rgb(image: Image.Image) -> NDArray[np.uint8]:
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def _one_band(image: Image.Image) -> NDArray[np.uint16]:
    if not image.mode.startswith("I;16"):
        raise ValueError(f"expected one band of 16 bits, found PIL mode {image.mode}")
    return np.asarray(image).astype(np.uint16, copy=False)


def _picture(content: bytes) -> NDArray[np.generic]:
    def pixels(image: Image.Image) -> NDArray[np.generic]:
        return _one_band(image)[..., None] if image.mode.startswith("I;16") else _rgb(image)

    return _with_pil(content, lambda width, height: None, ("JPEG", "PNG"), pixels)


def _tiff(content: bytes) -> NDArray[np.generic]:
    """Bands last, whichever way the file holds them."""
    with _tiff_library().TiffFile(io.BytesIO(content), **OTHER_FILES) as tiff:
        page = tiff.series[0]
        _check_tiff(page, len(content))
        values = page.asarray(maxworkers=1)
        axes = page.axes
    if values.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"expected 8 or 16 bits without sign, found {values.dtype}")
    if values.ndim == 2:
        return np.ascontiguousarray(values[..., None])
    if values.ndim != 3:
        raise ValueError(f"expected one image with its bands, found shape {values.shape}")
    last = axes.endswith("S") or axes[:2] == "YX"
    return np.ascontiguousarray(values if last else np.moveaxis(values, 0, -1))


def _check_tiff(series: Any, packed: int) -> None:
    """Refuse a TIFF that declares more than it may unpack to, or that nothing here unpacks within what it declares."""
    first = series.keyframe
    segments = math.prod(first.chunks) * first.dtype.itemsize * len(first.dataoffsets)
    check_unpacked(max(math.prod(series.shape) * series.dtype.itemsize, segments), packed, MOST_BYTES)
    if len(series.pages) > MOST_PAGES:
        raise ValueError(f"{len(series.pages):,} pages are more than any image has")
    if first.compression not in TIFF_COMPRESSIONS:
        raise ValueError(f"compression {first.compression} is none that is read; pack it with deflate")


@cache
def _tiff_library() -> Any:
    """Return tifffile, whose own decoders would unpack a strip to its end, however much more that is than declared."""
    import tifffile

    if importlib.util.find_spec("imagecodecs") is None:  # which takes no more than it is asked for
        tifffile.TIFF.DECOMPRESSORS._codecs.update({8: _inflated, 32946: _inflated, 34925: _lzma_unpacked})
    return tifffile


def _inflated(data: bytes, /, *, out: int) -> bytes:
    return zlib.decompressobj().decompress(data, max(out, 1))


def _lzma_unpacked(data: bytes, /, *, out: int) -> bytes:
    return lzma.LZMADecompressor(memlimit=MOST_BYTES).decompress(data, max(out, 1))


def _with_pil(
    content: bytes, check: Callable[[int, int], None], formats: tuple[str, ...], pixels: Callable[[Image.Image], Pixels]
) -> Pixels:
    if content[:2] == JPEG_MAGIC and content.count(SCAN) > MOST_SCANS:
        raise ValueError(f"more than {MOST_SCANS} scans")
    with Image.open(io.BytesIO(content), formats=formats) as image:
        check(image.width, image.height)  # known before a pixel is decoded
        if image.width * image.height > FEW_PIXELS:
            check_unpacked(image.width * image.height * _pixel_bytes(image), len(content), MOST_BYTES)
        return pixels(image)


def _pixel_bytes(image: Image.Image) -> int:
    """Return the bytes of a pixel as PIL holds it: three at least, as most become red, green and blue."""
    return max(3, len(image.getbands())) * (4 if image.mode[0] in "IF" else 1)


def _decoded(file: File, read: Callable[[bytes], Pixels]) -> Pixels:
    try:
        return read(load(file))
    except UnidentifiedImageError as error:  # its own message shows a memory address
        raise BadInputError(f"{file}: no image that can be read; {REMEDY}") from error
    except Exception as error:  # a decoder may raise anything for broken bytes
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise BadInputError(f"{file}: can't be decoded ({_one_line(reason)}); {REMEDY}") from error


def _one_line(reason: object) -> str:
    return " ".join(str(reason).split()) or type(reason).__name__
