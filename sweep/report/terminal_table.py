"""Comparison of settings as a table in the terminal."""

import re
from collections.abc import Sequence
from dataclasses import replace

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table as RichTable
from rich.text import Text

from sweep.comparison.conclusions import MAYBE_BEST, SMOKE_NOTICE, conclusions, notes
from sweep.comparison.pool_leaks import LEAKS
from sweep.comparison.split_comparison import SplitComparison
from sweep.comparison.standing import standing
from sweep.comparison.table import ComparisonRow, ComparisonTable
from sweep.comparison.trial_outputs import TrialOutputs
from sweep.comparison.wording import COLLAPSED, metric_words, spelled
from sweep.console.formatting import axis_label, duration, half_width, number, plural, signed_interval, signed_number
from sweep.console.printing import screen, text
from sweep.records.sweep_record import SweepRecord
from sweep.report.status_words import status_words
from trainables.printing.printable_text import printable

HALVED = "ended early by halving: means over seeds at that epoch, not to be compared with those above"
MOST_LABEL = 26
"""Maximum characters of a baseline's name on one line."""
MOST_SPLIT_ROWS = 12
"""Maximum number of settings listed on both splits; the report has all."""
SHOWN = ("running", "interrupted", "stopped")
WIDEST = 10_000
"""Columns of characters that no table needs."""


def print_comparison(
    sweep: SweepRecord,
    tables: Sequence[ComparisonTable],
    outputs: TrialOutputs | None = None,
    *,
    console: Console | None = None,
) -> None:
    """Print every comparison table with its conclusion and notes.

    Args:
        sweep: Record of the sweep.
        tables: Comparison tables, one per data set.
        outputs: Outputs of the trials, from which intervals over images are computed; None omits these intervals.
        console: Console to print on; None for the terminal.
    """
    console = console or screen()
    console.print("", text(f"{sweep.name}: {sweep.description}", "bold"), sep="\n")
    if sweep.smoke:
        console.print(text(SMOKE_NOTICE, "bold yellow"))
    for table in tables:
        _print_table(console, sweep, table)
        if table.halved:
            console.print(Text(HALVED, style="bold"))
            _print_whole(console, _draw_halved(table))
        for trial in (trial for row in (*table.settings, *table.baselines, *table.halved) for trial in row.trials):
            if trial.result.status == "failed":
                console.print(text(f"{trial.entry.name} failed, {trial.result.failure}", "red"))
            if trial.result.collapsed:
                console.print(text(f"{trial.entry.name} {COLLAPSED}", "red"))
        for leaks in table.marked_leaks:
            console.print(text(leaks.sentence, "bold yellow"))
        for sentence in conclusions(sweep, table, standing(sweep, table, outputs)):
            console.print(text(sentence, "bold"))
    for line in notes(sweep, tables):
        console.print(text(f"- {line}", "dim"))


def print_splits(splits: Sequence[SplitComparison], console: Console | None = None) -> None:
    """Print settings on a random split beside a spatial one, the best on the spatial split first."""
    console = console or screen()
    for found in splits:
        title = text(f"{found.title}: {metric_words(found.metric)}")
        drawn = RichTable(title=title, title_justify="left", header_style="", box=box.SIMPLE_HEAD, pad_edge=False)
        drawn.add_column("")
        for split in (found.random, found.spatial):
            mark = f" {LEAKS}" if split.marked else ""
            drawn.add_column(Text(f"{printable(split.dataset)}{mark}\n{split.rule}"), justify="right")
        for name in ("difference", "over images"):
            drawn.add_column(name, justify="right")
        for row in found.rows[:MOST_SPLIT_ROWS]:
            cells = [number(found.metric, cell.mean) for cell in (row.random, row.spatial)]
            difference = signed_number(found.metric, row.difference)
            drawn.add_row(*map(text, [row.label, *cells, difference, signed_interval(found.metric, row.images)]))
        _print_whole(console, drawn)
        for sentence in found.sentences:
            console.print(text(sentence, "bold"))


def print_not_comparable(sentences: Sequence[str]) -> None:
    """Print why sweeps weren't ranked together."""
    console = screen()
    for sentence in sentences:
        console.print(text(sentence))


def _print_table(console: Console, sweep: SweepRecord, table: ComparisonTable) -> None:
    """Print a table; on a narrow terminal cells wrap, and metrics that don't fit are only named."""
    shown, drawn = table, _draw(sweep, table)
    if console.is_terminal and _width(console, drawn) > console.width:
        drawn = _narrow(drawn)
        while len(shown.metrics) > 1 and _width(console, drawn) > console.width:
            shown = replace(shown, metrics=shown.metrics[:-1])
            drawn = _narrow(_draw(sweep, shown))
        if _width(console, drawn) > console.width:
            drawn = _narrow(drawn, least=False)
    _print_whole(console, drawn)
    if hidden := table.metrics[len(shown.metrics) :]:
        wider = f"{plural(len(hidden), 'more column')} in a wider terminal, with --html or --json: {', '.join(hidden)}"
        console.print(text(wider, "dim"))


