"""What the report of a sweep says, from its records; `sweep/report/page.py` writes it down.

`python -m sweep.compare SWEEP --html DIR` makes it.
"""

import json
import math
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sweep.comparison.conclusions import answer
from sweep.comparison.effects import Refusal, analysis_of_variance, importance, levels
from sweep.comparison.image_metrics import AnyOutputs, Outputs, Pair, outputs_of, paired, sampling_interval
from sweep.comparison.merged_sweeps import Sources
from sweep.comparison.pivots import Crossing, crossings, worded
from sweep.comparison.statistics import Interval
from sweep.comparison.table import Row, Table, Trial, compare
from sweep.comparison.wording import described, metric_words, spelled
from sweep.figures import comparison as drawing
from sweep.records.sweep_record import SweepRecord, TrialEntry
from sweep.records.sweep_storage import SweepStorage
from sweep.records.trial_result import result_of
from sweep.report.costs_and_failures import hours
from trainables import metric_names as names
from trainables.config import SimCLRConfig
from trainables.data.catalog import StoreInfo
from trainables.errors import BadInputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from sweep.comparison.missed_positives import Missed
    from trainables.storage.trial_records import AttemptRecord, EpochRecord, FinalRecord

    NamedFigure = tuple[str, Figure, str]
    """Name of its files, figure, caption."""

MOST_CURVES = 8
"""Settings in one chart of curves: the best ones."""
MOST_SAMPLED = 40
"""Settings that have an interval over images, the best ones: each takes a look at all outputs of its trials."""


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
            "axes": [spelled(row.config[axis]) for axis in self.table.axes] or ["the setting"],
            "cells": cells,
            "seeds": f"{len(row.finished)} of {len(row.trials)}",
            "hours": hours(self.hours(row)),
            "best": row is self.table.best,
            "maybe_best": bool(row.maybe_best),
            "trials": [trial.entry.name for trial in row.trials],
        }

    def metrics_of(self, report: TrialReport) -> dict[str, float]:
        """Return a trial's held-out metrics at its last epoch, the table's columns first."""
        found = report.trial.result.metrics
        order = dict.fromkeys((*self.table.metrics, *found))
        return {name: found[name] for name in order if name in found and name.startswith(("val/", "test/"))}

    @property
    def published(self) -> bool:
        """Whether some setting has published numbers."""
        return any(row.published for row in self.table.settings)

    @cached_property
    def missed(self) -> "Missed | None":
        """Why positives are missed, where the question is of positives."""
        from sweep.report.missed_positives import missed_of

        return missed_of(self)

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
        """Yield bars over each pair of axes, as the thesis' figures 4.7 and 4.8."""
        for metric in self.crossed_metrics:
            suffix = "" if metric == self.sweep.objective else f"_{metric.partition('/')[2]}"
            for crossing in crossings(self.table, metric):
                values = {
                    key: (_mean(row, metric), row.interval(metric) or self.sampling(row, metric))
                    for key, row in crossing.cells.items()
                }
                published = {
                    key: row.published[metric] for key, row in crossing.cells.items() if metric in row.published
                }
                caption = [metric_words(metric), crossing.company]
                if any(interval for _, interval in values.values()):
                    caption.append("lines: 95 % over seeds, over images with one seed")
                caption += [f"diamond: {self.sweep.published_source}"] if published else []
                yield (
                    "_".join(filter(None, ("bars", crossing.x, crossing.group))) + suffix,
                    drawing.grouped_bars(
                        values, metric=metric, x=worded(crossing.x), group=worded(crossing.group), published=published
                    ),
                    "; ".join(filter(None, caption)),
                )

    @property
    def crossed_metrics(self) -> tuple[str, ...]:
        """The objective, and what is published of some setting."""
        published = (name for row in self.table.settings for name in row.published if name in self.table.metrics)
        return tuple(dict.fromkeys((self.sweep.objective, *published)))

    @cached_property
    def crossed(self) -> list[dict[str, Any]]:
        """Small tables over two axes, as the thesis' A.1 and A.2."""
        found = []
        for crossing in crossings(self.table, self.sweep.objective):
            if crossing.group is not None:
                found += [self._crossed(crossing, metric) for metric in self.crossed_metrics]
        return found

    def _crossed(self, crossing: Crossing, metric: str) -> dict[str, Any]:
        cells = {
            key: {"value": number(metric, row.mean(metric)), "published": number(metric, row.published.get(metric))}
            for key, row in crossing.cells.items()
        }
        nothing = {"value": "", "published": ""}
        return {
            "title": "; ".join(filter(None, (metric_words(metric), crossing.company))),
            "corner": f"{worded(crossing.group)} \\ {worded(crossing.x)}",
            "columns": crossing.xs,
            "rows": [(group, [cells.get((x, group), nothing) for x in crossing.xs]) for group in crossing.groups],
        }

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
        highest = self.sweep.direction == "max"
        figure = drawing.cost_and_quality(points, metric=metric, unit=f"{self.unit} a trial", highest=highest)
        yield "cost", figure, "every attempt is counted, also those that failed"

    @property
    def unit(self) -> str:
        """What hours are of."""
        finals = [report.final for report in self.trials.values()]
        return "GPU-hours" if any(f is not None and "NVIDIA" in f.device for f in finals) else "worker-hours"


def reports(sweep: SweepRecord, storage: SweepStorage, sources: Sources | None = None) -> list[DataSetReport]:
    """Return the parts of a sweep's report, one a data set; `sources` as `compare` takes them."""
    tables = compare(sweep, lambda entry: result_of(storage.trial_of(entry)), sources)
    return [DataSetReport(sweep, table, storage) for table in tables]


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
