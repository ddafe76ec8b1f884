"""Exploration of many settings, such as a search's: scales of the axes, pairs of axes, history; pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sweep.comparison.axis_order import axis_order, is_number
from sweep.comparison.wording import spelled

FEWEST = 10
"""Minimum number of settings for the charts of an exploration."""
FEWEST_APART = 4
"""The same for settings that no pivot table shows, as those of a search, whose values occur once each."""
LOG_RATIO = 20.0
"""Ratio of the largest to the smallest value from which an axis is logarithmic."""


@dataclass(frozen=True)
class ExploredSetting:
    """One setting with its values of the axes and its result."""

    label: str
    values: Mapping[str, Any]
    """Values by axis."""
    result: float
    interval: tuple[float, float] | None
    """95 % interval over seeds, or over the images if there is only one seed."""
    order: int
    """Position among the sweep's trials."""


@dataclass(frozen=True)
class AxisScale:
    """Scale of an axis: maps its values to positions from 0 to 1."""

    name: str
    values: tuple[Any, ...]
    """In their natural order (axis_order)."""

    @classmethod
    def of(cls, name: str, settings: Sequence[ExploredSetting]) -> "AxisScale":
        """Return the scale of an axis over settings."""
        found = {spelled(one.values[name], name): one.values[name] for one in settings}.values()
        return cls(name, tuple(sorted(found, key=lambda value: axis_order(value, name))))

    @cached_property
    def is_numeric(self) -> bool:
        """Whether values are numbers."""
        return all(map(is_number, self.values))

    @cached_property
    def is_logarithmic(self) -> bool:
        """Whether the scale is logarithmic, since the values span a large ratio."""
        return self.is_numeric and self.values[0] > 0 and self.values[-1] / self.values[0] >= LOG_RATIO

    def place(self, value: Any) -> float:
        """Return the position of a value between the first (0) and the last (1)."""
        if not self.is_numeric:
            return [spelled(one, self.name) for one in self.values].index(spelled(value, self.name)) / max(
                1, len(self.values) - 1
            )
        low, high, own = (self._measured(one) for one in (self.values[0], self.values[-1], value))
        return (own - low) / (high - low) if high > low else 0.5

    def _measured(self, value: float) -> float:
        return math.log(value) if self.is_logarithmic else float(value)


def best_so_far(settings: Sequence[ExploredSetting], direction: str) -> list[float]:
    """Return the best result after each setting, in their order."""
    found: list[float] = []
    better = max if direction == "max" else min
    for one in settings:
        found.append(better(found[-1], one.result) if found else one.result)
    return found


def best_of_pairs(settings: Sequence[ExploredSetting], x: str, y: str, direction: str) -> list[ExploredSetting]:
    """Return the best setting at each pair of values of two axes."""
    sign = 1 if direction == "max" else -1
    found: dict[tuple[str, str], ExploredSetting] = {}
    for one in settings:
        key = spelled(one.values[x], x), spelled(one.values[y], y)
        if key not in found or sign * (one.result - found[key].result) > 0:
            found[key] = one
    return list(found.values())
