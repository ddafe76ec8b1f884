"""Decoding of image files to arrays; each file is read once, and errors name the file."""

import os
from collections.abc import Callable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import UnidentifiedImageError

from trainables.data.sources.file_kinds import refuse_kind
from trainables.data.sources.picture_file import one_band, read_picture, rgb, with_pil
from trainables.data.sources.reading import AS_READ, DecodedImage, NotReadError, ReadingOptions
from trainables.data.sources.source import ArchiveFile, File, LabelledImage
from trainables.data.sources.tiff_file import MAGIC, read_tiff
from trainables.errors import BadInputError
from trainables.files.unpacked_limit import unpacked_limit

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
    """Decode a JPEG or PNG to RGB pixels (H, W, 3) uint8.

    Greyscale is repeated over the three channels, and alpha is dropped. If `size` is given, the image must be
    (size, size).
    """

    def check(width: int, height: int) -> None:
        if size is not None and (width, height) != (size, size):
            raise ValueError(f"expected {size} x {size} pixels, found {width} x {height}")

    return explained(file, lambda content: with_pil(content, check, ("JPEG", "PNG"), rgb))


def decode_band(file: File, *, largest: int) -> NDArray[np.uint16]:
    """Decode a single-band 16-bit TIFF, whose sides divide `largest`, to values (H, W) uint16.

    PIL returns the same values as tifffile and is faster: 2,300 against 1,700 bands per second on one core.
    """

    def read(content: bytes) -> NDArray[np.uint16]:
        def check(width: int, height: int) -> None:
            if width != height or not width or largest % width:
                raise ValueError(f"expected a square whose side divides {largest}, found {width} x {height} pixels")

        return with_pil(content, check, ("TIFF",), one_band)

    return explained(file, read)


def decode_any(file: File, reading: ReadingOptions = AS_READ) -> NDArray[np.generic]:
    """Decode an image of any supported format (docs/files_read.md) to pixels (H, W, C), uint8 or uint16."""
    return decode_image(file, reading).image


def decode_image(file: File, reading: ReadingOptions = AS_READ) -> DecodedImage:
    """Decode an image of any supported format; the result lists decisions on bands, bit depth and orientation.

    Raises:
        UndecodableError: The file is damaged or of an unsupported format, which the message names.
    """
    return explained(
        file, lambda content: read_tiff(content, reading) if content[:4] in MAGIC else _picture(content, reading)
    )


def _picture(content: bytes, reading: ReadingOptions) -> DecodedImage:
    if reading.value_range is not None:
        raise NotReadError(
            f"no TIFF, and a range of {reading.written_range} is stated, which is for floats and integers with sign",
            "leave --value-range out",
        )
    return read_picture(content)


def decode_picture(file: File, labels: tuple[str, ...] | None, reading: ReadingOptions = AS_READ) -> LabelledImage:
    """Decode an image as `decode_image` does and attach its labels; None for an unlabelled image."""
    decoded = decode_image(file, reading)
    return LabelledImage(decoded.image, labels, decoded.facts)


def load(file: File) -> bytes:
    """Return the content of a file on disk or in an archive; OSError if it can't be read."""
    if isinstance(file, ArchiveFile):
        return file.content
    opened = os.open(file, os.O_RDONLY)  # creating a Path or a file object takes longer than the read
    try:
        if (size := os.fstat(opened).st_size) > MOST_FILE_BYTES:
            raise OSError(f"{size:,} bytes are more than any image has")
        return os.read(opened, size)
    finally:
        os.close(opened)


def explained(file: File, read: Callable[[bytes], Result]) -> Result:
    """Return the result of `read` for a file's content; UndecodableError with the file's name if it fails."""
    content = b""
    try:
        content = load(file)
        return read(content)
    except NotReadError as error:
        raise UndecodableError(f"{file}: {_one_line(error)}", error.option) from error
    except Exception as error:  # decoders raise many types of exceptions for damaged files
        unpacked_limit(0)  # a wrong SWEEP_UNPACKED_LIMIT is no fault of the file
        raise _fault(file, content, error) from error


def _fault(file: File, content: bytes, error: Exception) -> UndecodableError:
    """Return the error of an unsupported format by name, else that of a damaged file."""
    if not isinstance(error, OSError) or isinstance(error, UnidentifiedImageError):
        try:
            refuse_kind(content)
        except NotReadError as kind:
            return UndecodableError(f"{file}: {kind}", kind.option)
    if isinstance(error, UnidentifiedImageError):  # its own message shows a memory address
        return UndecodableError(f"{file}: can't be read as an image; {REMEDY}")
    reason = error.strerror if isinstance(error, OSError) and error.strerror else error
    return UndecodableError(f"{file}: can't be decoded ({_one_line(reason)}); {REMEDY}")


def _one_line(reason: object) -> str:
    return " ".join(str(reason).split()) or type(reason).__name__
