"""Map of the chips in a pool: their locations, coloured by split, and by date and cloud cover where known."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.dates import DateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import Formatter, MaxNLocator
from numpy.typing import NDArray

from sweep.figures.style import label
from trainables.data.chip import Chip
from trainables.data.spatial_splits import unwrapped
from trainables.data.store import ImageStore
from trainables.errors import BadInputError

SPLIT_COLOURS = {"train": "#0072b2", "validation": "#e69f00", "test": "#d55e00"}
"""Colours from Okabe and Ito's palette, which colour-blind people can distinguish."""
DATES = DateFormatter("%Y-%m-%d")
ONE_VALUE, UNKNOWN = "#21918c", "#cccccc"
LONGER_SIDE, MARGIN = 3.6, 0.9
"""Longer side of a panel, and the space of its labels and colour bar, in inches."""
FLATTEST = 4.0
"""Largest width of a panel over its height."""
MADE_BY = "sweep.data show"


POLAR = 85.0
"""Mean latitude in degrees beyond which a map shows degrees from the pole, since meridians converge there."""


def draw_chip_map(store: ImageStore, path: Path) -> bool:
    """Draw the chip locations of a store, coloured by split, by date and by cloud cover.

    Args:
        store: Store of N chips with longitude and latitude in degrees.
        path: PNG file to write.

    Returns:
        Whether any chip has coordinates; otherwise no file is written.

    Raises:
        BadInputError: The file can't be written.
    """
    rows = np.arange(len(store))
    chips = store.chips(rows) or []
    known = np.array([chip.longitude is not None for chip in chips], dtype=bool)
    if not known.any():
        return False
    placed = [chip for chip, own in zip(chips, known, strict=True) if own]
    places, stretch = _places(placed), _stretch(placed)
    dates = np.array([_day(chip.date) for chip in placed])
    cloud = np.array([np.nan if chip.cloud is None else 100 * chip.cloud for chip in placed])
    shown = [values for values in (dates, cloud) if np.isfinite(values).any()]
    figure = Figure(figsize=_size(places, stretch, 1 + len(shown)), layout="constrained")
    axes = figure.subplots(1, 1 + len(shown), sharex=True, sharey=True, squeeze=False)[0]
    figure.suptitle(_heading(store, placed, dates, cloud), fontsize=10)
    _by_split(axes[0], store, known, places)
    for axis, values in zip(axes[1:], shown, strict=True):
        if values is dates:
            _by_value(axis, places, values, "date", "latest", DATES)
        else:
            _by_value(axis, places, values, "cloud (%)", "highest")
    for axis in axes:
        axis.set_aspect(stretch, adjustable="box")
        axis.set_xlabel("degrees from the pole" if _polar(placed) else "longitude (degrees)", fontsize=8)
        axis.ticklabel_format(useOffset=False)
        axis.xaxis.set_major_locator(MaxNLocator(4))
        axis.tick_params(labelsize=7)
    axes[0].set_ylabel("degrees from the pole" if _polar(placed) else "latitude (degrees)", fontsize=8)
    try:
        FigureCanvasAgg(figure).print_png(str(path), metadata={"Software": MADE_BY})
    except OSError as error:
        raise BadInputError(f"--output {path}: can't be written ({error.strerror or error})") from error
    return True


def _heading(store: ImageStore, placed: list[Chip], *values: NDArray[np.float64]) -> str:
    """Return the figure's title, which names what is known of no chip."""
    unknown = [name for name, own in zip(("date", "cloud"), values, strict=True) if not np.isfinite(own).any()]
    return f"{label(store.info.name)}: {len(placed):,} chips" + f"; not known: {' and '.join(unknown)}" * bool(unknown)


def _by_split(axis: Axes, store: ImageStore, known: NDArray[np.bool_], places: NDArray[np.float64]) -> None:
    numbers = np.cumsum(known) - 1
    for split, colour in SPLIT_COLOURS.items():
        if split in store.info.splits:
            rows = store.split(split)
            across, up = places[:, numbers[rows[known[rows]]]]
            axis.scatter(across, up, s=12, marker="s", color=colour, label=f"{split}: {len(across):,}", linewidths=0)
    legend: dict[str, Any] = {"frameon": False, "markerscale": 2.0, "handletextpad": 0.1, "columnspacing": 1.0}
    handles, labels = axis.get_legend_handles_labels()
    axis.figure.legend(handles, labels, fontsize=8, loc="outside lower left", ncols=3, **legend)
    axis.set_title("split", fontsize=9)


def _by_value(
    axis: Axes,
    places: NDArray[np.float64],
    values: NDArray[np.float64],
    title: str,
    last: str,
    form: Formatter | None = None,
) -> None:
    """Colour chips by a value; of several chips at one place the one with the largest value is drawn `last`."""
    known = np.isfinite(values)
    across, down = places
    draw = partial(axis.scatter, s=12, marker="s", linewidths=0)
    draw(across[~known], down[~known], color=UNKNOWN)
    own = np.unique(values[known])
    if len(own) == 1:  # a colour bar would have colours of no chip
        draw(across[known], down[known], color=ONE_VALUE)
        title = f"{title}: {form(own[0]) if form else f'{own[0]:.3g}'}"
    elif len(own):
        if _several(places[:, known], values[known]):
            title = f"{title}, the {last} of each place"
        order = np.flatnonzero(known)[np.argsort(values[known], kind="stable")]
        shown = draw(across[order], down[order], c=values[order], cmap="viridis")
        axis.figure.colorbar(shown, ax=axis, shrink=0.8, format=form).ax.tick_params(labelsize=7)
    axis.set_title(title if known.all() else f"{title}; grey: not known", fontsize=9)


def _several(places: NDArray[np.float64], values: NDArray[np.float64]) -> bool:
    """Whether any place has chips of different values."""
    found = np.unique(np.vstack([places, values]), axis=1)
    return len(np.unique(found[:2], axis=1).T) < len(found.T)


def _stretch(chips: list[Chip]) -> float:
    """Return the length of a degree of latitude in degrees of longitude."""
    if _polar(chips):
        return 1.0
    return 1.0 / max(float(np.cos(np.radians(np.mean([chip.latitude or 0.0 for chip in chips])))), 0.05)


def _size(places: NDArray[np.float64], stretch: float, panels: int) -> tuple[float, float]:
    """Return the figure's width and height in inches, of panels in the shape of the chips' ground."""
    across, up = np.ptp(places, axis=1) * (1.0, stretch)
    ratio = float(np.clip((across + 1e-6) / (up + 1e-6), 0.4, FLATTEST))
    return panels * (LONGER_SIDE * min(1.0, ratio) + MARGIN), LONGER_SIDE * min(1.0, 1.0 / ratio) + MARGIN + 0.4


def _places(chips: list[Chip]) -> NDArray[np.float64]:
    """Return the coordinates to draw, (2, N): longitude and latitude, or degrees from the pole."""
    own = np.array([(chip.longitude, chip.latitude) for chip in chips], dtype=np.float64).reshape(-1, 2).T
    if not _polar(chips):
        return np.array([unwrapped(own[0]), own[1]])
    angle, away = np.radians(own[0]), 90.0 - np.abs(own[1])
    return np.array([away * np.sin(angle), away * np.cos(angle)])


def _polar(chips: list[Chip]) -> bool:
    return bool(chips) and abs(float(np.mean([chip.latitude or 0.0 for chip in chips]))) > POLAR


def _day(date: str) -> float:
    """Return a date as days since 1970, matplotlib's unit of dates."""
    return float(np.datetime64(date).astype(int)) if date else float("nan")
