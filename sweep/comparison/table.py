"""Comparison tables of a sweep's trials: settings ranked by the objective; pure: records in, tables out."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sweep.comparison.default_columns import default_columns
from sweep.comparison.wording import described, spelled
from sweep.planning.expansion import BASELINE_FIELDS
from sweep.planning.trial_names import varying_fields
from sweep.statistics.hypothesis_tests import candidates_for_best
from sweep.statistics.intervals import seed_interval
from sweep.statistics.share_intervals import LEVEL, ConfidenceInterval
from trainables.config import TrialConfig
from trainables.metrics.names import bounds

if TYPE_CHECKING:
    from sweep.comparison.pool_leaks import PoolLeaks
    from sweep.records.sweep_record import PublishedRow, SweepRecord, TrialEntry
    from sweep.records.trial_result import TrialResult

Sources = Mapping[str, tuple[str, ...]]
"""Names of the sweeps that contain a trial, by the trial's id."""
BASELINE_LABELS = {
    "untrained": "untrained encoder",
    "calibrated": "untrained encoder with calibrated batch norm",
    "pixels": "raw pixels",
    "colours": "mean and deviation of each channel",
    "random_features": "random convolutional features",
}
REPLICATED = ("seed", "label_draw")
"""Fields in which replicates of a setting differ, besides the seed of their initial weights."""
METHOD, WEIGHTS = "method", "initial_weights"
METHOD_AXES = (METHOD, WEIGHTS, "label_fraction")
"""Axes listed first in a sweep with several methods, since other axes may be determined by them."""


@dataclass(frozen=True)
class ComparedTrial:
    """One trial with its result so far."""

    entry: "TrialEntry"
    result: "TrialResult"
    sweeps: tuple[str, ...] = ()
    """Names of the sweeps that contain the trial, if several sweeps are compared."""


@dataclass(frozen=True)
class ComparisonRow:
    """One setting of a comparison table: its replicates, which differ only in the seed."""

    trials: tuple[ComparedTrial, ...]
    published: Mapping[str, float]
    """Published metrics of this setting; empty if there are none."""
    told: tuple[str, ...] = ()
    """For a baseline: the fields that its label names, since baselines of this kind differ in them."""
    maybe_best: bool | None = None
    """Whether the setting may be the best, by the objective over seeds; None if the seeds don't suffice."""

    @property
    def config(self) -> Mapping[str, Any]:
        """Fields of the setting with the first seed; initial weights by name, and the method (may be empty)."""
        entry = self.trials[0].entry
        return {METHOD: entry.method, **entry.config, WEIGHTS: spelled(entry.config.get(WEIGHTS))}

    @property
    def kind(self) -> str:
        """Kind of a baseline in words; empty for a setting."""
        baseline = self.trials[0].entry.baseline
        return "" if baseline is None else BASELINE_LABELS[baseline]

    @property
    def label(self) -> str:
        """Label of a baseline; empty for a setting."""
        told = [f"{name.replace('_', ' ')} {spelled(self.config[name], name)}" for name in self.told]
        return ", ".join([self.kind, *told]) if self.kind else ""

    def words(self, axes: tuple[str, ...]) -> str:
        """Return the setting or baseline in words."""
        return self.label or described(self.config, axes)

    @property
    def sweeps(self) -> str:
        """Names of the sweeps that contain the setting, comma-separated, if several sweeps are compared."""
        return ", ".join(dict.fromkeys(name for trial in self.trials for name in trial.sweeps))

    @property
    def halved(self) -> int:
        """Epoch at which halving ended the setting (minimum over its trials); 0 if it wasn't ended."""
        return min((trial.result.epoch for trial in self.trials if trial.result.halved), default=0)

    def reached(self, metric: str) -> float | None:
        """Return the mean of a metric over the trials that halving ended, at that epoch; None if no trial has it."""
        ended = [trial.result for trial in self.trials if trial.result.halved and trial.result.epoch == self.halved]
        values = [result.metrics[metric] for result in ended if metric in result.metrics]
        return sum(values) / len(values) if values else None

    @property
    def hours(self) -> float:
        """Device-hours of all attempts at its trials."""
        return sum(trial.result.hours for trial in self.trials)

    @property
    def finished(self) -> tuple[ComparedTrial, ...]:
        """Finished trials, over which means are computed."""
        return tuple(trial for trial in self.trials if trial.result.status == "finished")

    @property
    def first(self) -> ComparedTrial | None:
        """Finished trial with the smallest seed, which represents the setting: choosing the best would be biased."""
        return min(
            self.finished,
            key=lambda trial: [int(trial.entry.config.get(name, 0)) for name in REPLICATED],
            default=None,
        )

    def values(self, metric: str) -> list[float]:
        """Return a metric of each finished trial that has it, at its last epoch; NaN if undefined."""
        return [trial.result.metrics[metric] for trial in self.finished if metric in trial.result.metrics]

    def mean(self, metric: str) -> float | None:
        """Return the mean over seeds; None if no finished trial has the metric."""
        values = self.values(metric)
        return sum(values) / len(values) if values else None

    def is_defined(self, metric: str) -> bool:
        """Whether the mean over seeds is known and finite."""
        mean = self.mean(metric)
        return mean is not None and math.isfinite(mean)

    def known_mean(self, metric: str) -> float:
        """Return the mean over seeds of a metric that at least one finished trial has."""
        mean = self.mean(metric)
        assert mean is not None
        return mean

    def interval(self, metric: str) -> ConfidenceInterval | None:
        """Return the 95 % t-interval of the mean over seeds within the metric's bounds.

        None with fewer than two seeds, or if the mean is undefined because one of them is.
        """
        found = seed_interval(self.values(metric))
        if found is None or not self.is_defined(metric):
            return None
        low, high = bounds(metric)
        return ConfidenceInterval(max(low, found.low), min(high, found.high))


