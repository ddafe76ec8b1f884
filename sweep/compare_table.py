"""Draws a comparison in the terminal."""

from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from sweep.command_line import screen
from sweep.compare import Row, Table
from sweep.records import SweepRecord
from sweep.space import SELECTED_ON_TEST

COLLAPSED = "collapsed: its embeddings differ in fewer than three directions; lower the learning rate or warm up longer"
SMOKE_NOTICE = "SMOKE RUN: tiny encoder, few images and steps; the numbers say that the road works, and nothing else"


def print_comparison(sweep: SweepRecord, tables: Sequence[Table], console: Console | None = None) -> None:
    """Print every table with what a reader has to know of it."""
    console = console or screen()
    console.print(Text(f"\n{sweep.name}: {sweep.description}", style="bold"))
    if sweep.smoke:
        console.print(Text(SMOKE_NOTICE, style="bold yellow"))
    for table in tables:
        console.print(_draw(sweep, table))
        for row in (*table.settings, *table.baselines):
            if row.result.status == "failed":
                console.print(Text(f"{row.entry.name} failed, {row.result.failure}", style="red"))
            if row.result.collapsed:
                console.print(Text(f"{row.entry.name} {COLLAPSED}", style="red"))
    for line in notes(sweep, tables):
        console.print(Text(f"- {line}", style="dim"))


def notes(sweep: SweepRecord, tables: Sequence[Table]) -> list[str]:
    """Return what has to be said beside the tables."""
    split = sweep.objective.split("/", maxsplit=1)[0]
    lines = [f"ranked by {sweep.objective} ({split} split), final epoch; shares in percent"]
    if sweep.selected_on == "test":
        lines.append(SELECTED_ON_TEST)
    if any(row.published for table in tables for row in table.settings):
        smoke = ", of the full-size setting that the row stands for" if sweep.smoke else ""
        lines.append(f"after the slash: {sweep.published_source}{smoke}")
    lines += [f"not decided yet: {name}" for name in sweep.pending]
    return [*lines, *sweep.caveats]


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
    for name in table.axes:
        drawn.add_column(name.replace("_", " "), justify="right")
    for name in table.metrics:
        starred = Text(name.replace("/", "\n").replace("_", " "), style="bold" if name == sweep.objective else "")
        drawn.add_column(starred, justify="right")
    drawn.add_column("time", justify="right")
    drawn.add_column("status")
    for number, row in enumerate(table.settings):
        cells = [_spelled(row.entry.config[name]) for name in table.axes]
        best = number == 0 and row.result.status == "finished"
        drawn.add_row(*cells, *_numbers(table, row), style="bold green" if best else "")
    drawn.add_section()
    for row in table.baselines:
        blank = [row.label, *[""] * (len(table.axes) - 1)] if table.axes else []
        drawn.add_row(*blank, *_numbers(table, row), style="cyan")
    return drawn


def _numbers(table: Table, row: Row) -> list[str]:
    result = row.result
    shown = result.status in ("finished", "running")
    cells = [_cell(result.metrics.get(name) if shown else None, row.published.get(name)) for name in table.metrics]
    planned = row.entry.config["epochs"]
    part = "" if result.epoch == planned else f", epoch {result.epoch}/{planned}"
    alarm = ", COLLAPSED" if result.collapsed else ""
    return [*cells, duration(result.seconds), result.status + part + alarm]


def _cell(ours: float | None, published: float | None) -> str:
    text = "" if ours is None else percent(ours)
    return f"{text or '-'} / {percent(published)}" if published is not None else text


def percent(share: float) -> str:
    """Return a share as percent with two decimals, as the thesis prints them."""
    return "undefined" if share != share else f"{100 * share:.2f}"


def duration(seconds: float) -> str:
    """Return a duration that reads: 12.3 s, 4 min 05 s, 3 h 20 min."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def _spelled(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(_spelled(part) for part in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
