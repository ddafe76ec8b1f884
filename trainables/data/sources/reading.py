"""What a person says of files that don't say it themselves, what was found in a file, and what isn't read."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLING = ("nearest", "bilinear", "bicubic")
"""Rules by which smaller pages of a TIFF are enlarged to its largest."""
MOST_BANDS = 13
"""Of an image: as many as Sentinel-2 has."""


@dataclass(frozen=True, slots=True)
class ReadingOptions:
    """How files are read that can be read in more than one way; the default refuses such files."""

    value_range: tuple[float, float] | None = None
    """The values that become 0 and 65535, of floats and of integers with sign or with 32 bits."""
    resample: str = ""
    """One of RESAMPLING; empty: pages of several sizes are refused."""

    @classmethod
    def read(cls, value_range: str, resample: str) -> "ReadingOptions":
        """Return the reading of what `written_range` and a store's options have."""
        low, _, high = value_range.partition(",")
        return cls((float(low), float(high)) if high else None, resample)

    @property
    def written_range(self) -> str:
        """The range as LOW,HIGH; empty where none is stated."""
        return "" if self.value_range is None else "{!r},{!r}".format(*self.value_range)


AS_READ = ReadingOptions()


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """An image (H, W, C) of uint8 or uint16, and what was decided on the way, for a person."""

    image: NDArray[np.generic]
    facts: tuple[str, ...]


class NotReadError(ValueError):
    """File of a kind that isn't read; `option` names an option of `sweep.data prepare` that helps, or is empty."""

    def __init__(self, reason: str, option: str = "") -> None:
        super().__init__(reason)
        self.option = option


def upright(image: NDArray[np.generic], orientation: int) -> NDArray[np.generic]:
    """Return (H, W, ...) pixels turned and mirrored as the orientation tag of EXIF and TIFF says (1: as they are)."""
    if orientation in (5, 6, 7, 8):
        image = image.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    return np.ascontiguousarray(image)
