"""Figures of images and of their positions in feature space: pictures and words in, a matplotlib figure out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from sweep.figures.image_views import Pictures
from sweep.figures.style import COLOURS, INK, finish, legend_below, legend_height, panel
from trainables.printing.printable_text import figure_text

RIGHT, WRONG, REST = "#3a8f5c", "#d9742b", "#b9bdc3"
MAP_COLOURS = (*COLOURS[:7], "#8c6d4f", "#6b8fd6", "#2f3f8f")
"""Colours of the classes on a map; further classes get REST."""
MOST_SIDE = 80
"""Maximum side of a picture in pixels; larger ones are reduced, so that the page stays a small file."""
CELL_INCHES = 1.35
LINE, PITCH = 0.125, 1.06
"""Height of a line of text, and distance between two pictures, in widths of a picture."""
LINE_WIDTH = 20


@dataclass(frozen=True)
class CaptionedImage:
    """Picture with lines of text below."""

    picture: NDArray[np.uint8]
    """Pixels, (H, W, 3)."""
    lines: tuple[str, ...]
    right: bool | None = None
    """Whether the first line is correct, which determines the colour of the bar above it; None for no bar."""


def thumbnails(pictures: Pictures) -> list[NDArray[np.uint8]]:
    """Return pictures as bytes, reduced by averaging to at most 80 pixels per side.

    Args:
        pictures: Images (N, H, W, 3) in [0, 1].

    Returns:
        Images (H, W, 3), uint8.
    """
    found = []
    for picture in np.round(255 * pictures).astype(np.uint8):
        side = max(picture.shape[:2])
        if side > MOST_SIDE:
            height, width = (max(1, round(length * MOST_SIDE / side)) for length in picture.shape[:2])
            picture = np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BOX))
        found.append(picture)
    return found


def picture_grid(cells: Sequence[CaptionedImage], *, columns: int, title: str) -> Figure:
    """Draw a grid of pictures row by row, each with its caption.

    Args:
        cells: Pictures (H, W, 3), uint8, with their captions.
        columns: Number of pictures per row.
        title: Title of the figure.
    """
    lines = max(len(cell.lines) for cell in cells)
    step = 1 + LINE * (lines + 0.8)
    rows = -(-len(cells) // columns)
    figure, axes = panel(width=columns * CELL_INCHES, height=rows * step * CELL_INCHES / PITCH + 0.5)
    for number, cell in enumerate(cells):
        row, column = divmod(number, columns)
        left, top = column * PITCH, row * step
        # Unchanged pixels: the page's viewer enlarges them.
        axes.imshow(cell.picture, extent=(left, left + 1, top + 1, top), interpolation="none")
        if cell.right is not None:  # text in these colours would be too pale to read in one of the page's themes
            colour = RIGHT if cell.right else WRONG
            axes.plot([left, left + 1], [top + 1.0] * 2, color=colour, linewidth=2.5, solid_capstyle="butt")
        for place, text in enumerate(cell.lines):
            axes.text(left, top + 1.03 + LINE * place, figure_text(shortened(text)), va="top", fontsize=7, color=INK)
    finish(axes, title=title, x="", y="")
    axes.set_axis_off()
    axes.set_aspect("equal")
    axes.set_xlim(0, columns * PITCH)
    axes.set_ylim(rows * step, 0)
    return figure


def map_of_classes(points: NDArray[np.floating], groups: Mapping[str, NDArray[np.bool_]], *, title: str) -> Figure:
    """Draw points of a 2D projection, each group in its own colour and above all other points.

    Args:
        points: Positions (n, 2), without unit.
        groups: Members (n,) of each group by its name.
        title: Title of the figure.
    """
    figure, axes = panel(width=6.0, height=4.6 + legend_height([shortened(name, 34) for name in groups]))
    named = np.zeros(len(points), dtype=bool)
    for members in groups.values():
        named |= members
    if not named.all():
        axes.scatter(points[~named, 0], points[~named, 1], s=7, color=REST, label="others", linewidths=0)
    for (name, members), colour in zip(groups.items(), MAP_COLOURS, strict=False):
        axes.scatter(
            points[members, 0],
            points[members, 1],
            s=11,
            color=colour,
            label=figure_text(shortened(name, 34)),
            alpha=0.85,
            linewidths=0,
        )
    finish(axes, title=title, x="", y="")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)
    legend_below(figure, axes)
    return figure


def shortened(text: str, most: int = LINE_WIDTH) -> str:
    """Return a text cut to `most` characters."""
    return text if len(text) <= most else f"{text[: most - 1].rstrip(' ,')}…"
