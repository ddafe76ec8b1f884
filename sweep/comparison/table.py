"""Comparison tables of a sweep's trials: settings ranked by the objective; pure: records in, tables out."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sweep.comparison.wording import described, spelled
from sweep.planning.expansion import BASELINE_FIELDS
from sweep.planning.trial_names import varying_fields
from sweep.statistics.hypothesis_tests import candidates_for_best
from sweep.statistics.intervals import seed_interval
from sweep.statistics.share_intervals import LEVEL, Interval
from trainables.config import TrialConfig
from trainables.metric_names import is_share

if TYPE_CHECKING:
    from sweep.records.sweep_record import PublishedRow, SweepRecord, TrialEntry
    from sweep.records.trial_result import TrialResult

Sources = Mapping[str, tuple[str, ...]]
"""The sweeps that have a trial, by its id."""
BASELINE_LABELS = {
    "untrained": "untrained encoder",
    "calibrated": "untrained, batch norm calibrated",
    "pixels": "raw pixels",
    "colours": "mean and deviation of each channel",
}
REPLICATED = ("seed", "label_draw")
"""Fields that replicates of a setting differ in, besides the seed of what they start from."""
METHOD, WEIGHTS = "method", "initial_weights"
METHOD_AXES = (METHOD, WEIGHTS, "label_fraction")
"""Where there are methods, the axes that others may follow from."""


@dataclass(frozen=True)
class ComparedTrial:
    """One trial and what there is of it."""

    entry: "TrialEntry"
    result: "TrialResult"
    sweeps: tuple[str, ...] = ()
    """Those that have it, where several are compared."""


@dataclass(frozen=True)
class ComparisonRow:
    """One setting of a table: trials that differ in the seed alone."""

    trials: tuple[ComparedTrial, ...]
    published: Mapping[str, float]
    """The published metrics of this setting, empty where there are none."""
    told: tuple[str, ...] = ()
    """Of a baseline: the fields that are said of it, since baselines differ in them."""
    maybe_best: bool | None = None
    """Whether it can't be told from the best by the objective over seeds; None where the seeds don't suffice."""

    @property
    def config(self) -> Mapping[str, Any]:
        """The setting, with the first seed; initial weights by their name, and what is done, empty where not said."""
        entry = self.trials[0].entry
        return {METHOD: entry.method, **entry.config, WEIGHTS: spelled(entry.config.get(WEIGHTS))}

    @property
    def kind(self) -> str:
        """What a baseline is, empty for a setting."""
        baseline = self.trials[0].entry.baseline
        return "" if baseline is None else BASELINE_LABELS[baseline]

    @property
    def label(self) -> str:
        """What stands in place of a setting for a baseline."""
        told = [f"{name.replace('_', ' ')} {spelled(self.config[name])}" for name in self.told]
        return ", ".join([self.kind, *told]) if self.kind else ""

    def words(self, axes: tuple[str, ...]) -> str:
        """Return the setting or baseline in words."""
        return self.label or described(self.config, axes)

    @property
    def sweeps(self) -> str:
        """The sweeps that have the setting, where several are compared."""
        return ", ".join(dict.fromkeys(name for trial in self.trials for name in trial.sweeps))

    @property
    def halved(self) -> int:
        """The epoch at which halving ended the setting, the least of its trials'; 0 where it didn't."""
        return min((trial.result.epoch for trial in self.trials if trial.result.halved), default=0)

    def reached(self, metric: str) -> float | None:
        """Return the mean of a metric over the trials that halving ended, at that epoch; None where none has it."""
        ended = [trial.result for trial in self.trials if trial.result.halved and trial.result.epoch == self.halved]
        values = [result.metrics[metric] for result in ended if metric in result.metrics]
        return sum(values) / len(values) if values else None

    @property
    def finished(self) -> tuple[ComparedTrial, ...]:
        """The trials that a mean is over."""
        return tuple(trial for trial in self.trials if trial.result.status == "finished")

    @property
    def first(self) -> ComparedTrial | None:
        """The finished trial of the smallest seed, which stands for the setting: the best one chance would choose."""
        return min(
            self.finished,
            key=lambda trial: [int(trial.entry.config.get(name, 0)) for name in REPLICATED],
            default=None,
        )

    def values(self, metric: str) -> list[float]:
        """Return a metric of each finished trial that has it, at its last epoch; NaN where it is undefined."""
        return [trial.result.metrics[metric] for trial in self.finished if metric in trial.result.metrics]

    def mean(self, metric: str) -> float | None:
        """Return the mean over seeds; None where no finished trial has the metric."""
        values = self.values(metric)
        return sum(values) / len(values) if values else None

    def known_mean(self, metric: str) -> float:
        """Return the mean over seeds of a metric that some finished trial has."""
        mean = self.mean(metric)
        assert mean is not None
        return mean

    def interval(self, metric: str) -> Interval | None:
        """Return the 95 % t-interval of the mean over seeds, a share's within 0 and 1; None with fewer than two."""
        found = seed_interval(self.values(metric))
        if found is None or not is_share(metric):
            return found
        return Interval(max(0.0, found.low), min(1.0, found.high))


