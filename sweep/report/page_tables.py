"""Tables of the report page: numbers as text."""

from typing import Any

from sweep.comparison.cells import ComparisonCell
from sweep.comparison.dataset_report import DataSetReport, ReportRow
from sweep.comparison.pivots import PivotTable
from sweep.comparison.trial_report import TrialReport
from sweep.comparison.wording import metric_words, spelled
from sweep.console.formatting import axis_label, duration, interval, number, signed_number
from sweep.report.status_words import status_words
from trainables.metrics.names import is_share


def setting_rows(part: DataSetReport) -> list[dict[str, Any]]:
    """Return the rows of the main table, one per setting or baseline."""
    return [_setting_row(part, one) for one in part.rows]


def halved_rows(part: DataSetReport) -> list[dict[str, Any]]:
    """Return the rows of the table of settings that halving stopped, longest first."""
    rows = sorted(part.halved, key=lambda one: -one.row.halved)
    return [{**_setting_row(part, one), "epoch": one.row.halved, "seeds": len(one.row.trials)} for one in rows]


def _setting_row(part: DataSetReport, one: ReportRow) -> dict[str, Any]:
    row = one.row
    return {
        "label": row.label,
        "sweeps": row.sweeps,
        "axes": [spelled(row.config[axis], axis) for axis in part.table.axes] or ["the setting"],
        "cells": [_cell(metric, cell) for metric, cell in one.cells.items()],
        "seeds": f"{len(row.finished)} of {len(row.trials)}",
        "status": "" if len(row.finished) == len(row.trials) else status_words(row),
        "time": duration(3600 * one.row.hours),
        "seconds": round(3600 * one.row.hours, 1),
        "best": row is part.table.best,
        "maybe_best": bool(row.maybe_best),
    }


def _cell(metric: str, cell: ComparisonCell) -> dict[str, str]:
    both = cell.mean is not None and cell.published is not None
    return {
        "value": number(metric, cell.mean),
        "sort": "" if cell.mean is None else f"{cell.mean:.6g}",
        "seeds": interval(metric, cell.seeds),
        "images": interval(metric, cell.images) or cell.too_few,
        "published": number(metric, cell.published),
        "difference": signed_number(metric, cell.mean - cell.published) if both else "",  # type: ignore[operator]
    }


def pivot_rows(part: DataSetReport) -> list[dict[str, Any]]:
    """Return pivot tables over pairs of axes, as A.1 and A.2 of the thesis: pair by pair, each with all metrics."""
    tables = [pivot for pivot in part.pivots[part.sweep.objective] if pivot.group is not None]
    return [_pivot(part, metric, pivot) for pivot in tables for metric in part.pivots]


def _pivot(part: DataSetReport, metric: str, pivot: PivotTable) -> dict[str, Any]:
    cells = {key: part.row_of(row).cells[metric] for key, row in pivot.cells.items()}
    shown = {
        key: {"value": number(metric, cell.mean), "published": number(metric, cell.published)}
        for key, cell in cells.items()
    }
    nothing = {"value": "", "published": ""}
    title = "; ".join(filter(None, (metric_words(metric), pivot.fixed_axes)))
    return {
        "title": f"{title} (%)" if is_share(metric) else title,
        "corner": f"{axis_label(pivot.group or '')} \\ {axis_label(pivot.x)}",
        "columns": pivot.xs,
        "rows": [(group, [shown.get((x, group), nothing) for x in pivot.xs]) for group in pivot.groups],
    }


def held_out_metrics(part: DataSetReport, report: TrialReport) -> dict[str, float]:
    """Return a trial's validation and test metrics at its last epoch; those in the comparison table come first."""
    found = report.trial.result.metrics
    order = dict.fromkeys((*part.table.metrics, *found))
    return {name: found[name] for name in order if name in found and name.startswith(("val/", "test/"))}
