"""Image files to arrays, with an error that names the file; one read a file, since small files cost mostly that."""

import os
from collections.abc import Callable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import UnidentifiedImageError

from trainables.data.sources.file_kinds import refuse_kind
from trainables.data.sources.picture_file import one_band, read_picture, rgb, with_pil
from trainables.data.sources.reading import AS_READ, Decoded, NotReadError, Reading
from trainables.data.sources.source import Blob, File, Picture
from trainables.data.sources.tiff_file import MAGIC, read_tiff
from trainables.errors import BadInputError

Result = TypeVar("Result")
REMEDY = "fetch the file again, or remove it"
MOST_FILE_BYTES = 2**30
"""Maximum size of an image file on disk; no image that a model trains on is larger."""
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".gif", ".bmp", ".avif")
"""Suffixes of files that are read as images."""
OTHER_IMAGES = (
    *(".jfif", ".jpe", ".jp2", ".j2k", ".jxl", ".heic", ".heif", ".hif", ".svg", ".psd", ".tga", ".ico", ".eps"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".exr", ".hdr", ".dds", ".dng", ".nef", ".cr2", ".cr3", ".arw", ".raf", ".rw2"),
    *(".npy", ".npz", ".h5", ".hdf5", ".nc", ".fits", ".dcm", ".nii", ".mat", ".vrt", ".img", ".bip", ".bil", ".pdf"),
)
"""Suffixes of image formats that aren't read; such files are reported as left out."""


class UndecodableError(BadInputError):
    """Image that can't be read; `option` names an option of `sweep.data prepare` that helps, or is empty."""

    def __init__(self, message: str, option: str = "") -> None:
        super().__init__(message)
        self.option = option


def decode_rgb(file: File, size: int | None = None) -> NDArray[np.uint8]:
    """Return the (H, W, 3) uint8 pixels of a JPEG or PNG; greyscale is repeated into R, G, B, opacity is dropped.

    With `size` the image has to be (size, size).
    """

    def check(width: int, height: int) -> None:
        if size is not None and (width, height) != (size, size):
            raise ValueError(f"expected {size} x {size} pixels, found {width} x {height}")

    return _decoded(file, lambda content: with_pil(content, check, ("JPEG", "PNG"), rgb))


def decode_band(file: File, *, largest: int) -> NDArray[np.uint16]:
    """Return the (H, W) uint16 values of a single-band 16-bit TIFF whose sides divide `largest`.

    PIL gives the values that tifffile gives, and faster: 2,300 against 1,700 bands a second on one core.
    """

    def read(content: bytes) -> NDArray[np.uint16]:
        def check(width: int, height: int) -> None:
            if width != height or not width or largest % width:
                raise ValueError(f"expected a square whose side divides {largest}, found {width} x {height} pixels")

        return with_pil(content, check, ("TIFF",), one_band)

    return _decoded(file, read)


def decode_any(file: File, reading: Reading = AS_READ) -> NDArray[np.generic]:
    """Return the (H, W, C) uint8 or uint16 pixels of an image of any kind that is read (docs/data.md)."""
    return decode_image(file, reading).image


def decode_image(file: File, reading: Reading = AS_READ) -> Decoded:
    """Return an image of any kind that is read, and what was decided: bands, bits, orientation.

    Raises UndecodableError with one line that names the file, and the kind where it isn't supported.
    """
    return _decoded(
        file, lambda content: read_tiff(content, reading) if content[:4] in MAGIC else read_picture(content)
    )


def decode_picture(file: File, labels: tuple[str, ...] | None, reading: Reading = AS_READ) -> Picture:
    """Return an image as `decode_image` reads it, with its labels; None where it is unlabelled."""
    decoded = decode_image(file, reading)
    return Picture(decoded.image, labels, decoded.facts)


def load(file: File) -> bytes:
    """Return the content of a file, on disk or out of an archive; OSError when it can't be read."""
    if isinstance(file, Blob):
        return file.content
    with open(file, "rb", buffering=0) as opened:  # noqa: PTH123  # a Path takes longer than the read
        if (size := os.fstat(opened.fileno()).st_size) > MOST_FILE_BYTES:
            raise OSError(f"{size:,} bytes are more than any image has")
        return opened.read()


def _decoded(file: File, read: Callable[[bytes], Result]) -> Result:
    content = b""
    try:
        content = load(file)
        return read(content)
    except NotReadError as error:
        raise UndecodableError(f"{file}: {_one_line(error)}", error.option) from error
    except Exception as error:  # a decoder may raise anything for broken bytes
        raise _fault(file, content, error) from error


def _fault(file: File, content: bytes, error: Exception) -> UndecodableError:
    """Return what is wrong: by name where it is a kind that isn't read, else that the bytes are broken."""
    if not isinstance(error, OSError) or isinstance(error, UnidentifiedImageError):
        try:
            refuse_kind(content)
        except NotReadError as kind:
            return UndecodableError(f"{file}: {kind}", kind.option)
    if isinstance(error, UnidentifiedImageError):  # its own message shows a memory address
        return UndecodableError(f"{file}: no image that can be read; {REMEDY}")
    reason = error.strerror if isinstance(error, OSError) and error.strerror else error
    return UndecodableError(f"{file}: can't be decoded ({_one_line(reason)}); {REMEDY}")


def _one_line(reason: object) -> str:
    return " ".join(str(reason).split()) or type(reason).__name__
