"""Options for chips: size, stride, number per scene, and limits of cloud, shadow and snow cover."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Any

from trainables.data.chip import COVERS, Chip

BUFFERED = ("block", "tile", "longitude")
"""Split rules by ground, which leave out chips between the splits."""


@dataclass(frozen=True, slots=True)
class ChipChoice:
    """Chip options; sizes are in pixels of the finest band, and cover limits are shares of a chip's pixels.

    Limits apply only to chips whose cover is known.
    """

    chip_size: int = 120
    stride: int | None = None
    """Distance between neighbouring chips in pixels; None for the chip size, without overlap."""
    chips: int | None = None
    """Largest number of chips per scene, those with the smallest hash of their place; None for all."""
    max_cloud: float = 1.0
    max_shadow: float = 1.0
    max_snow: float = 1.0
    max_nodata: float = 0.0
    nodata: float | None = None
    """Value of pixels without data; None: the files' own, 0 for products and folders of unsigned bands."""
    block_size: float | None = None
    """Side of a block for the split rule `block`, in units of the CRS (metres in UTM); None for ten chip sides."""
    buffer: float = 0.0
    """Minimum gap between chips of two splits for the split rules BUFFERED, in units of the CRS."""

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> "ChipChoice":
        """Return the options, with defaults for those not given."""
        return cls(**{name: given[name] for name in NAMES if name in given})

    @property
    def step(self) -> int:
        """Stride in pixels."""
        return self.stride or self.chip_size

    def refusal(self, chip: Chip) -> str:
        """Return why a chip is left out; empty if it is kept."""
        for cover, share in zip(COVERS, (chip.cloud, chip.shadow, chip.snow, chip.nodata), strict=True):
            if share is not None and (reason := self.too_much(cover, share)):
                return reason
        return ""

    def too_much(self, cover: str, share: float) -> str:
        """Return why a chip with such a share of a cover is left out; empty if it is kept."""
        most: float = getattr(self, f"max_{cover}")
        return f"chips with more than {_percent(most)} {cover}" if share > most else ""

    def described(self) -> dict[str, str | int | float]:
        """Return the options as in a store's metadata."""
        limits = {f"most {cover}": _percent(getattr(self, f"max_{cover}")) for cover in COVERS}
        chosen = {"chip size": self.chip_size, "stride": self.step, "chips a scene": self.chips, **limits}
        spatial = {"nodata value": self.nodata, "block size": self.block_size, "buffer": self.buffer or None}
        return {name: value for name, value in {**chosen, **spatial}.items() if value is not None}


def _percent(share: float) -> str:
    """Return a share as per cent with all of its digits, since stores of other limits have other chips."""
    return f"{(Decimal(str(share)) * 100).normalize():f}%"


NAMES = tuple(field.name for field in fields(ChipChoice))


def chip_faults(given: Mapping[str, Any], *, scenes: bool) -> list[str]:
    """Return the problems of the chip options, one line each."""
    own = {name: given[name] for name in NAMES if name in given}
    if not scenes:
        return [f"--{name.replace('_', '-')}: is for scenes; leave it out" for name in own]
    faults = [
        f"--{name.replace('_', '-')} must be >= 1, got {own[name]}"
        for name in ("stride", "chips")
        if own.get(name, 1) < 1
    ]
    if own.get("chip_size", 4) < 4:
        faults.append(f"--chip-size must be >= 4 pixels, got {own['chip_size']}")
    for name, value in own.items():
        if name.startswith("max_") and not 0.0 <= value <= 1.0:
            faults.append(f"--{name.replace('_', '-')} must be from 0 to 1, got {value:g}")
    if not own.get("block_size", 1.0) > 0.0 or not math.isfinite(own.get("block_size", 1.0)):
        faults.append(f"--block-size must be > 0, got {own['block_size']:g}")
    if not 0.0 <= own.get("buffer", 0.0) < math.inf:
        faults.append(f"--buffer must be a number >= 0, got {own['buffer']:g}")
    rule = given.get("splits", "block")
    if "block_size" in own and rule != "block":
        faults.append(f"--block-size: is for --splits block; leave it out with --splits {rule}")
    if "buffer" in own and rule not in BUFFERED:
        faults.append(f"--buffer: is for --splits block, tile or longitude; leave it out with --splits {rule}")
    if not math.isfinite(own.get("nodata", 0.0)):
        faults.append(f"--nodata {own['nodata']:g}: such values are always without data; leave it out")
    if "image_size" in given:
        faults.append("--image-size: chips keep their pixels; say with --chip-size how large they are")
    return faults
