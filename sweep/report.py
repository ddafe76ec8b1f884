"""What the report of a sweep says, from its records; `sweep/report_page.py` writes it down.

`python -m sweep.compare SWEEP --html DIR` makes it.
"""

import json
import math
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sweep import comparison_figures as drawing
from sweep.answer import answer, described, metric_words
from sweep.compare import Row, Table, Trial, compare, spelled
from sweep.effects import Refusal, analysis_of_variance, importance, levels
from sweep.image_metrics import AnyOutputs, Outputs, Pair, outputs_of, paired, sampling_interval
from sweep.joint import Sources
from sweep.records import SweepRecord, SweepStorage, TrialEntry
from sweep.results import result_of
from sweep.statistics import Interval
from trainables import metric_names as names
from trainables.config import SimCLRConfig
from trainables.data.catalog import StoreInfo
from trainables.errors import BadInputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from trainables.trial_files import AttemptRecord, EpochRecord, FinalRecord

    NamedFigure = tuple[str, Figure, str]
    """Name of its files, figure, caption."""

MOST_CURVES = 8
"""Settings in one chart of curves: the best ones."""
MOST_SAMPLED = 40
"""Settings that have an interval over images, the best ones: each takes a look at all outputs of its trials."""
MOST_BARS = 12
"""Values of an axis that a chart of bars has room for."""


@dataclass(frozen=True)
class TrialReport:
    """What the report says of one trial."""

    trial: Trial
    epochs: "list[EpochRecord]"
    final: "FinalRecord | None"
    attempts: "list[AttemptRecord]"

    @property
    def hours(self) -> float:
        """Device-hours of all attempts, whichever sweep made them."""
        return sum(attempt.hours for attempt in self.attempts)

    @property
    def command(self) -> str:
        """The command that trains this trial alone."""
        default = SimCLRConfig.model_fields
        config = self.trial.entry.config
        fields = [
            f"--set {shlex.quote(f'{name}={_typed(value)}')}"
            for name, value in config.items()
            if name == "dataset" or value != _plain(default[name].default)
        ]
        workers = self.final.workers if self.final else 1
        python = f"torchrun --nproc-per-node {workers}" if workers > 1 else "python"
        return f"{python} -m trainables.simclr {' '.join(fields)}"


