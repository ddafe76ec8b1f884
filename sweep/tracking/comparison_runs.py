"""Comparison of a sweep in MLflow: figures and table at the parent run, tags at the children."""

from typing import TYPE_CHECKING

from sweep.comparison.dataset_report import dataset_reports
from sweep.comparison.table import ComparisonRow
from sweep.console.formatting import slug
from sweep.figures.fonts import fit_for_png
from sweep.figures.style import COLOURS, REST
from sweep.report.comparison_figures import comparison_figures
from sweep.report.csv_tables import as_csv, comparison_rows
from sweep.tracking.mlflow_runs import MlflowRuns
from sweep.tracking.run_tags import BEST, COLOUR, SETTING
from sweep.tracking.trial_facts import TrialFacts
from trainables.printing.printable_text import markdown_text

if TYPE_CHECKING:
    from sweep.comparison.dataset_report import DataSetReport
    from sweep.records.sweep_storage import SweepStorage

MOST_TAGGED = 1000
"""Maximum number of trials for which each is tagged, since every tag is a call to the server."""


def write_comparison(runs: MlflowRuns, storage: "SweepStorage") -> None:
    """Write the comparison of the sweep's trials in their present state; repeated writes replace it."""
    sweep = storage.whole_sweep(runs.sweep.name) or runs.sweep  # later stages may have been added since the sweep began
    parent = runs.parent()
    parts = dataset_reports(sweep, storage)
    runs.show_view(list(dict.fromkeys(metric for part in parts for metric in part.table.metrics)))
    runs.show_conclusions([_conclusion(part) for part in parts])
    for part in parts:
        table = part.table
        folder = f"comparison/{slug(table.dataset)}" if len(parts) > 1 else "comparison"
        for name, figure, _ in comparison_figures(part):
            fit_for_png(figure)
            runs.client.log_figure(parent, figure, f"{folder}/{name}.png")
        runs.client.log_text(parent, as_csv(comparison_rows(part)), f"{folder}/comparison.csv")
        _show_best(runs, storage, part, f"{slug(table.dataset)}/" if len(parts) > 1 else "")
        for number, one in enumerate((*part.rows, *part.halved) if len(sweep.trials) <= MOST_TAGGED else ()):
            # As on the page; without it, MLflow draws the seeds of a setting in different colours.
            colour = REST if one.row.label else COLOURS[number % len(COLOURS)]
            tags = {SETTING: one.label, BEST: _word(one.row, table.best), COLOUR: colour}
            for trial in one.row.trials:
                if trial.result.status != "waiting":  # a waiting trial has no run, and gets none
                    runs.set_tags(TrialFacts.of(trial.entry, storage), tags)


def _conclusion(part: "DataSetReport") -> str:
    """Return the conclusions for one data set in Markdown."""
    return f"**{markdown_text(part.table.dataset)}**: {markdown_text(' '.join(part.conclusions))}"


def _show_best(runs: MlflowRuns, storage: "SweepStorage", part: "DataSetReport", prefix: str) -> None:
    """Write the best setting's metrics to the sweep's run, with the data set as prefix if there are several."""
    best = part.table.best
    if best is None:
        return
    names = dict.fromkeys(name for trial in best.finished for name in trial.result.metrics)
    means = {f"{prefix}{name}": mean for name in names if (mean := best.mean(name)) is not None}
    last = [storage.trial_of(trial.entry).epochs()[-1] for trial in best.finished]
    epoch, time_ms = (max(getattr(one, field) for one in last) for field in ("epoch", "time_ms"))
    runs.show_best(means, f"{prefix}{best.words(part.table.axes)}", epoch, time_ms)


def _word(row: ComparisonRow, best: ComparisonRow | None) -> str:
    if row is best:
        return "best"
    if row.halved:
        return "halved"
    return "maybe" if row.maybe_best else "baseline" if row.label else "no"