@dataclass(frozen=True)
class ComparisonTable:
    """The settings of one data set, best first, then those without a result; baselines and halved settings apart."""

    dataset: str
    axes: tuple[str, ...]
    objective: str
    metrics: tuple[str, ...]
    """Those that some trial has, the objective first."""
    settings: tuple[ComparisonRow, ...]
    baselines: tuple[ComparisonRow, ...]
    halved: tuple[ComparisonRow, ...] = ()
    """Settings that halving ended: at an epoch of their own, so ranked, averaged or tested with none of the others."""
    others_are_worse: bool = False
    """Whether every setting but the best is worse by the objective over seeds, with an error of 5 % at most."""

    @property
    def best(self) -> ComparisonRow | None:
        """The setting with the best mean, None where no mean is a finite number."""
        first = self.settings[0] if self.settings else None
        mean = None if first is None else first.mean(self.objective)
        return first if mean is not None and math.isfinite(mean) else None

    @property
    def undefined(self) -> bool:
        """Whether trials have finished, and the objective is no finite number in any setting."""
        return self.best is None and any(row.values(self.objective) for row in self.settings)

    @property
    def of_several_sweeps(self) -> bool:
        """Whether settings of several sweeps stand here."""
        return any(row.sweeps for row in (*self.settings, *self.halved))

    @property
    def seeds(self) -> int:
        """The most seeds that a setting has."""
        return max((len(row.trials) for row in self.settings), default=0)


def compare(
    sweep: "SweepRecord", results: "Callable[[TrialEntry], TrialResult]", sources: Sources | None = None
) -> list[ComparisonTable]:
    """Return one table a data set, since shares of different data sets can't be ranked against each other.

    `sources` says which sweeps have a trial, where the record is of several (sweep/comparison/merged_sweeps.py).
    """
    configs = {entry.trial_id: TrialConfig.parse(entry.setting_known) for entry in sweep.trials}
    sweep = sweep.model_copy(update={"trials": tuple(_complete(e, configs[e.trial_id]) for e in sweep.trials)})
    settings = [entry for entry in sweep.trials if entry.baseline is None]
    varied = varying_fields([configs[e.trial_id] for e in settings])
    axes = tuple(name for name in varied if name not in ("dataset", "evaluation_dataset", *REPLICATED))
    rows = _folded(sweep, results, sources or {})
    tables = []
    for dataset in dict.fromkeys(data_of(entry.config) for entry in settings):
        own = [row for row in rows if data_of(row.config) == dataset]
        halved = tuple(row for row in own if row.halved and not row.label)
        ranked = sorted((row for row in own if not row.halved and not row.label), key=lambda row: _rank(row, sweep))
        baselines = _told_apart([row for row in own if row.label], axes)
        varying = _independent([*ranked, *halved], axes)
        judged, worse = _judged(ranked, sweep)
        tables.append(
            ComparisonTable(dataset, varying, sweep.objective, _shown(sweep, own), judged, baselines, halved, worse)
        )
    return tables


def _complete(entry: "TrialEntry", config: TrialConfig) -> "TrialEntry":
    """Return a trial with all fields: records keep those that there were when they were written."""
    if TrialConfig.model_fields.keys() <= entry.config.keys():
        return entry
    return entry.model_copy(update={"config": config.model_dump(mode="json")})


def setting_key(entry: "TrialEntry") -> str:
    """Return what the replicates of a setting, and no others, have in common."""
    setting = {name: value for name, value in entry.config.items() if name not in REPLICATED}
    setting[WEIGHTS] = spelled(setting.get(WEIGHTS))  # of each seed its own, by one name
    return json.dumps([entry.baseline, entry.method, setting], sort_keys=True)