class DataSetReport:
    """The part of the report that is about one data set."""

    def __init__(self, sweep: SweepRecord, table: Table, storage: SweepStorage) -> None:
        self.sweep, self.table, self._storage = sweep, table, storage
        self._intervals: dict[tuple[str, str], Interval | None] = {}

    @cached_property
    def answer(self) -> list[str]:
        """The answer in a few sentences."""
        return answer(self.sweep, self.table, self._pair())

    @property
    def rows(self) -> tuple[Row, ...]:
        """Settings, then baselines."""
        return (*self.table.settings, *self.table.baselines)

    @cached_property
    def trials(self) -> dict[str, TrialReport]:
        """By trial id."""
        found = {}
        for trial in (trial for row in self.rows for trial in row.trials):
            files = self._storage.trial_of(trial.entry)
            found[trial.entry.trial_id] = TrialReport(trial, files.epochs(), files.final(), files.attempts())
        return found

    def label(self, row: Row) -> str:
        """Return a setting or baseline in words."""
        return row.label or described(row.config, self.table.axes)

    def hours(self, row: Row) -> float:
        """Return the device-hours of a setting's trials."""
        return sum(self.trials[trial.entry.trial_id].hours for trial in row.trials)

    def outputs(self, row: Row, metric: str) -> list[AnyOutputs]:
        """Return what each finished trial's classifier said of each image; nothing where one has no outputs."""
        found = [self.outputs_of_trial(trial.entry, metric) for trial in row.finished]
        return [outputs for outputs in found if outputs is not None] if all(found) else []

    def sampling(self, row: Row, metric: str) -> Interval | None:
        """Return the interval of a metric over the evaluated images; None for settings far down the table."""
        key = (row.trials[0].entry.trial_id, metric)
        if key not in self._intervals:
            near = any(row is one for one in (*self.table.settings[:MOST_SAMPLED], *self.table.baselines))
            self._intervals[key] = sampling_interval(metric, self.outputs(row, metric)) if near else None
        return self._intervals[key]

    def outputs_of_trial(self, entry: TrialEntry, metric: str) -> AnyOutputs | None:
        """Return what a trial's classifier said of each image; None where nothing is kept of it."""
        files = self._storage.trial_of(entry)
        final, table = files.final(), files.outputs(metric.partition("/")[0])
        return None if final is None or table is None else outputs_of(table, final.classes, final.positive, metric)

    def _pair(self) -> Pair | None:
        ranked = [row for row in self.table.settings if row.values(self.sweep.objective)]
        if len(ranked) < 2:
            return None
        metric = self.sweep.objective
        return paired(metric, self.outputs(ranked[0], metric), self.outputs(ranked[1], metric))

    # What the page shows

    @cached_property
    def shown(self) -> list[dict[str, Any]]:
        """One row of the big table a setting."""
        return [self._shown(row) for row in self.rows]

    def _shown(self, row: Row) -> dict[str, Any]:
        cells = []
        for metric in self.table.metrics:
            mean, published = row.mean(metric), row.published.get(metric)
            cells.append(
                {
                    "value": number(metric, mean),
                    "seeds": span(metric, row.interval(metric)),
                    "images": span(metric, self.sampling(row, metric)) if row.finished else "",
                    "published": number(metric, published),
                    "difference": _signed(metric, mean, published),
                }
            )
        return {
            "label": row.label,
            "sweeps": row.sweeps,
            "axes": [] if row.label else [spelled(row.config[axis]) for axis in self.table.axes],
            "cells": cells,
            "seeds": f"{len(row.finished)} of {len(row.trials)}",
            "hours": f"{self.hours(row):.2f}",
            "best": row is self.table.best,
            "maybe_best": bool(row.maybe_best),
            "trials": [trial.entry.name for trial in row.trials],
        }

    @property
    def effects(self) -> "dict[str, Any]":
        """Main effects, interactions and importance, or why there are none."""
        metric = self.sweep.objective
        found = {
            "levels": levels(self.table, metric),
            "variance": analysis_of_variance(self.table, metric),
            "importance": importance(self.table, metric),
        }
        return {
            name: {"refused": str(value)} if isinstance(value, Refusal) else {"found": value}
            for name, value in found.items()
        }

    @property
    def store(self) -> StoreInfo | None:
        """What this machine knows of the data."""
        try:
            return StoreInfo.read(self.table.settings[0].config["dataset"])
        except BadInputError:
            return None

    # Figures

    def figures(self) -> "Iterator[NamedFigure]":
        """Yield the figures that compare settings."""
        metric = self.sweep.objective
        points = [self._point(row, metric) for row in self.rows if row.values(metric)]
        if points:
            yield "ranking", drawing.ranking(points, metric=metric), self._ranking_caption(points)
        yield from self._bars()
        yield from self._binary()
        yield from self._cost()

    def _point(self, row: Row, metric: str) -> drawing.Point:
        return drawing.Point(
            self.label(row),
            _mean(row, metric),
            row.interval(metric),
            self.sampling(row, metric),
            row.published.get(metric),
            baseline=bool(row.label),
        )

    def _ranking_caption(self, points: Sequence[drawing.Point]) -> str:
        parts = [f"{metric_words(self.sweep.objective)} of every setting (blue) and baseline (orange)"]
        if any(point.seeds for point in points):
            parts.append("thick line: 95 % over seeds")
        if any(point.images for point in points):
            parts.append("thin line: 95 % over the evaluated images")
        if any(point.published is not None for point in points):
            parts.append(f"diamond: {self.sweep.published_source}")
        return "; ".join(parts)

    def _bars(self) -> "Iterator[NamedFigure]":
        """Yield bars over each pair of axes, as the thesis' figures 4.7 and 4.8; the other axes at their commonest."""
        metric = self.sweep.objective
        usable = [row for row in self.table.settings if row.values(metric)]
        axes = [axis for axis in self.table.axes if len({spelled(row.config[axis]) for row in usable}) <= MOST_BARS]
        for x, group in _pairs(axes):
            rest = [axis for axis in self.table.axes if axis not in (x, group)]
            fixed = _commonest([tuple(spelled(row.config[axis]) for axis in rest) for row in usable])
            own = [row for row in usable if tuple(spelled(row.config[axis]) for axis in rest) == fixed]
            if len({spelled(row.config[x]) for row in own}) < 2:
                continue
            own.sort(key=lambda row: (_sortable(row.config[x]), _sortable(row.config[group or x])))
            values = {
                (spelled(row.config[x]), spelled(row.config[group]) if group else ""): (
                    _mean(row, metric),
                    row.interval(metric) or self.sampling(row, metric),
                )
                for row in own
            }
            company = described(own[0].config, tuple(rest)) if rest else ""
            caption = [metric_words(metric), company, "lines: 95 %, over seeds, or over images where there is one seed"]
            yield (
                "_".join(filter(None, ("bars", x, group))),
                drawing.grouped_bars(
                    values, metric=metric, x=x.replace("_", " "), group=(group or "").replace("_", " ")
                ),
                "; ".join(filter(None, caption)),
            )

    def _binary(self) -> "Iterator[NamedFigure]":
        """Yield what a yes-or-no question allows, for the best settings, by the classifier that decides it."""
        for method, words in ((names.LINEAR, "logistic regression on frozen features"), ("", "linear probe")):
            sensitivity, specificity = f"test/{method}{names.SENSITIVITY}", f"test/{method}{names.SPECIFICITY}"
            rows = [row for row in self.table.settings if row.values(sensitivity)][:MOST_CURVES]
            if not rows:
                continue
            suffix = method.rstrip("_") or "probe"
            points = [
                drawing.Trade(
                    self.label(row),
                    _mean(row, sensitivity),
                    _mean(row, specificity),
                    self.sampling(row, sensitivity),
                    self.sampling(row, specificity),
                )
                for row in rows
            ]
            caption = f"{words}, test split"
            yield (
                f"sensitivity_{suffix}",
                drawing.sensitivity_specificity(points),
                f"{caption}; lines: 95 % over images",
            )
            firsts = {self.label(row): own[0] for row in rows if (own := self.outputs(row, sensitivity))}
            curves = {
                label: own
                for label, own in firsts.items()
                if isinstance(own, Outputs) and 0 < own.positive_truth.sum() < len(own.positive_truth)
            }
            if curves:
                caption += ", first seed" if self.table.seeds > 1 else ""
                yield f"roc_{suffix}", drawing.roc_curves(curves), caption
                yield f"precision_recall_{suffix}", drawing.precision_recall_curves(curves), caption
                yield f"calibration_{suffix}", drawing.calibration_curves(curves), caption

    def _cost(self) -> "Iterator[NamedFigure]":
        metric = self.sweep.objective
        rows = [row for row in self.table.settings if row.values(metric) and self.hours(row) > 0]
        if len(rows) < 2:
            return
        points = [(self.label(row), self.hours(row) / len(row.trials), _mean(row, metric)) for row in rows]
        finals = [self.trials[trial.entry.trial_id].final for trial in rows[0].finished]
        unit = (
            "GPU-hours a trial"
            if any(f is not None and "NVIDIA" in f.device for f in finals)
            else "worker-hours a trial"
        )
        highest = self.sweep.direction == "max"
        figure = drawing.cost_and_quality(points, metric=metric, unit=unit, highest=highest)
        yield "cost", figure, "every attempt is counted, also those that failed"


