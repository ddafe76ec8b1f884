"""Figures that compare settings, drawn from a data set's report."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from sweep.comparison.dataset_report import DataSetReport, ReportRow
from sweep.comparison.wording import metric_words
from sweep.console.formatting import axis_label, time_unit
from sweep.figures import classifier_curves as curves
from sweep.figures import comparison as drawing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    NamedFigure = tuple[str, Figure, str]
    """File name without suffix, figure, and caption."""


def comparison_figures(part: DataSetReport) -> "Iterator[NamedFigure]":
    """Yield the comparison figures of a data set: ranking, grouped bars, classifiers, cost.

    Args:
        part: Report of the data set; its metrics are shares between 0 and 1, its times hours.
    """
    points = [_point(row, part.sweep.objective) for row in _with_values(part.rows, part.sweep.objective)]
    if points:
        yield "ranking", drawing.ranking(points, metric=part.sweep.objective), _ranking_caption(part, points)
    yield from _bars(part)
    yield from _classifiers(part)
    yield from _cost(part)


def _with_values(rows: Sequence[ReportRow], metric: str) -> list[ReportRow]:
    return [one for one in rows if one.row.is_defined(metric)]


def _point(one: ReportRow, metric: str) -> drawing.MetricPoint:
    cell = one.cells[metric]
    return drawing.MetricPoint(
        one.label, _known(cell.mean), cell.seeds, cell.images, cell.published, baseline=bool(one.row.label)
    )


def _ranking_caption(part: DataSetReport, points: Sequence[drawing.MetricPoint]) -> str:
    baselines = " and baselines (orange, square)" if any(point.baseline for point in points) else ""
    words = [f"{metric_words(part.sweep.objective)} of settings (blue, round){baselines}"]
    if any(point.seeds for point in points):
        words.append("thick line: 95 % over seeds")
    if any(point.images for point in points):
        words.append("thin line: 95 % over the evaluated images")
    if any(point.published is not None for point in points):
        words.append(f"diamond: {part.sweep.published_source}")
    return "; ".join(words)


def _bars(part: DataSetReport) -> "Iterator[NamedFigure]":
    """Yield grouped bars over each pair of axes, as figures 4.7 and 4.8 of the thesis."""
    for metric, pivots in part.pivots.items():
        suffix = "" if metric == part.sweep.objective else f"_{metric.partition('/')[2]}"
        for pivot in pivots:
            cells = {key: part.row_of(row).cells[metric] for key, row in pivot.cells.items()}
            values = {key: (_known(cell.mean), cell.seeds or cell.images) for key, cell in cells.items()}
            published = {key: cell.published for key, cell in cells.items() if cell.published is not None}
            caption = [metric_words(metric), pivot.fixed_axes]
            if any(interval for _, interval in values.values()):
                caption.append("lines: 95 % over seeds, over images with one seed")
            caption += [f"diamond: {part.sweep.published_source}"] if published else []
            yield (
                "_".join(filter(None, ("bars", pivot.x, pivot.group))) + suffix,
                drawing.grouped_bars(
                    values,
                    metric=metric,
                    x=axis_label(pivot.x),
                    group=axis_label(pivot.group or ""),
                    published=published,
                ),
                "; ".join(filter(None, caption)),
            )


def _classifiers(part: DataSetReport) -> "Iterator[NamedFigure]":
    """Yield figures of binary questions for the best settings, by classifier."""
    for one in part.classifiers:
        which = (
            f"the best {len(one.trade_offs)} of {count} settings"
            if (count := one.settings) > len(one.trade_offs)
            else ""
        )
        caption = "; ".join(filter(None, ("test split", which)))
        figure = curves.sensitivity_specificity(one.trade_offs, about=one.words)
        yield f"sensitivity_{one.name}", figure, f"{caption}; lines: 95 % over images"
        if one.curves:
            caption += "; first seed" if part.table.seeds > 1 else ""
            yield f"roc_{one.name}", curves.roc_curves(one.curves, about=one.words), caption
            yield (
                f"precision_recall_{one.name}",
                curves.precision_recall_curves(one.curves, about=one.words),
                caption,
            )
            yield f"calibration_{one.name}", curves.calibration_curves(one.curves, about=one.words), caption


def _cost(part: DataSetReport) -> "Iterator[NamedFigure]":
    metric = part.sweep.objective
    rows = [one for one in _with_values(part.rows, metric) if not one.row.label and one.row.hours > 0]
    if len(rows) < 2:
        return
    costs = [one.row.hours / len(one.row.trials) for one in rows]
    unit, factor = time_unit(max(costs))
    values = (_known(one.cells[metric].mean) for one in rows)
    points = [(one.label, factor * cost, value) for one, cost, value in zip(rows, costs, values, strict=True)]
    highest = part.sweep.direction == "max"
    figure = drawing.cost_and_quality(points, metric=metric, unit=f"{part.device} {unit} per trial", highest=highest)
    yield "cost", figure, "every attempt is counted, also those that failed"


def _known(mean: float | None) -> float:
    assert mean is not None
    return mean
