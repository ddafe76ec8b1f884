"""Style shared by all figures: colours, panels, axes."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from textwrap import wrap
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sweep.console.formatting import shortened
from trainables.printing.printable_text import figure_text

CONTRASTIVE, SUPERVISED = "#2b7bca", "#c8621e"
INK, GRID = "#333333", "#dddddd"
COLOURS = (CONTRASTIVE, SUPERVISED, "#2e8b57", "#9166c4", "#94761c", "#c9508a", "#2a8a8f", "#777d86")
"""Colours with a contrast of at least 3 to 1 to white and to the page's dark background."""
REST = "#858b94"
"""Colour of everything that isn't distinguished."""
LINES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (6, 1.5)), (0, (3, 1, 1, 1, 1, 1)), (0, (1, 2)), (0, (8, 2, 2, 2)))
MARKERS = "os^DvPX*"
"""Markers, which distinguish curves and points without colour too."""
WIDTH = 5.2
"""Width in inches of a figure that stands beside another one; it fills a phone's screen."""
LEGEND_LETTERS, LEGEND_MARK, LEGEND_ROW = 74, 9, 0.19
"""Characters per line of a legend, those that an entry's mark and gap take, and a line's height in inches."""


@dataclass(frozen=True)
class SeriesStyle:
    """Style that distinguishes one of several curves or points."""

    colour: str
    line: Any
    marker: str


def look(number: int) -> SeriesStyle:
    """Return the style of a curve or point by its number, from 0 on; the first 64 styles are distinct."""
    other = (number + number // len(COLOURS)) % len(LINES)
    return SeriesStyle(COLOURS[number % len(COLOURS)], LINES[other], MARKERS[other])


def panel(*, width: float, height: float) -> tuple[Figure, Axes]:
    """Return a figure with one pair of axes; width and height are in inches."""
    figure = Figure(figsize=(width, height), dpi=120, layout="constrained")
    return figure, figure.subplots()


def legend_columns(labels: Sequence[str]) -> int:
    """Return the number of legend entries that fit on a line below a figure."""
    return max(1, min(4, LEGEND_LETTERS // (max(map(len, labels), default=0) + LEGEND_MARK)))


def legend_height(labels: Sequence[str], *, title: str = "") -> float:
    """Return the height in inches of a legend below a figure; 0 for a single entry."""
    rows = -(-len(labels) // legend_columns(labels)) + bool(title)
    return 0.15 + LEGEND_ROW * rows if len(labels) > 1 else 0.0


def legend_below(figure: Figure, axes: Axes, *, title: str = "") -> None:
    """Draw the legend below the axes, in as many columns as fit.

    Args:
        figure: Figure of the axes.
        axes: Axes whose labelled curves and points are listed.
        title: Title of the legend; empty: none.
    """
    handles, labels = axes.get_legend_handles_labels()
    if len(labels) > 1 or title:
        look: dict[str, Any] = {"frameon": False, "fontsize": 8.5, "title_fontsize": 8.5, "handlelength": 2.6}
        columns = legend_columns(labels)
        figure.legend(handles, labels, loc="outside lower left", ncols=columns, title=title or None, **look)


def finish(axes: Axes, *, title: str, x: str, y: str) -> None:
    """Set the title and the labels of axes, and the style that all figures share.

    Args:
        axes: Axes to finish.
        title: Title of the axes.
        x: Label of the horizontal axis, with its unit.
        y: Label of the vertical axis, with its unit.
    """
    axes.set_title("\n".join(map(figure_text, title.split("\n"))), loc="left", color=INK, fontsize=12, pad=10)
    axes.set_xlabel(figure_text(x), color=INK)
    axes.set_ylabel(figure_text(y), color=INK)
    axes.tick_params(colors=INK, length=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GRID)
    axes.grid(color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)


def label(text: str, most: int = 80) -> str:
    """Return a foreign name as a figure's label: one line, cut if too long, without formulas."""
    return figure_text(shortened(text, most))


def text_width(text: str) -> int:
    """Return a text's width in characters; those of East Asian scripts are twice as wide."""
    return sum(1 + (unicodedata.east_asian_width(sign) in "WF") for sign in text)


def compact(labels: Sequence[str], most: int, *, longest: int | None = None) -> tuple[list[str], str]:
    """Return short labels, and a heading for all of them, which may be empty.

    If a label has more than `most` characters, the labels of settings keep only their values (128 / 0.5), and the
    shared field names become the heading (batch size / temperature). Labels are cut at `longest`, by default `most`.
    """
    longest = longest or most
    parts = [text.split(", ") for text in labels]
    settings = [own for own in parts if len(own) == max(map(len, parts))]
    if len(settings) < 2 or max(map(len, labels)) <= most:
        return [label(text, longest) for text in labels], ""
    names = [_shared_words(values) for values in zip(*settings, strict=True)]
    if not all(names):
        return [label(text, longest) for text in labels], ""
    values = [" / ".join(map(str.removeprefix, own, (f"{name} " for name in names))) for own in settings]
    short = iter(values)
    shown = [next(short) if own in settings else text for own, text in zip(parts, labels, strict=True)]
    return [label(text, longest) for text in shown], label(" / ".join(names))


def _shared_words(texts: Sequence[str]) -> str:
    """Return the common first words of all texts, except each text's last word."""
    words = zip(*(text.split(" ")[:-1] for text in texts), strict=False)
    return " ".join(own[0] for own in takewhile(lambda own: len(set(own)) == 1, words))


TITLE_LETTERS = 44
"""Characters of a line of a title's details, which fit on the narrowest figure."""


def title_lines(title: str, *details: str) -> str:
    """Return a title whose details, if any, are on the lines below it."""
    below = "\n".join(wrap("; ".join(detail for detail in details if detail), TITLE_LETTERS))
    return f"{title}\n{below}" if below else title