def reports(sweep: SweepRecord, storage: SweepStorage, sources: Sources | None = None) -> list[DataSetReport]:
    """Return the parts of a sweep's report, one a data set; `sources` as `compare` takes them."""
    tables = compare(sweep, lambda entry: result_of(storage.trial_of(entry)), sources)
    return [DataSetReport(sweep, table, storage) for table in tables]


def _pairs(axes: Sequence[str]) -> list[tuple[str, str | None]]:
    """Return which two axes a chart of bars is over: each pair, the longer training always on x; one alone."""
    if len(axes) == 1:
        return [(axes[0], None)]
    pairs = [(one, other) for place, one in enumerate(axes) for other in axes[place + 1 :]]
    return [(other, one) if other == "epochs" else (one, other) for one, other in pairs]


def _commonest(values: Sequence[tuple[str, ...]]) -> tuple[str, ...] | None:
    return max(values, key=values.count) if values else None


def _sortable(value: Any) -> tuple[bool, float, str]:
    is_number = isinstance(value, int | float)
    return not is_number, float(value) if is_number else 0.0, str(value)


def _mean(row: Row, metric: str) -> float:
    mean = row.mean(metric)
    assert mean is not None
    return mean


def number(metric: str, value: float | None) -> str:
    """Return a metric's value for a table, shares in percent; nothing where there is none."""
    if value is None:
        return ""
    if not math.isfinite(value):
        return "undefined"
    return f"{100 * value:.2f}" if names.is_share(metric) else f"{value:.4g}"


def _signed(metric: str, ours: float | None, theirs: float | None) -> str:
    if ours is None or theirs is None:
        return ""
    difference = ours - theirs
    return f"{100 * difference:+.2f}" if names.is_share(metric) else f"{difference:+.4g}"


def span(metric: str, interval: Interval | None) -> str:
    """Return an interval for a table, of a share in percent; nothing where there is none."""
    if interval is None:
        return ""
    if names.is_share(metric):
        return f"{100 * interval.low:.1f}–{100 * interval.high:.1f}"  # noqa: RUF001
    return f"{interval.low:.4g}–{interval.high:.4g}"  # noqa: RUF001


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _typed(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
