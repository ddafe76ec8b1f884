"""The report of one data set as a value: computed once from the records, then drawn as page, MLflow figures and CSV."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING

from sweep.comparison.classifier_curves import ClassifierReport, classifier_reports
from sweep.comparison.conclusions import conclusions
from sweep.comparison.effects import Effects, effects_of
from sweep.comparison.pivots import PivotTable, pivot_tables
from sweep.comparison.table import Row, Sources, Table, compare
from sweep.comparison.trial_outputs import TrialOutputs
from sweep.comparison.trial_report import TrialReport, trial_reports
from sweep.records.trial_result import result_of
from sweep.statistics.image_metrics import Pair, paired, sampling_interval, too_few
from sweep.statistics.share_intervals import Interval
from trainables.data.catalog import StoreInfo
from trainables.errors import BadInputError

if TYPE_CHECKING:
    from sweep.records.sweep_record import SweepRecord
    from sweep.records.sweep_storage import SweepStorage

MOST_SAMPLED = 40
"""Settings that have an interval over images, the best ones: each takes a look at all outputs of its trials."""


@dataclass(frozen=True)
class Cell:
    """One metric of one setting."""

    mean: float | None
    """Over the finished seeds."""
    seeds: Interval | None
    """95 % interval of the mean over seeds."""
    images: Interval | None
    """95 % interval over the evaluated images."""
    published: float | None
    too_few: str = ""
    """What there is too little of for an interval over the images; empty where there is enough."""


@dataclass(frozen=True)
class ReportRow:
    """One setting or baseline with its numbers."""

    row: Row
    label: str
    """The setting or baseline in words."""
    cells: Mapping[str, Cell]
    """By metric, in the table's order."""
    hours: float
    """Device-hours of its trials."""


@dataclass(frozen=True)
class DataSetReport:
    """Everything that is reported of one data set."""

    sweep: "SweepRecord"
    table: Table
    rows: tuple[ReportRow, ...]
    """Settings best first, then baselines."""
    trials: Mapping[str, TrialReport]
    """By trial id."""
    halved: tuple[ReportRow, ...]
    """Settings that halving ended, each at an epoch of its own."""
    pair: Pair | None
    """The first setting against the second, image by image."""
    classifiers: tuple[ClassifierReport, ...]

    @cached_property
    def conclusions(self) -> tuple[str, ...]:
        """The answer in a few sentences."""
        return conclusions(self.sweep, self.table, self.pair)

    @cached_property
    def effects(self) -> Effects:
        """Main effects, interactions and importance of the axes."""
        return effects_of(self.table, self.sweep.objective)

    @cached_property
    def pivots(self) -> Mapping[str, tuple[PivotTable, ...]]:
        """Settings over two axes at a time, by metric: the objective, and what is published of some setting."""
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
    def unit(self) -> str:
        """What hours are of."""
        finals = [report.final for report in self.trials.values()]
        return "GPU-hours" if any(f is not None and "NVIDIA" in f.device for f in finals) else "worker-hours"

    @cached_property
    def store(self) -> StoreInfo | None:
        """What this machine knows of the data."""
        try:
            return StoreInfo.read((*self.table.settings, *self.table.halved)[0].config["dataset"])
        except BadInputError:
            return None

    def row_of(self, row: Row) -> ReportRow:
        """Return a setting's numbers."""
        return next(one for one in self.rows if one.row is row)


def dataset_reports(
    sweep: "SweepRecord", storage: "SweepStorage", sources: Sources | None = None
) -> list[DataSetReport]:
    """Return the report of each data set of a sweep; `sources` as `compare` takes them."""
    outputs = TrialOutputs(storage)
    return [dataset_report(sweep, table, storage, outputs) for table in sweep_tables(sweep, storage, sources)]


def sweep_tables(sweep: "SweepRecord", storage: "SweepStorage", sources: Sources | None = None) -> list[Table]:
    """Return the table of each data set of a sweep, from the results in its storage."""
    return compare(sweep, lambda entry: result_of(storage.trial_of(entry)), sources)


def best_pair(sweep: "SweepRecord", table: Table, outputs: TrialOutputs) -> Pair | None:
    """Compare the first setting with the second image by image; None where there are no two, or no such outputs."""
    metric = sweep.objective
    ranked = [row for row in table.settings if row.values(metric)][:2]
    return paired(metric, *(outputs.of_row(row, metric) for row in ranked)) if len(ranked) == 2 else None


def dataset_report(sweep: "SweepRecord", table: Table, storage: "SweepStorage", outputs: TrialOutputs) -> DataSetReport:
    """Return the report of one table."""
    trials = trial_reports((*table.settings, *table.baselines, *table.halved), storage)
    near = {id(row) for row in (*table.settings[:MOST_SAMPLED], *table.baselines) if row.finished}

    def report_row(row: Row, cell: "Callable[[str], Cell]") -> ReportRow:
        hours = sum(trials[trial.entry.trial_id].hours for trial in row.trials)
        return ReportRow(row, row.words(table.axes), {metric: cell(metric) for metric in table.metrics}, hours)

    rows = tuple(
        report_row(row, partial(_cell, row, outputs=outputs if id(row) in near else None))
        for row in (*table.settings, *table.baselines)
    )
    halved = tuple(report_row(row, partial(_reached, row)) for row in table.halved)
    pair, classifiers = best_pair(sweep, table, outputs), classifier_reports(table, outputs)
    return DataSetReport(sweep, table, rows, trials, halved, pair, classifiers)


def _reached(row: Row, metric: str) -> Cell:
    """Return the mean at the epoch at which halving ended a setting: it has no interval, as it is compared to none."""
    return Cell(row.reached(metric), None, None, None)


def _cell(row: Row, metric: str, outputs: TrialOutputs | None) -> Cell:
    said = [] if outputs is None else outputs.of_row(row, metric)
    images = sampling_interval(metric, said)
    return Cell(row.mean(metric), row.interval(metric), images, row.published.get(metric), too_few(metric, said))