@dataclass(frozen=True)
class ComparisonTable:
    """Comparison table of one data set: settings, best first; baselines and halved settings are separate."""

    dataset: str
    axes: tuple[str, ...]
    objective: str
    metrics: tuple[str, ...]
    """Metrics that at least one trial has, the objective first."""
    settings: tuple[ComparisonRow, ...]
    baselines: tuple[ComparisonRow, ...]
    halved: tuple[ComparisonRow, ...] = ()
    """Settings that halving ended at different epochs; they are never ranked, averaged or tested with the others."""
    others_are_worse: bool = False
    """Whether all other settings are worse than the best, by the objective over seeds, at an error of at most 5 %."""

    leaks: "tuple[PoolLeaks, ...]" = ()
    """Leaks between pretraining images and test images, where they are known (sweep/comparison/pool_leaks.py)."""

    @property
    def marked_leaks(self) -> "tuple[PoolLeaks, ...]":
        """Leaks for which the data set is marked."""
        return tuple(leaks for leaks in self.leaks if leaks.marked)

    @property
    def best(self) -> ComparisonRow | None:
        """Setting with the best mean; None if no mean is finite."""
        return next((row for row in self.settings[:1] if row.is_defined(self.objective)), None)

    @property
    def undefined(self) -> bool:
        """Whether trials have finished but the objective is not finite in any setting."""
        return self.best is None and any(row.values(self.objective) for row in self.settings)

    @property
    def of_several_sweeps(self) -> bool:
        """Whether the table contains settings of several sweeps."""
        return any(row.sweeps for row in (*self.settings, *self.halved))

    @property
    def seeds(self) -> int:
        """Maximum number of seeds of a setting."""
        return max((len(row.trials) for row in self.settings), default=0)


def compare(
    sweep: "SweepRecord", results: "Callable[[TrialEntry], TrialResult]", sources: Sources | None = None
) -> list[ComparisonTable]:
    """Return one comparison table per data set; metrics on different data sets can't be ranked together.

    Args:
        sweep: Record of the sweep.
        results: Returns the result of a trial so far.
        sources: Sweeps of each trial, if the record merges several (sweep/comparison/merged_sweeps.py).
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
    """Return a trial with all fields; an older record lacks fields that were added later."""
    if TrialConfig.model_fields.keys() <= entry.config.keys():
        return entry
    return entry.model_copy(update={"config": config.model_dump(mode="json")})


def setting_key(entry: "TrialEntry") -> str:
    """Return a key that replicates of one setting share and other settings don't."""
    setting = {name: value for name, value in entry.config.items() if name not in REPLICATED}
    setting[WEIGHTS] = spelled(setting.get(WEIGHTS))  # of each seed its own, by one name
    return json.dumps([entry.baseline, entry.method, setting], sort_keys=True)


