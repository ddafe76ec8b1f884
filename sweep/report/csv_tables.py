"""CSV tables of a report, as rows of plain values."""

import csv
import io
from collections.abc import Iterable, Iterator
from typing import Any

from sweep.comparison.cells import ComparisonCell
from sweep.comparison.dataset_report import DataSetReport
from sweep.comparison.pool_leaks import PoolLeaks
from sweep.comparison.split_comparison import SplitComparison
from trainables.printing.printable_text import csv_cell


def as_csv(rows: Iterable[dict[str, Any]]) -> str:
    """Return rows as CSV, with the columns of all rows in order of first appearance.

    A text that a spreadsheet would evaluate as a formula gets a leading apostrophe.
    """
    found = list(rows)
    text = io.StringIO()
    columns = list(dict.fromkeys(name for row in found for name in row))
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(csv_cell, columns))
    writer.writerows([csv_cell(row.get(name, "")) for name in columns] for row in found)
    return text.getvalue()


def comparison_rows(part: DataSetReport) -> Iterator[dict[str, Any]]:
    """Yield the table for other programs: one row per setting, with both intervals of each metric."""
    leaks = _leaks(part.table.leaks)
    for one in part.rows:
        row = one.row
        yield {
            **_of(row.sweeps),
            "dataset": part.table.dataset,
            "setting": one.label,
            **{axis: row.config.get(axis) for axis in part.table.axes},
            "trials": " ".join(trial.entry.trial_id for trial in row.trials),
            "finished": len(row.finished),
            **({"leaks": leaks} if leaks else {}),
            "maybe_best": row.maybe_best,
            "hours": round(one.row.hours, 4),
            **{key: value for metric, cell in one.cells.items() for key, value in _columns(metric, cell).items()},
        }


def ended_rows(part: DataSetReport) -> Iterator[dict[str, Any]]:
    """Yield one row per setting that halving stopped: its last epoch, and the mean of each metric there."""
    for one in part.halved:
        yield {
            **_of(one.row.sweeps),
            "dataset": part.table.dataset,
            "setting": one.label,
            **{axis: one.row.config.get(axis) for axis in part.table.axes},
            "trials": " ".join(trial.entry.trial_id for trial in one.row.trials),
            "ended at epoch": one.row.halved,
            "hours": round(one.row.hours, 4),
            **{f"{metric} at that epoch": cell.mean for metric, cell in one.cells.items()},
        }


def _columns(metric: str, cell: ComparisonCell) -> dict[str, float | None]:
    return {
        metric: cell.mean,
        f"{metric} seeds low": cell.seeds and cell.seeds.low,
        f"{metric} seeds high": cell.seeds and cell.seeds.high,
        f"{metric} images low": cell.images and cell.images.low,
        f"{metric} images high": cell.images and cell.images.high,
        f"{metric} published": cell.published,
    }


def trial_rows(part: DataSetReport) -> Iterator[dict[str, Any]]:
    """Yield one row per trial."""
    for one in (*part.rows, *part.halved):
        for trial in one.row.trials:
            yield {
                **_of(", ".join(trial.sweeps)),
                "trial": trial.entry.name,
                "trial_id": trial.entry.trial_id,
                "setting": one.label,
                "status": trial.result.status,
                "epoch": trial.result.epoch,
                "hours": part.trials[trial.entry.trial_id].hours,
                **trial.entry.config,
                **trial.result.metrics,
            }


def epoch_rows(part: DataSetReport) -> Iterator[dict[str, Any]]:
    """Yield one row per epoch of a trial."""
    for report in part.trials.values():
        for record in report.epochs:
            yield {
                **_of(", ".join(report.trial.sweeps)),
                "trial": report.trial.entry.name,
                "epoch": record.epoch,
                "seconds": record.seconds,
                **record.metrics,
            }


def split_rows(splits: Iterable[SplitComparison]) -> Iterator[dict[str, Any]]:
    """Yield one row per setting: its values on a random and on a spatial split, and their difference."""
    for found in splits:
        for row in found.rows:
            sides = {"random": (found.random, row.random), "spatial": (found.spatial, row.spatial)}
            yield {
                "setting": row.label,
                "metric": found.metric,
                **{side: f"{split.dataset}: {split.rule}" for side, (split, _) in sides.items()},
                **{f"leaks on {side}": _leaks(split.leaks) for side, (split, _) in sides.items()},
                **{f"on {side}": cell.mean for side, (_, cell) in sides.items()},
                "difference": row.difference,
                "images low": row.images and row.images.low,
                "images high": row.images and row.images.high,
                "seeds low": row.seeds and row.seeds.low,
                "seeds high": row.seeds and row.seeds.high,
            }


def _leaks(leaks: Iterable[PoolLeaks]) -> str:
    return "; ".join(f"{found.counted} {found.pool}" for found in leaks)


def _of(sweeps: str) -> dict[str, str]:
    """Return the column with the sweeps' names, if several sweeps are compared."""
    return {"sweep": sweeps} if sweeps else {}
