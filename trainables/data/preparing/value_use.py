"""Use of the pixels' range by values on a stated scale: their ends, and how many lie beyond it."""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainables.data.preparing.linear_scale import LinearScale


@dataclass
class ValueUse:
    """Ends of the values and of their pixels over some images; without values, the ends are infinite."""

    least: float = math.inf
    largest: float = -math.inf
    darkest: float = math.inf
    brightest: float = -math.inf
    values: int = 0
    cut: Counter[str] = field(default_factory=Counter)
    """Number of values beyond the range of the scale, in words by the end at which they are cut off."""

    def add(self, values: NDArray[Any], pixels: NDArray[Any], scale: LinearScale) -> None:
        """Add an image: its values (H, W, C) float32, and the pixels that they became."""
        known = ~np.isnan(values)
        if known.any():
            own, made = values[known], pixels[known]
            ends = float(own.min()), float(own.max()), float(made.min()), float(made.max())
            self.merge(ValueUse(*ends, own.size, scale.cut(values)))

    def merge(self, other: "ValueUse") -> None:
        """Add the images of another part."""
        self.least, self.largest = min(self.least, other.least), max(self.largest, other.largest)
        self.darkest, self.brightest = min(self.darkest, other.darkest), max(self.brightest, other.brightest)
        self.values += other.values
        self.cut.update(other.cut)

    def notes(self, dtype: str) -> Iterator[str]:
        """Yield the ends in words, by which a person sees whether the scale is right, and the shares that were cut."""
        if self.values:
            ends = f"values from {self.least:g} to {self.largest:g} became {self.darkest:g} to {self.brightest:g}"
            yield f"{ends}, of 0 to {np.iinfo(dtype).max}"
        for fact, count in sorted(self.cut.items()):
            if count:
                yield f"{count:,} {fact}, {100.0 * count / self.values:.2g} % of all"
