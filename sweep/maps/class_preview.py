"""Picture of a map of classes: the most probable class, or the probability of the positive ones."""

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, LinearSegmentedColormap, ListedColormap, TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Patch
from numpy.typing import NDArray

from sweep.figures.images import MAP_COLOURS
from sweep.figures.style import CONTRASTIVE, INK, SUPERVISED, label
from sweep.maps.map_classes import NODATA
from sweep.maps.preview import (
    LONGEST_NAME,
    NO_DATA,
    MapPreview,
    legend,
    legend_columns,
    square_kilometres,
    unmapped,
)
from sweep.maps.windows import Values

OTHERS = "#4d4d4d"
"""Colour of the classes beyond those of MAP_COLOURS, by area; a colour for two classes would be misread."""


@dataclass(frozen=True, kw_only=True)
class ClassPreview(MapPreview):
    """Preview of a class map: probability and class of each pixel."""

    probability: Values
    classes: NDArray[np.uint8]
    names: tuple[str, ...]
    positive: str
    """Class whose probability is drawn; empty: the most probable class is drawn."""
    threshold: float | None

    def title(self) -> str:
        """Return the mapped area, or the area of the positive class."""
        valid = self.facts["valid"]["square_kilometres"]
        if not self.positive:
            return "Map" if valid is None else f"Map of {square_kilometres(valid)}"
        own = self.facts["classes"][self.positive]
        share = f"{100 * own['share']:.1f} %"
        name = self.positive[:1].upper() + self.positive[1:]
        if valid is None:
            return f"{name}: {share} of the valid pixels"
        return f"{name}: {square_kilometres(own['square_kilometres'])} of {square_kilometres(valid)} ({share})"

    @property
    def bar_inches(self) -> float:
        """Width of the colour bar, which only a probability has."""
        return super().bar_inches if self.positive else 0.0

    @property
    def legend_rows(self) -> int:
        """Rows of the legend, without which the map has no height to spare."""
        if self.positive:
            return 1
        patches = _patches(self)
        return -(-(len(patches) + 2) // legend_columns(str(patch.get_label()) for patch in patches))

    def draw_map(self, drawn: Figure, axes: Axes) -> str:
        """Draw the probability with its colour bar, or the classes with their legend."""
        if not self.positive:
            _classes(axes, self)
            return "most probable class"
        _colour_bar(drawn, axes, _probability(axes, self), self)
        return f"probability of {self.positive}"


def _probability(axes: Axes, preview: ClassPreview) -> AxesImage:
    """Draw the probability; the colour map is white at the threshold, so that its two halves are the classes."""
    colours = LinearSegmentedColormap.from_list("map", [CONTRASTIVE, "#ffffff", SUPERVISED]).with_extremes(bad=NO_DATA)
    assert preview.threshold is not None
    norm = TwoSlopeNorm(preview.threshold, 0.0, 1.0)
    hidden = np.ma.masked_equal(preview.probability, NODATA)
    return axes.imshow(hidden, cmap=colours, norm=norm, interpolation="nearest")


def _colour_bar(drawn: Figure, axes: Axes, shown: AxesImage, preview: ClassPreview) -> None:
    assert preview.threshold is not None
    bar = drawn.colorbar(shown, ax=axes, shrink=0.8, aspect=28, pad=0.02, anchor=(0.0, 1.0))
    middle = preview.threshold
    ticks = [0.0, middle / 2, middle, (1.0 + middle) / 2, 1.0]
    bar.set_ticks(ticks, labels=[f"{tick:.3g}" for tick in ticks])
    bar.ax.axhline(preview.threshold, color=INK, linewidth=1.5)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=9, color=INK, labelcolor=INK)
    bar.set_label(f"line: {label(preview.positive, LONGEST_NAME)} from {preview.threshold:g} on", fontsize=9, color=INK)
    legend(axes, unmapped(axes, preview))


def _classes(axes: Axes, preview: ClassPreview) -> None:
    palette = _palette(preview)
    colours = ListedColormap(palette).with_extremes(bad=NO_DATA)
    hidden = np.ma.masked_equal(preview.classes, NODATA)
    norm = BoundaryNorm(np.arange(len(palette) + 1) - 0.5, len(palette)) if len(palette) > 1 else None
    axes.imshow(hidden, cmap=colours, norm=norm, interpolation="nearest")
    legend(axes, [*_patches(preview), *unmapped(axes, preview)])


def _order(preview: ClassPreview) -> list[int]:
    """Return the classes by area, the largest first."""
    own = preview.facts["classes"]
    return sorted(range(len(preview.names)), key=lambda number: -own[preview.names[number]]["pixels"])


def _palette(preview: ClassPreview) -> list[str]:
    """Return a colour for each class."""
    colours = dict(zip(_order(preview), MAP_COLOURS, strict=False))
    return [colours.get(number, OTHERS) for number in range(len(preview.names))]


def _patches(preview: ClassPreview) -> list[Patch]:
    """Return the legend's entries: mapped classes by area, the others together."""
    own, palette = preview.facts["classes"], _palette(preview)
    mapped = [number for number in _order(preview) if own[preview.names[number]]["pixels"]]
    shares = {number: 100 * own[preview.names[number]]["share"] for number in mapped}
    listed, others = mapped[: len(MAP_COLOURS)], mapped[len(MAP_COLOURS) :]
    patches = [
        Patch(color=palette[number], label=f"{label(preview.names[number], LONGEST_NAME)} {shares[number]:.1f} %")
        for number in listed
    ]
    if others:
        together = sum(shares[number] for number in others)
        patches.append(Patch(color=OTHERS, label=f"{len(others)} more classes {together:.1f} %"))
    return patches
