"""Figures of one trial: values in, a matplotlib figure out. The values are computed in sweep/statistics/.

Figures are made without pyplot: they can be drawn in any thread and need not be closed.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from sweep.console.formatting import short_percent
from sweep.figures.style import CONTRASTIVE, INK, SUPERVISED, finish, label, panel, text_width, title_lines
from sweep.statistics.confusion import row_normalised
from trainables.metrics import names

if TYPE_CHECKING:
    from trainables.storage.trial_records import EpochRecord

CELL_NUMBERS_UP_TO = 12
"""Maximum number of classes for which a confusion matrix has numbers in its cells."""
ON_PALE = "#222222"
"""Colour of numbers on pale cells, which stay pale on a dark page, where INK becomes white."""
LONGEST_LABEL = 42
LETTER_INCHES, SHORT_NAME = 0.064, 10
"""Width of a letter of a class's name, and the length of a name for which the figures' sizes have room."""
TURNED = 0.71
"""Height over length of a name that is turned by 45 degrees."""
LABELS_UP_TO = 50
"""Maximum number of classes for which an axis has each class's name."""


def accuracy_curves(epochs: Sequence["EpochRecord"]) -> Figure:
    """Draw contrastive and supervised training accuracy, in percent, over the epochs.

    Args:
        epochs: Records of the epochs, in order.
    """
    series = {"contrastive": names.CONTRASTIVE_ACCURACY, "supervised": names.SUPERVISED_ACCURACY}
    figure, axes = _curves(epochs, series, title="Training accuracy", y="accuracy (%)")
    axes.yaxis.set_major_formatter(PercentFormatter(xmax=1.0, symbol=""))
    axes.set_ylim(0.0, 1.02)
    return figure


def loss_curves(epochs: Sequence["EpochRecord"]) -> Figure:
    """Draw contrastive and supervised training loss, in nats, over the epochs.

    Args:
        epochs: Records of the epochs, in order.
    """
    series = {"contrastive": names.CONTRASTIVE_LOSS, "supervised": names.SUPERVISED_LOSS}
    figure, axes = _curves(epochs, series, title="Training loss", y="loss (nats)")
    axes.set_ylim(0.0, 1.05 * axes.dataLim.y1 if np.isfinite(axes.dataLim.y1) else None)
    return figure


def per_class_accuracy(values: Mapping[str, float], *, about: str = "") -> Figure:
    """Draw one bar per class, the highest accuracy first.

    Args:
        values: Accuracy by class, between 0 and 1; classes without images (NaN) are left out.
        about: Description of the evaluated images, for the title.
    """
    known = sorted(((value, name) for name, value in values.items() if value == value), reverse=True)
    accuracies, labels = [value for value, _ in known], [name for _, name in known]
    height = 4.2 + TURNED * _room_of_names(labels)
    figure, axes = panel(width=float(np.clip(1.5 + 0.35 * len(known), 6.5, 16.0)), height=height)
    axes.bar(range(len(known)), accuracies, width=0.8 if len(known) <= LABELS_UP_TO else 1.0, color=CONTRASTIVE)
    mean = float(np.mean(accuracies)) if known else float("nan")
    line = f"dashed: mean of classes {short_percent(mean)} %" if known else ""
    finish(axes, title=title_lines("Accuracy per class", about, line), x="class", y="accuracy (%)")
    axes.yaxis.set_major_formatter(PercentFormatter(xmax=1.0, symbol=""))
    axes.set_ylim(0.0, 1.02)
    axes.margins(x=0.01)
    axes.grid(visible=False, axis="x")
    _name_ticks(axes, labels, axis="x")
    if len(known) <= CELL_NUMBERS_UP_TO:
        for position, value in enumerate(accuracies):
            inside = value > 0.1  # at the foot of its bar, where the line of the mean doesn't cross it
            height, colour = (0.015, "white") if inside else (value + 0.01, INK)
            axes.text(position, height, short_percent(value), ha="center", va="bottom", fontsize=8, color=colour)
    if known:
        axes.axhline(mean, color=SUPERVISED, linewidth=1.2, linestyle="--")
    return figure


