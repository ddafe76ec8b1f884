"""Decoding of one chunk of images, whose converted pixels are written directly into the store's file."""

import hashlib
import os
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from trainables.data.chip import Chip
from trainables.data.preparing.leaks import perceptual_hashes
from trainables.data.preparing.pixels import FirstImage, PixelConversion
from trainables.data.preparing.value_use import ValueUse
from trainables.data.sources.decode import UndecodableError
from trainables.data.sources.source import LabelledImage
from trainables.data.stable_hash import SALTS, stable_fraction
from trainables.data.store_format import CHECKSUM_BYTES
from trainables.errors import BadInputError

PIECE_BYTES = 2**18
"""Size of a write in bytes of pixels, small enough for a core's cache."""


@dataclass(frozen=True)
class ImageLayout:
    """Shape and type that all stored images have."""

    height: int
    width: int
    channels: int
    dtype: str
    """uint8 or uint16."""

    @classmethod
    def of(cls, image: NDArray[np.generic]) -> "ImageLayout":
        """Return the layout of one (H, W, C) image."""
        height, width, channels = image.shape
        return cls(height, width, channels, str(image.dtype))

    @property
    def row_bytes(self) -> int:
        """Bytes of one image."""
        return self.height * self.width * self.channels * np.dtype(self.dtype).itemsize

    def __str__(self) -> str:
        return f"{self.height} x {self.width} pixels, {self.channels} channels, {self.dtype}"


@dataclass(frozen=True)
class DecodeChunk:
    """Chunk of images for one worker; their pixels are written to `path` from row `first` on."""

    path: str
    first: int
    images: list[tuple[str, Callable[[], LabelledImage]]]
    """Name and reading function of each image: nothing else of an entry is copied to the worker."""
    layout: ImageLayout
    conversion: PixelConversion
    reference: FirstImage


@dataclass(frozen=True)
class ChunkResult:
    """Result of one chunk: first row, and entry number, labels, checksum and hash of each image written."""

    first: int
    kept: list[int]
    labels: list[tuple[str, ...] | None]
    checksums: list[bytes]
    hashes: list[int]
    fractions: dict[str, list[float]]
    faults: list[tuple[str, str]]
    """Fault of each undecodable image, with the option that handles it (may be empty)."""
    facts: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    use: ValueUse = field(default_factory=ValueUse)
    chips: dict[int, Chip] = field(default_factory=dict)
    """Places that the files state, by entry number."""
    nodata: list[float | None] = field(default_factory=list)


def convert_chunk(task: DecodeChunk) -> ChunkResult:
    """Decode a chunk in pieces that stay in the processor's cache until they are written."""
    layout = task.layout
    size = max(1, PIECE_BYTES // layout.row_bytes)
    pixels = np.empty((size, layout.height, layout.width, layout.channels), dtype=layout.dtype)
    done = ChunkResult(task.first, [], [], [], [], {}, [])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # odd metadata; broken pixels raise
        for start in range(0, len(task.images), size):
            first = task.first + len(done.kept)
            count = _decode_piece(task, range(start, min(start + size, len(task.images))), pixels, done)
            piece = pixels[:count]
            _write(task.path, first * layout.row_bytes, piece)
            done.checksums.extend(hashlib.sha256(image.data).digest()[:CHECKSUM_BYTES] for image in piece)
            done.hashes.extend(perceptual_hashes(piece).tolist() if count else ())
    names = [task.images[number][0] for number in done.kept]
    done.fractions.update({salt: stable_fraction(names, salt=salt).tolist() for salt in SALTS})
    return done


def _decode_piece(task: DecodeChunk, numbers: range, pixels: NDArray[np.generic], done: ChunkResult) -> int:
    """Decode some images of a chunk into `pixels`, record them in `done`, and return the number decoded."""
    count = 0
    for number in numbers:
        name, read = task.images[number]
        try:
            picture = read()
            image = None if picture.refused else _converted(name, picture.image, task)
        except BadInputError as error:
            done.faults.append((str(error), error.option if isinstance(error, UndecodableError) else ""))
            continue
        if image is None:
            done.left_out[picture.refused] += 1
        elif picture.labels != ():
            pixels[count] = image
            count += 1
            done.kept.append(number)
            done.labels.append(picture.labels)
            done.nodata.append(picture.nodata)
            if picture.chip is not None:
                done.chips[number] = picture.chip
            done.facts.update(_facts(picture, task.conversion))
            if task.conversion.scale is not None:
                done.use.add(picture.image, image, task.conversion.scale)
    return count


def _converted(name: str, decoded: NDArray[np.generic], task: DecodeChunk) -> NDArray[np.generic]:
    layout = task.layout
    task.reference.check(name, decoded)
    image = task.conversion(decoded)
    # Assignment would broadcast a smaller image without a word.
    if image.shape != (layout.height, layout.width, layout.channels) or image.dtype != layout.dtype:
        raise UndecodableError(
            f"{name}: expected {layout}, found {ImageLayout.of(image)}; remove it",
            "choose a size for all with --image-size",
        )
    return image


def _facts(picture: LabelledImage, conversion: PixelConversion) -> tuple[str, ...]:
    """Return the decoder's facts on an image, and whether it is enlarged."""
    size = conversion.size
    if size is None or min(picture.image.shape[:2]) >= size:
        return picture.facts
    return (*picture.facts, f"smaller than {size} px, and enlarged")


def _write(path: str, offset: int, pixels: NDArray[np.generic]) -> None:
    content = pixels.reshape(-1).view(np.uint8).data
    file = os.open(path, os.O_WRONLY)
    try:
        while content:
            written = os.pwrite(file, content, offset)
            content, offset = content[written:], offset + written
    finally:
        os.close(file)
