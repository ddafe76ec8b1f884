"""Report of one data set as a value: computed once from the records, then shown as a page, MLflow figures and CSV."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING

from sweep.comparison.cells import ComparisonCell, ComparisonCells
from sweep.comparison.classifier_curves import ClassifierReport, classifier_reports
from sweep.comparison.conclusions import conclusions
from sweep.comparison.effects import AxisEffects, effects_of
from sweep.comparison.label_free_ranking import LabelFreeRankings, label_free_rankings
from sweep.comparison.pivots import PivotTable, pivot_tables
from sweep.comparison.pool_leaks import PoolLeaks, StorePair, leaks_of, store_pairs
from sweep.comparison.ranking import Sources, compare
from sweep.comparison.standing import BaselineComparison, standing
from sweep.comparison.table import ComparisonRow, ComparisonTable
from sweep.comparison.trial_outputs import TrialOutputs
from sweep.comparison.trial_report import TrialReport, trial_reports
from sweep.records.present_results import present_results
from trainables.data.store_info import StoreInfo, readable_info

if TYPE_CHECKING:
    from sweep.records.sweep_record import SweepRecord
    from sweep.records.sweep_storage import SweepStorage

MOST_SAMPLED = 40
"""Maximum number of settings with an interval over images, the best ones; each reads all outputs of its trials."""


@dataclass(frozen=True)
class ReportRow:
    """Row of a report: one setting or baseline with its metrics and cost."""

    row: ComparisonRow
    label: str
    """The setting or baseline in words."""
    cells: Mapping[str, ComparisonCell]
    """Cells by metric, in the order of the table."""


@dataclass(frozen=True)
class DataSetReport:
    """Report of one data set: table, metrics with intervals, trials, and conclusions."""

    sweep: "SweepRecord"
    table: ComparisonTable
    rows: tuple[ReportRow, ...]
    """Settings, best first, then baselines."""
    trials: Mapping[str, TrialReport]
    """By trial id."""
    halved: tuple[ReportRow, ...]
    """Settings that halving ended, each at an epoch of its own."""
    standing: BaselineComparison
    """Comparison of the best setting with the second and with the baselines."""
    classifiers: tuple[ClassifierReport, ...]

    @cached_property
    def conclusions(self) -> tuple[str, ...]:
        """Conclusions in a few sentences."""
        return conclusions(self.sweep, self.table, self.standing)

    @cached_property
    def label_free(self) -> LabelFreeRankings | None:
        """How well metrics without labels rank the settings."""
        return label_free_rankings(self.sweep, self.table)

    @cached_property
    def effects(self) -> AxisEffects:
        """Main effects, interactions and importance of the axes."""
        return effects_of(self.table, self.sweep.objective)

    @cached_property
    def pivots(self) -> Mapping[str, tuple[PivotTable, ...]]:
        """Pivot tables over two axes at a time, by metric: the objective and each metric with a published value."""
        published = (name for row in self.table.settings for name in row.published if name in self.table.metrics)
        metrics = dict.fromkeys((self.sweep.objective, *published))
        return {metric: tuple(pivot_tables(self.table, metric)) for metric in metrics}

    @property
    def hours(self) -> float:
        """Device-hours of all attempts."""
        return sum(report.hours for report in self.trials.values())

    @property
    def lost_hours(self) -> float:
        """Device-hours of the attempts that failed."""
        return sum(report.lost_hours for report in self.trials.values())

    @property
    def device(self) -> str:
        """Unit of the device-hours: "GPU", or "worker" on CPUs."""
        finals = [report.final for report in self.trials.values()]
        return "GPU" if any(f is not None and "NVIDIA" in f.device for f in finals) else "worker"

    @cached_property
    def store(self) -> StoreInfo | None:
        """Info of the prepared data set; None if it isn't on this machine."""
        return readable_info((*self.table.settings, *self.table.halved)[0].config["dataset"])

    def row_of(self, row: ComparisonRow) -> ReportRow:
        """Return the report's row of a setting."""
        return next(one for one in self.rows if one.row is row)


def dataset_reports(
    sweep: "SweepRecord", storage: "SweepStorage", sources: Sources | None = None
) -> list[DataSetReport]:
    """Return the report of each data set of a sweep; `sources` as `compare` takes them."""
    outputs = TrialOutputs(storage)
    tables = with_leaks(sweep_tables(sweep, storage, sources), storage)
    return [dataset_report(sweep, table, storage, outputs) for table in tables]


def sweep_tables(
    sweep: "SweepRecord", storage: "SweepStorage", sources: Sources | None = None
) -> list[ComparisonTable]:
    """Return the table of each data set of a sweep, from the results in its storage."""
    results = present_results(sweep, storage)
    return compare(sweep, lambda entry: results[entry.trial_id], sources)


def with_leaks(tables: Iterable[ComparisonTable], storage: "SweepStorage") -> list[ComparisonTable]:
    """Return the tables with the leaks of their data sets, as far as the stores are prepared on this machine."""
    return [replace(table, leaks=_leaks_of(table, storage)) for table in tables]


def _leaks_of(table: ComparisonTable, storage: "SweepStorage") -> tuple[PoolLeaks, ...]:
    pairs: dict[StorePair, None] = {}
    for row in (*table.settings, *table.baselines, *table.halved):
        for trial in row.trials:
            fingerprint = storage.trial_of(trial.entry).fingerprint()
            if fingerprint is not None:
                pairs |= dict.fromkeys(store_pairs(trial.entry.config, fingerprint, storage))
    found = (leaks_of(pair, fetch=False) for pair in pairs)
    return tuple(leaks for leaks in found if leaks is not None and leaks.found.found)


def dataset_report(
    sweep: "SweepRecord", table: ComparisonTable, storage: "SweepStorage", outputs: TrialOutputs
) -> DataSetReport:
    """Compute the report of one data set from its comparison table and its trials' files."""
    trials = trial_reports((*table.settings, *table.baselines, *table.halved), storage)
    near = {id(row) for row in (*table.settings[:MOST_SAMPLED], *table.baselines) if row.finished}

    def report_row(row: ComparisonRow, cell: "Callable[[str], ComparisonCell]") -> ReportRow:
        return ReportRow(row, row.words(table.axes), {metric: cell(metric) for metric in table.metrics})

    cells = ComparisonCells(outputs)
    rows = tuple(
        report_row(row, partial(cells.of, row, over_images=id(row) in near))
        for row in (*table.settings, *table.baselines)
    )
    halved = tuple(report_row(row, partial(_reached, row)) for row in table.halved)
    stands, classifiers = standing(sweep, table, outputs, cells), classifier_reports(table, outputs)
    return DataSetReport(sweep, table, rows, trials, halved, stands, classifiers)


def _reached(row: ComparisonRow, metric: str) -> ComparisonCell:
    """Return the mean at the epoch where halving ended a setting; without interval, since it isn't compared."""
    return ComparisonCell(row.reached(metric), None, None, None)
