"""Comparison table: settings with their trials, best first; ranking.py computes it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sweep.comparison.wording import described, spelled
from sweep.statistics.intervals import seed_interval
from sweep.statistics.share_intervals import ConfidenceInterval
from trainables.metrics.names import bounds

if TYPE_CHECKING:
    from sweep.comparison.pool_leaks import PoolLeaks
    from sweep.records.sweep_record import TrialEntry
    from sweep.records.trial_result import TrialResult

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