def _folded(
    sweep: "SweepRecord", results: "Callable[[TrialEntry], TrialResult]", sources: Sources
) -> list[ComparisonRow]:
    """Return a row a setting, in the order of its first trial."""
    groups: dict[str, list[TrialEntry]] = {}
    for entry in sweep.trials:
        groups.setdefault(setting_key(entry), []).append(entry)
    return [
        ComparisonRow(
            tuple(ComparedTrial(entry, results(entry), sources.get(entry.trial_id, ())) for entry in entries),
            _published({**entries[0].config, **entries[0].stands_for}, sweep.published),
        )
        for entries in groups.values()
    ]


def _independent(rows: Sequence[ComparisonRow], axes: Sequence[str]) -> tuple[str, ...]:
    """Return the axes that vary; where there are methods these first, without what follows from those before."""
    if not any(row.config[METHOD] for row in rows):
        return tuple(name for name in axes if len({spelled(row.config[name]) for row in rows}) > 1)
    kept: list[str] = []
    for name in (*METHOD_AXES, *(axis for axis in axes if axis not in METHOD_AXES)):
        if _cells(rows, [*kept, name]) > _cells(rows, kept):
            kept.append(name)
    return tuple(kept)


def _cells(rows: Sequence[ComparisonRow], axes: Sequence[str]) -> int:
    return len({tuple(spelled(row.config.get(axis)) for axis in axes) for row in rows})


def _told_apart(baselines: Sequence[ComparisonRow], axes: Sequence[str]) -> tuple[ComparisonRow, ...]:
    """Return baselines that say what those of their kind differ in."""
    fields = [name for name in axes if name in BASELINE_FIELDS]
    alike = {row.kind: [other for other in baselines if other.kind == row.kind] for row in baselines}
    return tuple(
        replace(row, told=tuple(name for name in fields if _cells(alike[row.kind], [name]) > 1)) for row in baselines
    )


def _judged(ranked: Sequence[ComparisonRow], sweep: "SweepRecord") -> tuple[tuple[ComparisonRow, ...], bool]:
    """Return the rows with whether each may be the best, and whether all others are worse than the one that is.

    Dropping all others says more than dropping each: of two that are equally good either one would do. Where m are
    equally good, m - 1 of them have to drop out for a false word, so half the error for each is enough for any m > 1.
    """
    values = [_by_seed(row, sweep) for row in ranked]
    usable = [number for number, own in enumerate(values) if own]
    groups, seeds = ([list(part(values[number])) for number in usable] for part in (dict.values, dict.keys))
    verdicts = dict(zip(usable, candidates_for_best(groups, seeds=seeds) or (), strict=False))
    surer = candidates_for_best(groups, seeds=seeds, level=(1.0 + LEVEL) / 2)
    judged = tuple(replace(row, maybe_best=verdicts.get(number)) for number, row in enumerate(ranked))
    return judged, surer is not None and sum(surer) == 1


def _by_seed(row: ComparisonRow, sweep: "SweepRecord") -> dict[Any, float]:
    """Return the objective of a setting's finished trials, larger being better, by what they share with others."""
    sign = 1 if sweep.direction == "max" else -1
    found = {
        tuple(trial.entry.config.get(name) for name in REPLICATED): sign * trial.result.metrics[sweep.objective]
        for trial in row.finished
        if sweep.objective in trial.result.metrics
    }
    return {seed: value for seed, value in found.items() if math.isfinite(value)}


def data_of(config: Mapping[str, Any]) -> str:
    """Return what a trial pretrains on, and evaluates on where that is another data set."""
    evaluated = config.get("evaluation_dataset")
    return str(config["dataset"]) if evaluated is None else f"{config['dataset']}, evaluated on {evaluated}"


def _rank(row: ComparisonRow, sweep: "SweepRecord") -> tuple[bool, float]:
    value = row.mean(sweep.objective)
    if value is None or not math.isfinite(value):
        return True, 0.0
    return False, -value if sweep.direction == "max" else value


def _shown(sweep: "SweepRecord", rows: Sequence[ComparisonRow]) -> tuple[str, ...]:
    """Return the columns for which some row has a number, ours or a published one."""
    wanted = dict.fromkeys((sweep.objective, *sweep.columns))
    return tuple(name for name in wanted if any(name in row.published or _has(row, name) for row in rows))


def _has(row: ComparisonRow, metric: str) -> bool:
    return any(metric in trial.result.metrics for trial in row.trials)


def _published(config: Mapping[str, Any], published: "Sequence[PublishedRow]") -> Mapping[str, float]:
    for row in published:
        if all(config.get(name) == value for name, value in row.setting.items()):
            return row.metrics
    return {}
