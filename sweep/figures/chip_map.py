"""Map of the chips in a pool: their locations, coloured by split, by date and by cloud cover."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.dates import DateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import Formatter
from numpy.typing import NDArray

from sweep.figures.style import label
from trainables.data.chip import Chip
from trainables.data.store import ImageStore
from trainables.errors import BadInputError

SPLIT_COLOURS = {"train": "#0072b2", "validation": "#e69f00", "test": "#d55e00"}
"""Colours from Okabe and Ito's palette, which colour-blind people can distinguish."""
DATES = DateFormatter("%Y-%m-%d")
PANEL_INCHES = 4.2
MADE_BY = "sweep.data show"


def draw_chip_map(store: ImageStore, path: Path) -> bool:
    """Draw the chip locations of a store, coloured by split, by date and by cloud cover.

    Args:
        store: Store of N chips with longitude and latitude in degrees.
        path: PNG file to write.

    Returns:
        Whether any chip has coordinates; otherwise no file is written.
    """
    rows = np.arange(len(store))
    chips = store.chips(rows) or []
    known = np.array([chip.longitude is not None for chip in chips], dtype=bool)
    if not known.any():
        return False
    placed = [chip for chip, own in zip(chips, known, strict=True) if own]
    figure = Figure(figsize=(3 * PANEL_INCHES, PANEL_INCHES), layout="constrained")
    axes = figure.subplots(1, 3, sharex=True, sharey=True)
    figure.suptitle(f"{label(store.info.name)}: {len(placed):,} chips", fontsize=10)
    _by_split(axes[0], store, chips)
    _by_value(axes[1], placed, np.array([_day(chip.date) for chip in placed]), "date", DATES)
    _by_value(axes[2], placed, np.array([np.nan if c.cloud is None else 100 * c.cloud for c in placed]), "cloud (%)")
    latitude = np.radians(np.mean([chip.latitude for chip in placed if chip.latitude is not None]))
    for axis in axes:
        axis.set_aspect(1.0 / max(np.cos(latitude), 0.05), adjustable="box")
        axis.set_xlabel("longitude (degrees)", fontsize=8)
        axis.tick_params(labelsize=7)
    axes[0].set_ylabel("latitude (degrees)", fontsize=8)
    try:
        FigureCanvasAgg(figure).print_png(str(path), metadata={"Software": MADE_BY})
    except OSError as error:
        raise BadInputError(f"--output {path}: can't be written ({error.strerror or error})") from error
    return True


def _by_split(axis: Axes, store: ImageStore, chips: list[Chip]) -> None:
    for split, colour in SPLIT_COLOURS.items():
        if split in store.info.splits:
            own = [chips[row] for row in store.split(split) if chips[row].longitude is not None]
            across, down = _places(own)
            axis.scatter(across, down, s=12, marker="s", color=colour, label=f"{split}: {len(own):,}", linewidths=0)
    axis.legend(fontsize=7, loc="upper left", bbox_to_anchor=(0.0, -0.2), ncols=3)
    axis.set_title("split", fontsize=9)


def _by_value(
    axis: Axes, chips: list[Chip], values: NDArray[np.float64], title: str, form: Formatter | None = None
) -> None:
    axis.set_title(title, fontsize=9)
    known = np.isfinite(values)
    across, down = _places(chips)
    axis.scatter(across[~known], down[~known], s=12, marker="s", color="#cccccc", linewidths=0)
    if known.any():
        order = np.flatnonzero(known)[np.argsort(values[known], kind="stable")]
        shown = axis.scatter(
            across[order], down[order], s=12, marker="s", c=values[order], cmap="viridis", linewidths=0
        )
        bar = axis.figure.colorbar(shown, ax=axis, shrink=0.8, format=form)
        if values[order[0]] == values[order[-1]]:  # otherwise the bar includes years, or negative shares, of no chip
            bar.set_ticks([values[order[0]]])
        bar.ax.tick_params(labelsize=7)
    if not known.all():
        axis.set_title(f"{title}; grey: not known", fontsize=9)


def _places(chips: list[Chip]) -> NDArray[np.float64]:
    return np.array([(chip.longitude, chip.latitude) for chip in chips], dtype=np.float64).reshape(-1, 2).T


def _day(date: str) -> float:
    """Return a date as days since 1970, matplotlib's unit of dates."""
    return float(np.datetime64(date).astype(int)) if date else float("nan")
