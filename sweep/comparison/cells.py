"""Cells of a comparison table: one metric of one setting, with its intervals over seeds and over images."""

from dataclasses import dataclass

from sweep.comparison.table import ComparisonRow
from sweep.comparison.trial_outputs import TrialOutputs
from sweep.statistics.metric_intervals import sampling_interval, too_few
from sweep.statistics.share_intervals import ConfidenceInterval


@dataclass(frozen=True)
class ComparisonCell:
    """One metric of one setting, as a cell of the table."""

    mean: float | None
    """Mean over the finished seeds."""
    seeds: ConfidenceInterval | None
    """95 % interval of the mean over seeds."""
    images: ConfidenceInterval | None
    """95 % interval over the evaluated images."""
    published: float | None
    too_few: str = ""
    """Reason why there is no interval over the images, such as too few positives; empty if there is one."""


class ComparisonCells:
    """Cells of a table, each computed once; without `outputs` they have no intervals over the images."""

    def __init__(self, outputs: TrialOutputs | None = None) -> None:
        self._outputs = outputs
        self._known: dict[tuple[int, str], ComparisonCell] = {}

    def of(self, row: ComparisonRow, metric: str, *, over_images: bool = True) -> ComparisonCell:
        """Return a metric of a setting; `over_images` adds the interval over the images, which reads all outputs."""
        key = id(row), metric
        if key not in self._known:
            outputs = self._outputs if over_images and row.is_defined(metric) else None
            said = [] if outputs is None else outputs.of_row(row, metric)
            images, missing = sampling_interval(metric, said), too_few(metric, said)
            published = row.published.get(metric)
            self._known[key] = ComparisonCell(row.mean(metric), row.interval(metric), images, published, missing)
        return self._known[key]
