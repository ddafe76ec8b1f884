"""Draws a comparison in the terminal."""

from collections import Counter
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from sweep.comparison.table import Row, Table, Trial
from sweep.comparison.wording import spelled
from sweep.console.app import screen
from sweep.records.sweep_record import SweepRecord
from sweep.space import SELECTED_ON_TEST
from trainables.metric_names import is_share

COLLAPSED = "collapsed: its embeddings differ in fewer than three directions; lower the learning rate or warm up longer"
MOST_LABEL = 26
"""Characters of a baseline's name that stand on one line."""
MAYBE_BEST = "●"
SHOWN = ("running", "stopped")
SMOKE_NOTICE = "SMOKE RUN: tiny encoder, few images and steps; the numbers say that the road works, and nothing else"


def print_comparison(sweep: SweepRecord, tables: Sequence[Table], console: Console | None = None) -> None:
    """Print every table with what a reader has to know of it."""
    console = console or screen()
    console.print(Text(f"\n{sweep.name}: {sweep.description}", style="bold"))
    if sweep.smoke:
        console.print(Text(SMOKE_NOTICE, style="bold yellow"))
    for table in tables:
        console.print(_draw(sweep, table))
        for trial in (trial for row in (*table.settings, *table.baselines) for trial in row.trials):
            if trial.result.status == "failed":
                console.print(Text(f"{trial.entry.name} failed, {trial.result.failure}", style="red"))
            if trial.result.collapsed:
                console.print(Text(f"{trial.entry.name} {COLLAPSED}", style="red"))
    for line in notes(sweep, tables):
        console.print(Text(f"- {line}", style="dim"))


def print_apart(sentences: Sequence[str], console: Console | None = None) -> None:
    """Print why sweeps weren't ranked together."""
    console = console or screen()
    for sentence in sentences:
        console.print(Text(sentence))


def notes(sweep: SweepRecord, tables: Sequence[Table], *, page: bool = False) -> list[str]:
    """Return what has to be said beside the tables, in the terminal or on a page, which shows intervals otherwise."""
    split = sweep.objective.split("/", maxsplit=1)[0]
    lines = [f"ranked by {sweep.objective} ({split} split), final epoch; shares in percent"]
    if sweep.selected_on == "test":
        lines.append(SELECTED_ON_TEST)
    lines += _about_seeds(tables, page)
    if any(row.published for table in tables for row in table.settings):
        smoke = ", of the full-size setting that the row stands for" if sweep.smoke else ""
        lines.append(f"{'◇' if page else 'after the slash'}: {sweep.published_source}{smoke}")
    lines += [f"not decided yet: {name}" for name in sweep.pending]
    return [*lines, *sweep.caveats]


def _about_seeds(tables: Sequence[Table], page: bool) -> list[str]:
    if any(table.seeds > 1 for table in tables):
        half = "" if page else ", and half the width of its 95 % t-interval: how much another seed changes"
        lines = [f"mean over seeds{half}"]
        if any(row.maybe_best for table in tables for row in table.settings):
            lines.append(f"{MAYBE_BEST} can't be told from the best (Hsu's comparison with the best; errs in 5 %)")
        return lines
    if any(len(table.settings) > 1 for table in tables):
        return ["one seed a setting: how much another seed would change isn't known, so the order may be chance"]
    return []


def _draw(sweep: SweepRecord, table: Table) -> RichTable:
    drawn = RichTable(
        title=table.dataset,
        title_justify="left",
        title_style="bold",
        header_style="",
        box=box.SIMPLE_HEAD,
        collapse_padding=True,
        pad_edge=False,
    )
    if table.of_several_sweeps:
        drawn.add_column("sweep")
    labels = [row.kind for row in table.baselines]
    for number, name in enumerate(table.axes or ("",)):
        # The first column holds baselines' names, too.
        width = min(MOST_LABEL, max(map(len, labels), default=0)) if number == 0 else None
        drawn.add_column(name.replace("_", " "), justify="left" if width else "right", min_width=width)
    for name in table.metrics:
        starred = Text(name.replace("/", "\n").replace("_", " "), style="bold" if name == sweep.objective else "")
        drawn.add_column(starred, justify="right")
    if table.seeds > 1:
        drawn.add_column("seeds", justify="right")
    drawn.add_column("time", justify="right")
    drawn.add_column("status")
    for row in table.settings:
        cells = [spelled(row.config[name]) for name in table.axes] or ["the setting"]
        if row.maybe_best:
            cells[0] = f"{MAYBE_BEST} {cells[0]}"
        drawn.add_row(
            *_sweeps(table, row), *cells, *_numbers(table, row), style="bold green" if row is table.best else ""
        )
    drawn.add_section()
    for row in table.baselines:
        # What baselines differ in has its column, unless that is the first.
        told = [spelled(row.config[name]) if name in row.told else "" for name in table.axes[1:]]
        label = row.label if set(row.told) - set(table.axes[1:]) else row.kind
        drawn.add_row(*_sweeps(table, row), label, *told, *_numbers(table, row), style="cyan")
    return drawn


def _sweeps(table: Table, row: Row) -> list[str]:
    return [row.sweeps] if table.of_several_sweeps else []


def _numbers(table: Table, row: Row) -> list[str]:
    cells = [_cell(row, name) for name in table.metrics]
    if table.seeds > 1:
        cells.append(str(len(row.finished)))
    return [*cells, duration(sum(trial.result.seconds for trial in row.trials)), _status(row)]


def _status(row: Row) -> str:
    """Return how the trials of a setting stand: each state once, with what needs to be known of it."""
    counts = Counter(_described(trial) for trial in row.trials)
    if len(counts) == 1:
        return next(iter(counts))
    return "; ".join(f"{count} {state}" for state, count in counts.items())


def _described(trial: Trial) -> str:
    result, planned = trial.result, trial.entry.config["epochs"]
    part = "" if result.epoch == planned else f", epoch {result.epoch}/{planned}"
    alarm = ", COLLAPSED" if result.collapsed else ""
    retried = f", after {result.troubles}" if result.troubles and result.status != "failed" else ""
    return result.status + part + retried + alarm


def _cell(row: Row, metric: str) -> str:
    """Return the mean over finished seeds with its uncertainty; while none has finished, how the first stands."""
    ours, interval = row.mean(metric), row.interval(metric)
    if not row.finished:
        ours = next((t.result.metrics.get(metric) for t in row.trials if t.result.status in SHOWN), None)
    text = "" if ours is None else _shown(metric, ours)
    if interval is not None and ours is not None:
        # The side that the range of a share doesn't cut off.
        text += f" ± {_shown(metric, max(interval.high - ours, ours - interval.low))}"
    published = row.published.get(metric)
    return text if published is None else f"{text or '-'} / {_shown(metric, published)}"


def _shown(metric: str, value: float) -> str:
    return percent(value) if is_share(metric) else f"{value:.4g}"


def percent(share: float) -> str:
    """Return a share as percent with two decimals, as the thesis prints them."""
    return "undefined" if share != share else f"{100 * share:.2f}"


def duration(seconds: float) -> str:
    """Return a duration that reads: 12.3 s, 4 min 05 s, 3 h 20 min."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
