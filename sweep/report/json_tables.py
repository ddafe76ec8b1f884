"""JSON of a comparison, as `sweep.compare --json` prints it; described in docs/comparison.md."""

from collections.abc import Sequence
from typing import Any

from sweep.comparison.cells import ComparisonCell
from sweep.comparison.conclusions import notes
from sweep.comparison.dataset_report import DataSetReport, ReportRow
from sweep.comparison.merged_sweeps import MergedSweep
from sweep.comparison.pool_leaks import PoolLeaks
from sweep.comparison.split_comparison import SplitComparison, SplitStore
from sweep.statistics.share_intervals import ConfidenceInterval


def comparison_value(
    merged: Sequence[MergedSweep],
    reports: Sequence[Sequence[DataSetReport]],
    not_comparable: Sequence[str],
    splits: Sequence[SplitComparison] = (),
) -> dict[str, Any]:
    """Return comparisons as plain values; None for missing numbers."""
    return {
        "comparisons": [_comparison(one, parts) for one, parts in zip(merged, reports, strict=True)],
        "not_comparable": list(not_comparable),
        "splits": [_split(found) for found in splits],
    }


def _split(found: SplitComparison) -> dict[str, Any]:
    return {
        "metric": found.metric,
        **{side: _split_store(own) for side, own in found.sides.items()},
        "rows": [
            {
                "label": row.label,
                "baseline": row.baseline,
                "random": _cell(row.random),
                "spatial": _cell(row.spatial),
                "difference": row.difference,
                "images": _interval(row.images),
                "seeds": _interval(row.seeds),
            }
            for row in found.rows
        ],
        "sentences": found.sentences,
    }


def _split_store(store: SplitStore) -> dict[str, Any]:
    return {"dataset": store.dataset, "rule": store.rule, "leaks": [_leaks(found) for found in store.leaks]}


def _comparison(merged: MergedSweep, parts: Sequence[DataSetReport]) -> dict[str, Any]:
    record = merged.record
    return {
        "sweeps": merged.sweeps,
        "description": record.description,
        "objective": record.objective,
        "direction": record.direction,
        "smoke": record.smoke,
        "tables": [_table(part) for part in parts],
        "notes": notes(record, [part.table for part in parts]),
    }


def _table(part: DataSetReport) -> dict[str, Any]:
    rows = [_row(part, one) for one in part.rows]
    return {
        "dataset": part.table.dataset,
        "axes": part.table.axes,
        "metrics": part.table.metrics,
        "settings": [row for row, one in zip(rows, part.rows, strict=True) if not one.row.label],
        "baselines": [row for row, one in zip(rows, part.rows, strict=True) if one.row.label],
        "halved": [{**_row(part, one), "ended_at_epoch": one.row.halved} for one in part.halved],
        "sentences": part.conclusions,
        "label_free": _label_free(part),
        "leaks": [_leaks(found) for found in part.table.leaks],
        "hours": part.hours,
        "hours_of": f"{part.device}-hours",
    }


def _leaks(leaks: PoolLeaks) -> dict[str, Any]:
    found = leaks.found
    return {
        "pool": leaks.pool,
        "evaluation": leaks.evaluation,
        "test_images": found.tested,
        "identical": found.counts.identical,
        "nearly_identical": found.counts.near_identical,
        "overlapping": found.overlapping,
        "marked": leaks.marked,
        "examples": [*found.counts.examples, *found.footprints],
    }


def _label_free(part: DataSetReport) -> dict[str, Any] | None:
    """Return the rank agreement of label-free metrics with one that uses labels; null if undefined."""
    found = part.label_free
    return (
        None
        if found is None
        else {
            "judge": found.judge,
            "kendall_tau": {
                metric: {"tau": one.tau, "interval": _interval(one.interval), "settings": one.settings}
                for metric, one in found.agreements.items()
            },
        }
    )


def _row(part: DataSetReport, one: ReportRow) -> dict[str, Any]:
    row = one.row
    return {
        "label": one.label,
        "baseline": row.trials[0].entry.baseline,
        "sweeps": row.sweeps,
        "setting": {axis: row.config.get(axis) for axis in part.table.axes},
        "config": dict(row.config),
        "trials": [
            {
                "name": trial.entry.name,
                "trial_id": trial.entry.trial_id,
                "seed": trial.entry.config.get("seed"),
                "status": trial.result.status,
                "epoch": trial.result.epoch,
                "failure": trial.result.failure,
                "metrics": dict(trial.result.metrics),
            }
            for trial in row.trials
        ],
        "finished": len(row.finished),
        "best": row is part.table.best,
        "maybe_best": row.maybe_best,
        "hours": one.row.hours,
        "metrics": {metric: _cell(cell) for metric, cell in one.cells.items()},
    }


def _cell(cell: ComparisonCell) -> dict[str, Any]:
    return {
        "mean": cell.mean,
        "seeds": _interval(cell.seeds),
        "images": _interval(cell.images),
        "published": cell.published,
        "too_few": cell.too_few,
    }


def _interval(interval: ConfidenceInterval | None) -> dict[str, float] | None:
    return None if interval is None else {"low": interval.low, "high": interval.high}
