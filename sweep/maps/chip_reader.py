"""Reader of consecutive chips of a scene: a strip of several chips is read at once, in the order of the file."""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sweep.maps.chip_grid import true_pixels
from sweep.maps.open_scene import enter_scene
from sweep.maps.raster_file import closed_raster
from sweep.maps.scene import Scene
from sweep.maps.scene_values import unstated_mark
from sweep.maps.tiff_blocks import TiffBlocks
from sweep.maps.windows import Mask
from trainables.data.preparing.linear_scale import FLOATS
from trainables.data.sources.chip_choice import ChipChoice
from trainables.data.sources.source import LabelledImage

BLACK = "pixels that are 0 in all bands, of scenes that state no nodata value; if they lack data, add --nodata 0"
MARK = "values of {0:.9g}, which the scenes don't call nodata; if they lack data, add --nodata={0:.9g}"
Strip = tuple[int, int]
"""First column and length of a strip, in pixels."""


@dataclass(frozen=True, slots=True)
class ChipReader:
    """Reader of the chips of one scene; picklable."""

    path: str
    bands: tuple[str, ...]
    channels: int
    choice: ChipChoice
    rule: str
    """Resampling rule for coarser bands."""
    unmarked: bool = False
    """Whether the scene has no mark of pixels without data, neither a value nor a mask."""
    listing: str = ""
    """Token of the listing that found the scene: a later one may find another file at the same path."""

    def __call__(self, row: int, column: int, strip: Strip, *, count: bool, mark: bool = False) -> LabelledImage:
        """Return a chip from its strip, which is read once for all of its chips.

        Args:
            row: First row of the chip.
            column: First column of the chip.
            strip: First column and length of the strip.
            count: Whether the image gets its share of nodata, and is refused beyond the limit.
            mark: Whether the image gets its pixels without data.
        """
        side = self.choice.chip_size
        pixels, nodata = _last.chip(self, row, column, strip, count=count)
        facts = self._doubts(pixels)
        if nodata is None:
            empty = _last.lacking(self, (row, side), (column, side)) if mark else None
            return LabelledImage(pixels, None, facts, lacking=empty)
        share = nodata / side**2
        return LabelledImage(pixels, None, facts, nodata=share, refused=self.choice.too_much("nodata", share))

    def _doubts(self, pixels: NDArray[np.generic]) -> tuple[str, ...]:
        """Return notes on pixels that may lack data, though the scene doesn't say so."""
        black = (BLACK,) if self.unmarked and _has_black(pixels) else ()
        mark = unstated_mark(pixels) if pixels.dtype == FLOATS else None
        return black if mark is None else (*black, MARK.format(mark))


def _has_black(pixels: NDArray[np.generic]) -> bool:
    """Return whether a pixel is 0 in all bands; the first band alone mostly shows that none is."""
    return not pixels[..., 0].all() and not pixels.any(axis=-1).all()


class _OpenScene:
    """Scene and strip that a process read last, kept open because its chips are consecutive."""

    def __init__(self) -> None:
        self._key: tuple[str, tuple[str, ...], float | None, str] | None = None
        self._stack = ExitStack()
        self._scene: Scene | None = None
        self._blocks: TiffBlocks | None = None
        self._strip_key: tuple[ChipReader, int, Strip, bool] | None = None
        self._strip: tuple[NDArray[np.generic], NDArray[np.int64] | None] | None = None

    def chip(
        self, reader: ChipReader, row: int, column: int, strip: Strip, *, count: bool
    ) -> tuple[NDArray[np.generic], int | None]:
        """Return a chip's values (side, side, C) and, with `count`, its number of nodata pixels."""
        side, start, scene = reader.choice.chip_size, column - strip[0], self._of(reader)
        pixels = None if self._blocks is None else self._blocks.window((row, side), (column, side))
        if pixels is not None:
            return pixels, scene.nodata_pixels(pixels) if count else None
        values, lacking = self._strip_of(reader, scene, row, strip, count=count)
        nodata = None if lacking is None else int(lacking[start + side] - lacking[start])
        return values[:, start : start + side], nodata

    def _strip_of(
        self, reader: ChipReader, scene: Scene, row: int, strip: Strip, *, count: bool
    ) -> tuple[NDArray[np.generic], NDArray[np.int64] | None]:
        """Return values (side, length, C) of a strip and, with `count`, its nodata pixels up to each column."""
        key = (reader, row, strip, count)
        if self._strip is None or self._strip_key != key:
            down = (row, reader.choice.chip_size)
            with closed_raster(scene.row_cache_bytes(down[1])):
                values = scene.window(down, strip, reader.rule)
                self._strip = values, true_pixels(scene.lacking(down, strip)) if count else None
            self._strip_key = key
        return self._strip

    def lacking(self, reader: ChipReader, down: Strip, across: Strip) -> Mask:
        """Return which pixels (H, W) of a window, given by its first pixel and length per direction, lack data."""
        with closed_raster():
            return self._of(reader).lacking(down, across)

    def _of(self, reader: ChipReader) -> Scene:
        key = reader.path, reader.bands, reader.choice.nodata, reader.listing
        if self._scene is None or self._key != key:
            self._stack.close()
            path, nodata = Path(reader.path), reader.choice.nodata
            with closed_raster():
                self._scene = enter_scene(self._stack, path, reader.bands, reader.channels, nodata=nodata)
            self._blocks = TiffBlocks.open(self._stack, path, self._scene) if self._scene.shows_nodata else None
            self._key = key
        return self._scene


_last = _OpenScene()
