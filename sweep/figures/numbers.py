"""Predicted against true numbers, and residuals by value: values in, a matplotlib figure out."""

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from sweep.figures.style import CONTRASTIVE, INK, SUPERVISED, finish, label, title_lines
from trainables.evaluation.number_metrics import number_metrics
from trainables.metrics import names

BINS = 8
"""Maximum number of bins with similar numbers of images, by true value, whose mean residual is drawn."""
LONGEST_NAME = 40
FEWEST = 3
"""Mean number of images per bin from which there are several bins."""


def number_figure(
    truth: NDArray[np.float64], predicted: NDArray[np.float64], *, name: str = "number", about: str = ""
) -> Figure:
    """Draw predictions over the truth with the identity line, and residuals over the true value.

    Mean and standard deviation of the residuals (prediction minus truth) are drawn for bins of similar numbers of
    images.

    Args:
        truth: True numbers (n,).
        predicted: Predicted numbers (n,), in the same unit.
        name: Name of the number, for the axes.
        about: Description of the evaluated images, for the title.
    """
    figure = Figure(figsize=(10.4, 4.2), dpi=120, layout="constrained")
    left, right = figure.subplots(1, 2)
    found = number_metrics(predicted, truth)
    told = (
        f"R2 {found[names.R2]:.3f}, RMSE {found[names.RMSE]:.3g}, MAE {found[names.MAE]:.3g}, rank correlation "
        f"{found[names.SPEARMAN]:.3f}, {len(truth):,} images"
    )
    left.scatter(truth, predicted, s=9, alpha=0.5, color=CONTRASTIVE, linewidths=0)
    ends = [min(truth.min(), predicted.min()), max(truth.max(), predicted.max())]
    left.plot(ends, ends, color=INK, linewidth=1, linestyle="--")
    finish(
        left,
        title=title_lines("Predictions beside the truth", about, told),
        x=f"true {label(name, LONGEST_NAME)}",
        y="predicted",
    )
    right.scatter(truth, predicted - truth, s=9, alpha=0.5, color=CONTRASTIVE, linewidths=0)
    right.axhline(0.0, color=INK, linewidth=1, linestyle="--")
    groups = _groups(truth)
    right.errorbar(
        [truth[own].mean() for own in groups],
        [(predicted - truth)[own].mean() for own in groups],
        yerr=[(predicted - truth)[own].std() for own in groups],
        color=SUPERVISED,
        marker="s",
        capsize=3,
    )
    line = "orange: mean and deviation of groups of similar size"
    finish(
        right,
        title=title_lines("Residuals by value", line),
        x=f"true {label(name, LONGEST_NAME)}",
        y="predicted - true",
    )
    return figure


def _groups(truth: NDArray[np.float64]) -> list[NDArray[np.intp]]:
    """Return the images of each bin; images of the same true value are in the same one."""
    count = max(1, min(BINS, len(truth) // FEWEST))
    ends = np.unique(np.quantile(truth, np.arange(1, count) / count))
    bins = np.searchsorted(ends, truth, side="left")
    return [np.flatnonzero(bins == number) for number in np.unique(bins)]
