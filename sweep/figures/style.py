"""Style shared by all figures: colours, panels, axes."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sweep.console.formatting import shortened
from trainables.printable_text import figure_text

CONTRASTIVE, SUPERVISED = "#1f5fa8", "#d9742b"
INK, GRID = "#333333", "#dddddd"
COLOURS = (CONTRASTIVE, SUPERVISED, "#3a8f5c", "#8a5fb0", "#b0903a", "#c0567a", "#4aa3a3", "#7a7a7a")


def panel(*, width: float, height: float) -> tuple[Figure, Axes]:
    """Return a figure of so many inches with one pair of axes."""
    figure = Figure(figsize=(width, height), dpi=120, layout="constrained")
    return figure, figure.subplots()


def finish(axes: Axes, *, title: str, x: str, y: str) -> None:
    """Give axes their names and the look that all figures share."""
    axes.set_title("\n".join(map(figure_text, title.split("\n"))), loc="left", color=INK, fontsize=12, pad=10)
    axes.set_xlabel(figure_text(x), color=INK)
    axes.set_ylabel(figure_text(y), color=INK)
    axes.tick_params(colors=INK, length=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GRID)
    axes.grid(color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)


def label(text: str, most: int = 80) -> str:
    """Return a name that others gave as a label of a figure: one line, cut where it is too long, without formulas."""
    return figure_text(shortened(text, most))


def title_lines(title: str, *details: str) -> str:
    """Return a title with what there is of details in a line below it."""
    below = "; ".join(detail for detail in details if detail)
    return f"{title}\n{below}" if below else title