def _narrow(drawn: RichTable, *, least: bool = True) -> RichTable:
    """Return a table whose columns are as wide as their longest words, and with `least` no narrower than they ask."""
    for column in drawn.columns:
        words = [word for cell in (column.header, *column.cells) for word in _words(str(cell), column.no_wrap)]
        column.min_width = column.min_width if least else None
        column.width = max([column.min_width or 0, *map(cell_len, words)])
    return drawn


def _words(cell: str, whole: bool) -> list[str]:
    """Return the parts of a cell that stay on one line: a value and its ± stay together."""
    return [cell] if whole else re.split(r"[ \n](?!±)", cell)


def _print_whole(console: Console, drawn: RichTable) -> None:
    """Print a table; a file gets it as wide as its cells, a terminal within its width."""
    usual = console.width
    if not console.is_terminal:
        console.width = max(usual, _width(console, drawn))
    console.print(drawn)
    console.width = usual


def _width(console: Console, drawn: RichTable) -> int:
    """Return the width of a table in which no cell wraps."""
    return Measurement.get(console, console.options.update(max_width=WIDEST), drawn).maximum


def _draw(sweep: SweepRecord, table: ComparisonTable) -> RichTable:
    drawn = RichTable(
        title=text(f"{table.dataset} {LEAKS}" if table.marked_leaks else table.dataset),
        title_justify="left",
        title_style="bold",
        header_style="",
        box=box.SIMPLE_HEAD,
        collapse_padding=True,
        pad_edge=False,
    )
    _add_columns(drawn, sweep, table)
    for row in table.settings:
        style = "bold green" if row is table.best else ""
        drawn.add_row(*map(text, _setting_cells(table, row)), style=style)
    drawn.add_section()
    for row in table.baselines:
        drawn.add_row(*map(text, _baseline_cells(table, row)), style="cyan")
    return drawn


def _add_columns(drawn: RichTable, sweep: SweepRecord, table: ComparisonTable) -> None:
    if table.of_several_sweeps:
        drawn.add_column("sweep")
    labels = [row.kind for row in table.baselines]
    for place, name in enumerate(table.axes or ("",)):
        # The first column also contains the baselines' names.
        width = min(MOST_LABEL, max(map(len, labels), default=0)) if place == 0 else None
        whole = max(map(len, axis_label(name).split()), default=0)
        drawn.add_column(text(axis_label(name)), justify="left" if width else "right", min_width=max(width or 0, whole))
    for name in table.metrics:
        words = "\n".join(printable(axis_label(part)) for part in name.split("/"))
        starred = Text(words, style="bold" if name == sweep.objective else "")
        drawn.add_column(starred, justify="right")
    if table.seeds > 1:
        drawn.add_column("seeds", justify="right")
    drawn.add_column("time", justify="right", no_wrap=True)
    drawn.add_column("status")


def _setting_cells(table: ComparisonTable, row: ComparisonRow) -> list[str]:
    cells = [spelled(row.config[name], name) for name in table.axes] or ["the setting"]
    if row.maybe_best:
        cells[0] = f"{MAYBE_BEST} {cells[0]}"
    return [*_sweeps(table, row), *cells, *_numbers(table, row)]


def _baseline_cells(table: ComparisonTable, row: ComparisonRow) -> list[str]:
    """Return a baseline's cells; the field in which baselines differ has its own column, unless it is the first."""
    told = [spelled(row.config[name], name) if name in row.told else "" for name in table.axes[1:]]
    label = row.label if set(row.told) - set(table.axes[1:]) else row.kind
    return [*_sweeps(table, row), label, *told, *_numbers(table, row)]


def _draw_halved(table: ComparisonTable) -> RichTable:
    """Draw the settings that halving stopped, longest first."""
    drawn = RichTable(header_style="", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in (*table.axes, "ended at epoch", *(metric.replace("/", "\n") for metric in table.metrics), "seeds"):
        drawn.add_column(axis_label(name), justify="right")
    for row in sorted(table.halved, key=lambda row: -row.halved):
        reached = [number(metric, row.reached(metric)) for metric in table.metrics]
        axes = [spelled(row.config[name], name) for name in table.axes]
        drawn.add_row(*axes, str(row.halved), *reached, str(len(row.trials)))
    return drawn


def _sweeps(table: ComparisonTable, row: ComparisonRow) -> list[str]:
    return [row.sweeps] if table.of_several_sweeps else []


def _numbers(table: ComparisonTable, row: ComparisonRow) -> list[str]:
    cells = [_cell(row, name) for name in table.metrics]
    if table.seeds > 1:
        cells.append(str(len(row.finished)))
    return [*cells, duration(3600 * row.hours), status_words(row)]


def _cell(row: ComparisonRow, metric: str) -> str:
    """Return the mean over finished seeds with its uncertainty; if none has finished, one seed's present value."""
    ours, interval = row.mean(metric), row.interval(metric)
    if not row.finished:
        ours = next((t.result.metrics.get(metric) for t in row.trials if t.result.status in SHOWN), None)
    shown = "" if ours is None else number(metric, ours)
    if interval is not None and ours is not None:
        # The side of the interval that isn't clipped at the limits of a share.
        shown += f" ± {half_width(metric, ours, max(interval.high - ours, ours - interval.low))}"
    published = row.published.get(metric)
    return shown if published is None else f"{shown or '-'} / {number(metric, published)}"
