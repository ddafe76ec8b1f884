"""Comparison of the best setting with the second, the untrained encoder and the other baselines."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sweep.comparison.cells import ComparisonCell, ComparisonCells
from sweep.comparison.table import BASELINE_LABELS, ComparisonRow, ComparisonTable
from sweep.comparison.trial_outputs import TrialOutputs
from sweep.comparison.wording import method_of
from sweep.statistics.image_metrics import PairedDifference, paired
from trainables import metric_names as names

if TYPE_CHECKING:
    from sweep.records.sweep_record import SweepRecord

UNTRAINED = BASELINE_LABELS["untrained"]


@dataclass(frozen=True)
class Standing:
    """The numbers of an answer: of the best setting and the baselines, by the metrics that it is about."""

    best: Mapping[str, ComparisonCell]
    """The objective first, then the same metric on test, then sensitivity and specificity there, where they exist."""
    baselines: Mapping[str, Mapping[str, ComparisonCell]]
    """By the baseline in words."""
    second: PairedDifference | None = None
    """The best setting against the second one, image by image."""
    untrained: PairedDifference | None = None
    """The best setting against the best untrained encoder, image by image, on test where that has the metric."""


def standing(
    sweep: "SweepRecord",
    table: ComparisonTable,
    outputs: TrialOutputs | None = None,
    cells: ComparisonCells | None = None,
) -> Standing:
    """Return how the best setting stands; without outputs, with intervals over seeds alone."""
    best, cells = table.best, cells or ComparisonCells(outputs)
    if best is None:
        return Standing({}, {})
    metrics = _metrics(sweep.objective, best)
    known = [row for row in table.baselines if row.values(sweep.objective)]
    ranked = [row for row in table.settings if row.values(sweep.objective)][:2]
    untrained = _best_untrained(known, sweep)
    return Standing(
        {metric: cells.of(best, metric) for metric in metrics},
        {row.label: {metric: cells.of(row, metric) for metric in metrics if row.values(metric)} for row in known},
        _pair(sweep.objective, ranked, outputs),
        _pair(metrics[min(1, len(metrics) - 1)], [best, *untrained], outputs),
    )


def _metrics(objective: str, best: ComparisonRow) -> list[str]:
    """Return the objective, its like on test, and what a yes-or-no question asks of the same classifier there."""
    method, _ = method_of(objective.partition("/")[2])
    on_test = f"test/{objective.partition('/')[2]}"
    sides = [f"test/{method}{name}" for name in (names.SENSITIVITY, names.SPECIFICITY)]
    wanted = dict.fromkeys((objective, on_test, *sides))
    return [metric for metric in wanted if metric == objective or best.values(metric)]


def _best_untrained(baselines: Sequence[ComparisonRow], sweep: "SweepRecord") -> list[ComparisonRow]:
    found = [row for row in baselines if row.kind == UNTRAINED]
    sign = 1 if sweep.direction == "max" else -1
    return sorted(found, key=lambda row: -sign * row.known_mean(sweep.objective))[:1]


def _pair(metric: str, rows: Sequence[ComparisonRow], outputs: TrialOutputs | None) -> PairedDifference | None:
    if outputs is None or len(rows) < 2 or not all(row.values(metric) for row in rows):
        return None
    return paired(metric, *(outputs.of_row(row, metric) for row in rows))
