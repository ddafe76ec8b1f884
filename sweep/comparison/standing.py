"""Comparison of the best setting with the second, the untrained encoder and the other baselines."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import TYPE_CHECKING

from sweep.comparison.cells import ComparisonCell, ComparisonCells
from sweep.comparison.default_columns import SIDES, beside_on_test, metric_on_test
from sweep.comparison.table import BASELINE_LABELS, ComparisonRow, ComparisonTable
from sweep.comparison.trial_outputs import TrialOutputs
from sweep.statistics.metric_intervals import PairedDifference, paired

if TYPE_CHECKING:
    from sweep.records.sweep_record import SweepRecord

UNTRAINED = BASELINE_LABELS["untrained"]


@dataclass(frozen=True)
class BaselineComparison:
    """Metrics of the best setting and of the baselines, and the best setting's differences from others."""

    best: Mapping[str, ComparisonCell]
    """Cells by metric: the objective, the same metric on test, then sensitivity and specificity on test if defined.

    For an objective without labels, those of frozen features on test.
    """
    baselines: Mapping[str, Mapping[str, ComparisonCell]]
    """Cells by baseline (in words) and metric."""
    second: PairedDifference | None = None
    """Difference of the best setting from the second, paired by image."""
    untrained: PairedDifference | None = None
    """Difference of the best setting from the best untrained encoder, paired by image, on test if available."""


def standing(
    sweep: "SweepRecord",
    table: ComparisonTable,
    outputs: TrialOutputs | None = None,
    cells: ComparisonCells | None = None,
) -> BaselineComparison:
    """Return the comparison of the best setting with the others; without outputs, intervals are over seeds only."""
    best, cells = table.best, cells or ComparisonCells(outputs)
    if best is None:
        return BaselineComparison({}, {})
    metrics = _metrics(sweep.objective, best)
    known = _alike(best, [row for row in table.baselines if any(map(row.values, metrics))])
    ranked = [row for row in table.settings if row.values(sweep.objective)][:2]
    untrained = _best_untrained(known, sweep)
    return BaselineComparison(
        {metric: cells.of(best, metric) for metric in metrics},
        {row.label: {metric: cells.of(row, metric) for metric in metrics if row.values(metric)} for row in known},
        _pair(sweep.objective, ranked, outputs),
        _pair(metrics[min(1, len(metrics) - 1)], [best, *untrained], outputs),
    )


def _metrics(objective: str, best: ComparisonRow) -> list[str]:
    """Return the objective, the same metric on test, and the same classifier's sensitivity and specificity there."""
    known = {metric for trial in best.finished for metric in trial.result.metrics}
    on_test = metric_on_test(objective, known)
    wanted = (objective, *([on_test] if on_test else []), *beside_on_test(objective, known, SIDES))
    return list(dict.fromkeys(wanted))


def _alike(best: ComparisonRow, baselines: Sequence[ComparisonRow]) -> list[ComparisonRow]:
    """Return the baselines with the best setting's fields (its label fraction); of a kind without such a one, all."""
    same = [row for row in baselines if all(row.config.get(name) == best.config.get(name) for name in row.told)]
    kinds = {row.kind for row in same}
    return [replace(row, told=()) if row in same else row for row in baselines if row in same or row.kind not in kinds]


def _best_untrained(baselines: Sequence[ComparisonRow], sweep: "SweepRecord") -> list[ComparisonRow]:
    found = [row for row in baselines if row.kind == UNTRAINED]
    sign = 1 if sweep.direction == "max" else -1
    objective = sweep.objective
    return sorted(found, key=lambda row: -sign * row.known_mean(objective) if row.is_defined(objective) else inf)[:1]


def _pair(metric: str, rows: Sequence[ComparisonRow], outputs: TrialOutputs | None) -> PairedDifference | None:
    if outputs is None or len(rows) < 2 or not all(row.values(metric) for row in rows):
        return None
    return paired(metric, *(outputs.of_row(row, metric) for row in rows))
