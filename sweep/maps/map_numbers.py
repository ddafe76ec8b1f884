"""Maps of numbers: one predicted number per pixel, and their summary; pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from sweep.maps.ground_resolution import GroundResolution, area
from sweep.maps.windows import Mask, Values
from trainables.errors import BadInputError
from trainables.printing.close_numbers import range_text

ROUNDED = 1e-3
"""Share of the learned range that float32 may round; beyond it, a map has float64 numbers."""


@dataclass(frozen=True)
class MapNumbers:
    """Layer of a map with one band of predicted numbers."""

    name: str
    """Name of the number and its label set."""
    learned: tuple[float, float] | None
    """Minimum and maximum in training; None if unknown."""

    @property
    def dtype(self) -> str:
        """Type of the map's band: float32, unless it would round numbers by a visible part of their range."""
        if self.learned is None:
            return "float32"
        low, high = self.learned
        rounding = float(np.finfo(np.float32).eps) * max(abs(low), abs(high))
        return "float64" if rounding > ROUNDED * (high - low) else "float32"

    @property
    def nodata(self) -> float:
        """Value of pixels without data: NaN, since every number can be a prediction."""
        return float("nan")

    @property
    def channels(self) -> int:
        """Number of blended values per pixel."""
        return 1

    @property
    def descriptions(self) -> tuple[str, ...]:
        """Description of the band."""
        return (f"predicted {self.name}",)

    @property
    def tags(self) -> dict[str, str]:
        """Tags of the file."""
        return {"number": self.name}

    @property
    def band_tags(self) -> dict[int, dict[str, str]]:
        """Tags of the band."""
        return {}

    @property
    def facts(self) -> dict[str, Any]:
        """Facts on the number for the JSON file."""
        return {}

    def scores(self, outputs: Values) -> Values:
        """Return the scores to blend: the model's numbers (N, 1)."""
        return outputs

    def bands(self, means: Values) -> Values:
        """Return the map's band (1, H, W): the blended numbers, unchanged."""
        return means

    def summary(self, ground: GroundResolution) -> "NumberSummary":
        """Return a summary without pixels yet."""
        return NumberSummary(self, ground)

    def notes(self, described: Mapping[str, Any]) -> list[str]:
        """Return a note on the share of pixels outside the range of training."""
        own = described["number"]
        if not own["extrapolated"]:
            return []
        low, high = own["learned"]
        share = f"{100 * own['extrapolated']:.2g} % of the mapped pixels"
        return [f"{share} are beyond the values that the model learned from ({range_text(low, high)}): extrapolated"]


class NumberSummary:
    """Mean, standard deviation and range of the mapped numbers, weighted by area, and the extrapolated share."""

    def __init__(self, layer: MapNumbers, ground: GroundResolution) -> None:
        self._layer, self._ground = layer, ground
        self._row = self.pixels = self._beyond = 0
        self._amount = self._sum = self._squares = 0.0
        self._origin: float | None = None
        """First number; sums are of differences from it, for numerical precision."""
        self._ends = (np.inf, -np.inf)

    def add(self, bands: Values, valid: Mask) -> None:
        """Add the next rows (1, H, W), from the top down."""
        numbers = bands[0][valid].astype(np.float64)
        rows = slice(self._row, self._row + len(valid))
        self._row = rows.stop
        if not numbers.size:
            return
        self._origin = float(numbers[0]) if self._origin is None else self._origin
        each = np.ones(len(valid)) if self._ground.row_hectares is None else self._ground.row_hectares[rows]
        weights = np.broadcast_to(each[:, None], valid.shape)[valid]
        above = numbers - self._origin
        self.pixels += numbers.size
        self._amount += float(weights.sum())
        self._sum += float(weights @ above)
        self._squares += float(weights @ above**2)
        self._ends = (min(self._ends[0], float(numbers.min())), max(self._ends[1], float(numbers.max())))
        if self._layer.learned is not None:
            low, high = self._layer.learned
            self._beyond += int(((numbers < low) | (numbers > high)).sum())

    def described(self) -> dict[str, Any]:
        """Return the mapped area, the number's name and values, and its range in training."""
        amount, learned = max(self._amount, 1e-300), self._layer.learned
        mean = self._sum / amount
        number = {
            "name": self._layer.name,
            "mean": mean + (self._origin or 0.0),
            "deviation": float(np.sqrt(max(0.0, self._squares / amount - mean**2))),
            "least": self._ends[0],
            "largest": self._ends[1],
            "learned": None if learned is None else list(learned),
            "extrapolated": None if learned is None else self._beyond / max(self.pixels, 1),
        }
        hectares = None if self._ground.row_hectares is None else self._amount
        return {"valid": {"pixels": self.pixels, **area(hectares)}, "number": number}


def map_numbers(number: Mapping[str, Any], title: str, given: Mapping[str, Any]) -> MapNumbers:
    """Return the layer of a model that predicts a number.

    Args:
        number: The number in model.json.
        title: Its name and label set.
        given: Options by name with their values; those of class maps are refused.

    Raises:
        BadInputError: An option of class maps is given.
    """
    for option, value in given.items():
        if value is not None and value is not False and value != ():
            raise BadInputError(
                f"--{option}: is for a map of classes, and this model predicts a number, {title}; leave it out"
            )
    ends = (number.get("least"), number.get("largest"))
    return MapNumbers(title, None if ends[0] is None or ends[1] is None else (float(ends[0]), float(ends[1])))
