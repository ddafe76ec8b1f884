"""Options for ambiguous files, the decoded image, and the error for unsupported files."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLING = ("nearest", "bilinear", "bicubic")
"""Rules that enlarge smaller pages of a TIFF to the largest page."""
MOST_BANDS = 13
"""Maximum number of bands of an image, as many as Sentinel-2 has."""


@dataclass(frozen=True, slots=True)
class ReadingOptions:
    """Options for files that can be read in more than one way; by default such files are refused."""

    value_range: tuple[float, float] | None = None
    """Values (low, high) that become 0 and 65535, for floats, signed integers and 32-bit integers."""
    resample: str = ""
    """One of RESAMPLING; empty: TIFFs with pages of several sizes are refused."""

    @classmethod
    def read(cls, value_range: str, resample: str) -> "ReadingOptions":
        """Return the options from the texts in a store's info."""
        low, _, high = value_range.partition(",")
        return cls((float(low), float(high)) if high else None, resample)

    @property
    def written_range(self) -> str:
        """Value range as LOW,HIGH; empty if none is set."""
        return "" if self.value_range is None else "{!r},{!r}".format(*self.value_range)


AS_READ = ReadingOptions()


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """Decoded image (H, W, C), uint8 or uint16, and the decoder's decisions in words."""

    image: NDArray[np.generic]
    facts: tuple[str, ...]


class NotReadError(ValueError):
    """Unsupported file; `option` is the option of `sweep.data prepare` that helps, or empty."""

    def __init__(self, reason: str, option: str = "") -> None:
        super().__init__(reason)
        self.option = option


def upright(image: NDArray[np.generic], orientation: int) -> NDArray[np.generic]:
    """Return pixels (H, W, ...) rotated and mirrored by the orientation tag of EXIF and TIFF (1: unchanged)."""
    if orientation in (5, 6, 7, 8):
        image = image.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    return np.ascontiguousarray(image)
