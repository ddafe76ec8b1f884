"""Comparison of the best setting with the second, the untrained encoder and the other baselines."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
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
class BaselineComparison:
    """Metrics of the best setting and of the baselines, and the best setting's differences from others."""

    best: Mapping[str, ComparisonCell]
    """Cells by metric: the objective, the same metric on test, then sensitivity and specificity on test if defined."""
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
    known = _alike(best, [row for row in table.baselines if row.values(sweep.objective)])
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
    method, _ = method_of(objective.partition("/")[2])
    on_test = f"test/{objective.partition('/')[2]}"
    sides = [f"test/{method}{name}" for name in (names.SENSITIVITY, names.SPECIFICITY)]
    wanted = dict.fromkeys((objective, on_test, *sides))
    return [metric for metric in wanted if metric == objective or best.values(metric)]


def _alike(best: ComparisonRow, baselines: Sequence[ComparisonRow]) -> list[ComparisonRow]:
    """Return the baselines with the best setting's fields (its label fraction); of a kind without such a one, all."""
    same = [row for row in baselines if all(row.config.get(name) == best.config.get(name) for name in row.told)]
    kinds = {row.kind for row in same}
    return [replace(row, told=()) if row in same else row for row in baselines if row in same or row.kind not in kinds]


def _best_untrained(baselines: Sequence[ComparisonRow], sweep: "SweepRecord") -> list[ComparisonRow]:
    found = [row for row in baselines if row.kind == UNTRAINED]
    sign = 1 if sweep.direction == "max" else -1
    return sorted(found, key=lambda row: -sign * row.known_mean(sweep.objective))[:1]


def _pair(metric: str, rows: Sequence[ComparisonRow], outputs: TrialOutputs | None) -> PairedDifference | None:
    if outputs is None or len(rows) < 2 or not all(row.values(metric) for row in rows):
        return None
    return paired(metric, *(outputs.of_row(row, metric) for row in rows))
