"""Preview of a map of predicted numbers."""

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colorbar import Colorbar
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from sweep.figures.style import INK, label
from sweep.maps.preview import LONGEST_NAME, NO_DATA, MapPreview, legend, square_kilometres, unmapped
from sweep.maps.windows import Values
from trainables.printing.close_numbers import in_range, range_text

COLOURS = "viridis"
"""Perceptually uniform colour map, also for colour-blind readers."""
DRAWN = (1.0, 99.0)
"""Percentiles of the numbers at the ends of the colour scale, so that a few pixels don't compress all others."""


@dataclass(frozen=True, kw_only=True)
class NumberPreview(MapPreview):
    """Preview of a number map."""

    numbers: Values
    name: str
    """Name of the number and its label set."""
    learned: tuple[float, float] | None
    """Minimum and maximum in training; None if unknown."""

    def title(self) -> str:
        """Return the number's mean and range, and the mapped area."""
        own, area = self.facts["number"], self.facts["valid"]["square_kilometres"]
        over = "" if area is None else f" over {square_kilometres(area)}"
        ends = (own["least"], own["largest"])
        return f"{self.name}: mean {in_range(own['mean'], *ends)}, {range_text(*ends)}{over}"

    def draw_map(self, drawn: Figure, axes: Axes) -> str:
        """Draw the numbers with a colour bar, on which lines mark the range of training."""
        inside = self.numbers[self.mapped]
        low, high = map(float, np.percentile(inside, DRAWN)) if len(inside) else (0.0, 1.0)
        if not high > low:
            low, high = low - 0.5, low + 0.5
        hidden = np.ma.masked_where(~self.mapped, self.numbers)
        shown = axes.imshow(hidden, cmap=COLOURS, vmin=low, vmax=high, interpolation="nearest")
        shown.set_cmap(shown.get_cmap().with_extremes(bad=NO_DATA))
        below, above = bool((inside < low).any()), bool((inside > high).any())
        ends = {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}
        bar = drawn.colorbar(
            shown, ax=axes, shrink=0.8, aspect=28, pad=0.02, anchor=(0.0, 1.0), extend=ends[below, above]
        )
        bar.outline.set_visible(False)
        bar.ax.tick_params(labelsize=9, color=INK, labelcolor=INK)
        bar.set_label(label(self.name, LONGEST_NAME) + self._training_range(bar, low, high), fontsize=9, color=INK)
        legend(axes, unmapped(axes, self))
        return f"predicted {self.name}"

    def _training_range(self, bar: Colorbar, low: float, high: float) -> str:
        """Mark the ends of the training range on the colour bar; return the range as text."""
        if self.learned is None:
            return ""
        lines = [end for end in self.learned if low < end < high]
        outline = withStroke(linewidth=3.5, foreground=INK)  # white alone can't be seen on yellow
        for end in lines:
            bar.ax.axhline(end, color="white", linewidth=1.5, path_effects=[outline])
        marked = ("", " (white line)", " (white lines)")[len(lines)]
        return f"; trained on {range_text(*self.learned)}{marked}"