def per_label_precision(values: Mapping[str, tuple[float, float]], *, about: str = "") -> Figure:
    """Draw one bar of average precision per label, the highest first, with a mark at the label's share of the images.

    Args:
        values: Average precision and share by label, between 0 and 1; the share is the average precision of random
            guessing. Labels without images (NaN) are left out.
        about: Description of the evaluated images, for the title.
    """
    known = sorted(((value, share, name) for name, (value, share) in values.items() if value == value))
    figure, axes = panel(width=8.0, height=float(np.clip(1.6 + 0.26 * len(known), 3.0, 14.0)))
    places = range(len(known))
    axes.barh(places, [value for value, _, _ in known], height=0.75, color=CONTRASTIVE)
    axes.scatter([share for _, share, _ in known], places, marker="|", s=90, color=SUPERVISED, zorder=3)
    mean = float(np.mean([value for value, _, _ in known])) if known else float("nan")
    line = f"mark: share of the images; mean of labels {short_percent(mean)} %" if known else ""
    title = "\n".join(["Average precision per label", *filter(None, (about, line))])
    finish(axes, title=title, x="average precision (%)", y="")
    axes.xaxis.set_major_formatter(PercentFormatter(xmax=1.0, symbol=""))
    axes.set_xlim(0.0, 1.02)
    axes.margins(y=0.01)
    axes.grid(visible=False, axis="y")
    _name_ticks(axes, [name for _, _, name in known], axis="y")
    return figure


def confusion_matrix(matrix: NDArray[np.int64], class_names: Sequence[str], *, about: str = "") -> Figure:
    """Draw a confusion matrix; each row is normalised to shares of that class's images.

    Args:
        matrix: Numbers of images (K, K), truth by prediction.
        class_names: Names of the K classes.
        about: Description of the evaluated images, for the title.
    """
    shares = row_normalised(matrix)
    count = len(class_names)
    side = float(np.clip(2.0 + 0.5 * count, 5.2, 11.0))
    room = _room_of_names(class_names)
    figure, axes = panel(width=side + 0.9 + room, height=side + TURNED * room)
    # A class without images has no shares: its row stays white.
    image = axes.imshow(np.ma.masked_invalid(shares), cmap="Blues", vmin=0.0, vmax=1.0)
    finish(axes, title=title_lines("Confusion matrix", about), x="predicted class", y="true class")
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    _name_ticks(axes, class_names, axis="x")
    _name_ticks(axes, class_names, axis="y")
    bar = figure.colorbar(image, ax=axes, fraction=0.046, pad=0.03, format=PercentFormatter(xmax=1.0, symbol=""))
    bar.set_label("share of the true class (%)", color=INK)
    bar.outline.set_visible(False)
    if count <= CELL_NUMBERS_UP_TO:
        _write_cells(axes, shares)
    return figure


def _curves(epochs: Sequence["EpochRecord"], series: Mapping[str, str], *, title: str, y: str) -> tuple[Figure, Axes]:
    figure, axes = panel(width=6.5, height=4.2)
    for (name, metric), colour in zip(series.items(), (CONTRASTIVE, SUPERVISED), strict=True):
        points = [(record.epoch, record.metrics[metric]) for record in epochs if metric in record.metrics]
        if epochs and not points:  # a trial that is evaluated on another data set has no simultaneous probe
            continue
        # A single epoch has no line, so its marker must be visible.
        marker = "o" if len(points) <= 20 else None
        axes.plot(*np.array(points).reshape(-1, 2).T, color=colour, label=name, marker=marker, markersize=3.5)
    finish(axes, title=title, x="epoch", y=y)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.legend(frameon=False)
    return figure, axes


def _room_of_names(names: Sequence[str]) -> float:
    """Return the inches that names of classes take beyond those of short names."""
    if len(names) > LABELS_UP_TO:
        return 0.0
    longest = max((text_width(label(name, LONGEST_LABEL)) for name in names), default=0)
    return LETTER_INCHES * max(0, longest - SHORT_NAME)


def _name_ticks(axes: Axes, labels: Sequence[str], *, axis: str) -> None:
    """Put the class names on an axis; if there are too many, the axis shows their number instead."""
    target = axes.xaxis if axis == "x" else axes.yaxis
    if len(labels) > LABELS_UP_TO:
        target.set_ticks([])
        target.set_label_text(f"{target.get_label_text()} ({len(labels)} classes)")
        return
    long = axis == "x" and max(map(len, labels), default=0) > 3
    rotation: dict[str, Any] = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if long else {}
    target.set_ticks(range(len(labels)), [label(name, LONGEST_LABEL) for name in labels], fontsize=8, **rotation)


def _write_cells(axes: Axes, shares: NDArray[np.float64]) -> None:
    for (row, column), share in np.ndenumerate(shares):
        if share > 0.0:
            colour = "white" if share > 0.55 else ON_PALE
            axes.text(column, row, short_percent(share), ha="center", va="center", color=colour, fontsize=8)
