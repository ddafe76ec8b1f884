"""Map preview as PNG: scene and map side by side, with legend and scale bar."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray
from scipy.ndimage import binary_opening

from sweep.figures.fonts import fit_for_png
from sweep.figures.style import INK, label, text_width
from sweep.maps.windows import Mask

DPI = 100
PANEL_INCHES = 6.6
"""Length of a panel's longer side, in inches."""
NARROWEST_INCHES = 7.0
"""Minimum width of the figure in inches, for its title."""
NO_DATA, LEFT_OUT = "#c9c9c9", "#858585"
"""Greys of pixels without data, and of those that the scene's classification (SCL) leaves out."""
STRETCH = (2.0, 98.0)
"""Percentiles of the scene's values that become black and white."""
NICE = (1, 2, 5)
LEGEND_COLUMNS, LEGEND_ROW_INCHES = 2, 0.22
LONGEST_BESIDE = 34
"""Maximum width of an entry of a legend, in characters, for two entries a line."""
LONGEST_NAME = 40


@dataclass(frozen=True, kw_only=True)
class MapPreview:
    """Values of a preview; all arrays have the same (H, W). Subclasses add and draw the values of the map."""

    scene: NDArray[np.generic]
    """Scene values (H, W, 3)."""
    valid: Mask
    mapped: Mask
    """Pixels with a value on the map."""
    metres: float | None
    """Ground width of a preview pixel in metres; None if unknown."""
    facts: Mapping[str, Any]
    """Content of the map's JSON file."""

    @property
    def left_out(self) -> Mask:
        """Pixels with data that the scene's classification leaves out; lines of one pixel are edges of the data."""
        shares = self.facts.get("scl") or {}
        covered = any(share > 0 for name, share in shares.items() if name != "nodata")
        hidden: Mask = binary_opening(self.valid & ~self.mapped & covered, np.ones((2, 2)))
        return hidden

    @property
    def bar_inches(self) -> float:
        """Width of the colour bar; without one, wider panels would take the legend's height."""
        return 1.6

    @property
    def legend_rows(self) -> int:
        """Rows of the legend below the map."""
        return 1

    def title(self) -> str:
        """Return the picture's title."""
        raise NotImplementedError

    def draw_map(self, drawn: Figure, axes: Axes) -> str:
        """Draw the map, with its legend or colour bar; return the title of its axes."""
        raise NotImplementedError


def draw(preview: MapPreview, path: Path) -> None:
    """Draw a preview and write it as PNG.

    Args:
        preview: Scene and map, reduced for display.
        path: File to write.
    """
    drawn = figure(preview)
    fit_for_png(drawn)
    FigureCanvasAgg(drawn).print_png(str(path))


def figure(preview: MapPreview) -> Figure:
    """Return the preview as a figure of at most 1,600 pixels in width.

    Args:
        preview: Scene and map, reduced for display.
    """
    height, width = preview.valid.shape
    longer = max(height, width)
    panel = (PANEL_INCHES * width / longer, PANEL_INCHES * height / longer)
    rest = 1.3 + LEGEND_ROW_INCHES * preview.legend_rows
    drawn = Figure(
        figsize=(np.clip(2 * panel[0] + 0.3 + preview.bar_inches, NARROWEST_INCHES, 16.0), panel[1] + rest),
        dpi=DPI,
        layout="constrained",
    )
    left, right = drawn.subplots(1, 2)
    drawn.suptitle(label(preview.title(), 120), fontsize=13, color=INK)
    left.imshow(_picture(preview), interpolation="nearest")
    _finish(left, "scene")
    _finish(right, preview.draw_map(drawn, right))
    for axes in (left, right):
        _scale(axes, preview)
    drawn.supxlabel(label(_source(preview), 120), fontsize=9, color=INK)
    return drawn


def square_kilometres(value: float) -> str:
    """Return an area as text."""
    return f"{value:,.0f} km²" if value >= 100 else f"{value:.3g} km²"


def _source(preview: MapPreview) -> str:
    facts = preview.facts
    place = facts["crs"] or "no coordinates"
    return f"{Path(facts['scene']).name}, {place}; model {facts['model']['trial']}"


def _picture(preview: MapPreview) -> NDArray[np.float64]:
    """Return the scene with stretched contrast, (H, W, 3) in [0, 1], with nodata in grey."""
    values = preview.scene.astype(np.float64)
    inside = values[preview.valid & preview.mapped]  # clouds would leave the rest black
    low, high = np.percentile(inside, STRETCH, axis=0) if len(inside) else (0.0, 1.0)
    picture: NDArray[np.float64] = np.clip((values - low) / np.maximum(high - low, 1e-9), 0.0, 1.0)
    picture[~preview.valid] = [int(NO_DATA[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    return picture


def unmapped(axes: Axes, preview: MapPreview) -> list[Patch]:
    """Colour pixels that the scene's classification leaves out; return the legend's entries of both greys."""
    hidden = np.ma.masked_equal(preview.left_out, False)
    if hidden.count():
        axes.imshow(hidden, cmap=ListedColormap([LEFT_OUT]), interpolation="nearest")
    greys = {
        NO_DATA: ("no data", ~preview.mapped & ~preview.left_out),
        LEFT_OUT: ("cloud, shadow or snow", preview.left_out),
    }
    return [Patch(color=grey, label=name) for grey, (name, pixels) in greys.items() if pixels.any()]


def legend_columns(labels: Iterable[str]) -> int:
    """Return the number of a legend's columns that fit below a map."""
    return LEGEND_COLUMNS if max(map(text_width, labels), default=0) <= LONGEST_BESIDE else 1


def legend(axes: Axes, patches: list[Patch]) -> None:
    """Draw a legend below a map, if it has entries."""
    if patches:
        axes.legend(
            handles=patches,
            loc="upper left",
            bbox_to_anchor=(0.0, -0.01),
            ncols=legend_columns(str(patch.get_label()) for patch in patches),
            fontsize=9,
            frameon=False,
            labelcolor=INK,
        )


def _scale(axes: Axes, preview: MapPreview) -> None:
    """Draw a scale bar of a round length, about a fifth of the width, in the lower right corner."""
    if preview.metres is None:
        return
    height, width = preview.valid.shape
    metres = round_length(0.25 * width * preview.metres)
    length, margin = metres / preview.metres, 0.03 * max(width, height)
    right, bottom = width - margin, height - margin
    text = f"{metres / 1000:g} km" if metres >= 1000 else f"{metres:g} m"
    axes.plot([right - length, right], [bottom, bottom], color="white", linewidth=7, solid_capstyle="butt")
    axes.plot([right - length, right], [bottom, bottom], color=INK, linewidth=3, solid_capstyle="butt")
    box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.5}
    axes.text(
        right - length / 2, bottom - 0.7 * margin, text, ha="center", va="bottom", fontsize=9, color=INK, bbox=box
    )


def round_length(most: float) -> float:
    """Return the largest number up to `most` that is 1, 2 or 5 times a power of ten."""
    power = 10.0 ** np.floor(np.log10(most))
    return float(max(factor for factor in NICE if factor * power <= most) * power)


def _finish(axes: Axes, title: str) -> None:
    axes.set_title(label(title), fontsize=11, color=INK)
    axes.set_anchor("N")  # what height is left is the legend's, below
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