def _folded(
    sweep: "SweepRecord", results: "Callable[[TrialEntry], TrialResult]", sources: Sources
) -> list[ComparisonRow]:
    """Return one row per setting, in the order of its first trial."""
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
    """Return the axes that vary. With several methods, METHOD_AXES come first and determined axes are left out."""
    if not any(row.config[METHOD] for row in rows):
        return tuple(name for name in axes if len({spelled(row.config[name], name) for row in rows}) > 1)
    kept: list[str] = []
    for name in (*METHOD_AXES, *(axis for axis in axes if axis not in METHOD_AXES)):
        if _cells(rows, [*kept, name]) > _cells(rows, kept):
            kept.append(name)
    return tuple(kept)


def _cells(rows: Sequence[ComparisonRow], axes: Sequence[str]) -> int:
    return len({tuple(spelled(row.config.get(axis), axis) for axis in axes) for row in rows})


def _told_apart(baselines: Sequence[ComparisonRow], axes: Sequence[str]) -> tuple[ComparisonRow, ...]:
    """Return the baselines with labels that name the fields in which baselines of one kind differ."""
    fields = [name for name in axes if name in BASELINE_FIELDS]
    alike = {row.kind: [other for other in baselines if other.kind == row.kind] for row in baselines}
    return tuple(
        replace(row, told=tuple(name for name in fields if _cells(alike[row.kind], [name]) > 1)) for row in baselines
    )


def _judged(ranked: Sequence[ComparisonRow], sweep: "SweepRecord") -> tuple[tuple[ComparisonRow, ...], bool]:
    """Return the rows with `maybe_best` set, and whether all other settings are worse than the best.

    Dropping all others is a stronger claim than dropping each one: of two equally good settings, either may drop out.
    If m are equally good, the claim is false only if m - 1 of them drop out, so half the error per setting suffices
    for any m > 1.
    """
    values = [_by_seed(row, sweep) for row in ranked]
    usable = [number for number, own in enumerate(values) if own]
    groups, seeds = ([list(part(values[number])) for number in usable] for part in (dict.values, dict.keys))
    verdicts = dict(zip(usable, candidates_for_best(groups, seeds=seeds) or (), strict=False))
    surer = candidates_for_best(groups, seeds=seeds, level=(1.0 + LEVEL) / 2)
    judged = tuple(replace(row, maybe_best=verdicts.get(number)) for number, row in enumerate(ranked))
    return judged, surer is not None and sum(surer) == 1


def _by_seed(row: ComparisonRow, sweep: "SweepRecord") -> dict[Any, float]:
    """Return the objective of a setting's finished trials by seed and label draw; larger is better.

    Empty if one of them isn't finite: the setting has no mean, and so no rank.
    """
    sign = 1 if sweep.direction == "max" else -1
    found = {
        tuple(trial.entry.config.get(name) for name in REPLICATED): sign * trial.result.metrics[sweep.objective]
        for trial in row.finished
        if sweep.objective in trial.result.metrics
    }
    return found if all(map(math.isfinite, found.values())) else {}


def data_of(config: Mapping[str, Any]) -> str:
    """Return the name of a trial's pretraining data set; a different evaluation data set is added."""
    evaluated = config.get("evaluation_dataset")
    return str(config["dataset"]) if evaluated is None else f"{config['dataset']}, evaluated on {evaluated}"


def _rank(row: ComparisonRow, sweep: "SweepRecord") -> tuple[bool, float]:
    if not row.is_defined(sweep.objective):
        return True, 0.0
    value = row.known_mean(sweep.objective)
    return False, -value if sweep.direction == "max" else value


def _shown(sweep: "SweepRecord", rows: Sequence[ComparisonRow]) -> tuple[str, ...]:
    """Return the columns for which at least one row has a value, measured or published.

    Without any besides the objective, the default columns are shown.
    """
    measured = {name for row in rows for trial in row.trials for name in trial.result.metrics}
    known = measured.union(*(row.published for row in rows))
    columns = [name for name in sweep.columns if name in known] or default_columns(sweep.objective, measured)
    return tuple(name for name in dict.fromkeys((sweep.objective, *columns)) if name in known)


def _published(config: Mapping[str, Any], published: "Sequence[PublishedRow]") -> Mapping[str, float]:
    for row in published:
        if all(config.get(name) == value for name, value in row.setting.items()):
            return row.metrics
    return {}
