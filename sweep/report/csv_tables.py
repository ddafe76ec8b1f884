"""A report's tables for other programs: rows of plain values, and CSV."""

import csv
import io
from collections.abc import Iterable, Iterator
from typing import Any

from sweep.comparison.dataset_report import DataSetReport
from sweep.comparison.table import Row


def as_csv(rows: Iterable[dict[str, Any]]) -> str:
    """Return rows as CSV; the columns are those of all rows, in the order in which they come up."""
    found = list(rows)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(name for row in found for name in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(found)
    return text.getvalue()


def comparison_rows(part: DataSetReport) -> Iterator[dict[str, Any]]:
    """Yield the table for other programs: one row a setting, with both intervals of each metric."""
    for row in part.rows:
        yield {
            **_of(row.sweeps),
            "dataset": part.table.dataset,
            "setting": part.label(row),
            **{axis: row.config.get(axis) for axis in part.table.axes},
            "trials": " ".join(trial.entry.trial_id for trial in row.trials),
            "finished": len(row.finished),
            "maybe_best": row.maybe_best,
            "hours": round(part.hours(row), 4),
            **{key: value for metric in part.table.metrics for key, value in _cells(part, row, metric).items()},
        }


def _cells(part: DataSetReport, row: Row, metric: str) -> dict[str, float | None]:
    seeds, images = row.interval(metric), part.sampling(row, metric) if row.finished else None
    return {
        metric: row.mean(metric),
        f"{metric} seeds low": seeds and seeds.low,
        f"{metric} seeds high": seeds and seeds.high,
        f"{metric} images low": images and images.low,
        f"{metric} images high": images and images.high,
        f"{metric} published": row.published.get(metric),
    }


def trial_rows(part: DataSetReport) -> Iterator[dict[str, Any]]:
    """Yield one row a trial."""
    for row in part.rows:
        for trial in row.trials:
            yield {
                **_of(", ".join(trial.sweeps)),
                "trial": trial.entry.name,
                "trial_id": trial.entry.trial_id,
                "setting": part.label(row),
                "status": trial.result.status,
                "hours": part.trials[trial.entry.trial_id].hours,
                **trial.entry.config,
                **trial.result.metrics,
            }


def epoch_rows(part: DataSetReport) -> Iterator[dict[str, Any]]:
    """Yield one row an epoch of a trial."""
    for report in part.trials.values():
        for record in report.epochs:
            yield {
                **_of(", ".join(report.trial.sweeps)),
                "trial": report.trial.entry.name,
                "epoch": record.epoch,
                "seconds": record.seconds,
                **record.metrics,
            }


def _of(sweeps: str) -> dict[str, str]:
    """Return the column that names the sweeps, where several are compared."""
    return {"sweep": sweeps} if sweeps else {}
