"""Live table of running trials for the terminal."""

import re
from collections.abc import Iterable, Sequence

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from sweep.console.formatting import duration, percent
from sweep.console.printing import text
from sweep.records.status import LiveTrial
from trainables.metrics import names
from trainables.printing.printable_text import printable

SHOWN = (names.CONTRASTIVE_LOSS, names.CONTRASTIVE_ACCURACY, names.SUPERVISED_ACCURACY)
STYLES = {"failed": "red", "finished": "green", "waiting": "dim", "stopped": "yellow", "retrying": "yellow"}
MOST_ROWS = 40
"""Number of trials above which the table shows only running ones, and counts the others."""
LEAST_NAME = 20
"""Minimum number of characters left for a trial's name."""
LEFT_OUT = (
    *(names.GPU_MEMORY, names.CONTRASTIVE_ACCURACY, names.SUPERVISED_ACCURACY, "attempt", names.IMAGES_PER_SECOND),
    names.CONTRASTIVE_LOSS,
)
"""Columns in the order in which they are left out on a narrow terminal."""
_FRAME = 3
"""Characters of a border and its padding."""
MOST_CUT = 4
"""Maximum length of a shortened name that shows only its beginning."""


def shown_columns(objective: str) -> tuple[str, ...]:
    """Return the metrics that a table of running trials shows."""
    held_out = objective.split("/", maxsplit=1)[0]
    return tuple(dict.fromkeys((*SHOWN, f"{held_out}/{names.TOP1}", objective, names.IMAGES_PER_SECOND)))


def draw_trials(
    trials: list[LiveTrial], counts: dict[str, int], columns: Iterable[str], left_seconds: float | None, waits: str = ""
) -> RenderableType:
    """Return the table of trials, with failed trials, what trials wait for, and counts below."""
    shown = trials
    if len(trials) > MOST_ROWS:
        shown = [trial for trial in trials if trial.state not in ("waiting", "finished")][:MOST_ROWS]
    used = [names.GPU_MEMORY] if any(names.GPU_MEMORY in trial.metrics for trial in trials) else []
    table = TrialsTable(shown, (*columns, *used))
    troubled = [trial for trial in trials if trial.state in ("failed", "retrying") and trial.note][:MOST_ROWS]
    notes = [text(f"{trial.name}: {trial.note}", STYLES[trial.state]) for trial in troubled]
    notes += [text(waits, "yellow")] if waits else []
    summary = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    if left_seconds is not None and any(counts.get(status) for status in ("waiting", "running", "retrying")):
        summary += f"; about {duration(left_seconds)} left"
    return Group(table, *notes, text(summary))


class TrialsTable:
    """Table of running trials that fits the terminal: names are shortened first, then columns left out."""

    def __init__(self, trials: Sequence[LiveTrial], metrics: Sequence[str]) -> None:
        self._trials = trials
        self._cells = {"status": [trial.state for trial in trials]}
        self._cells["epoch"] = [f"{trial.epoch}/{trial.epochs}" for trial in trials]
        for name in metrics:
            self._cells[name] = [metric_text(trial.metrics, name) for trial in trials]
        self._cells["attempt"] = [str(trial.attempt) if trial.attempt > 1 else "" for trial in trials]
        self._cells["left"] = [_left(trial) for trial in trials]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the table for the console's width."""
        columns, width = self._fitting(options.max_width)
        table = Table()
        table.add_column("trial", no_wrap=True)
        for name in columns:
            table.add_column(Text("\n".join(_header(name))), justify="right", no_wrap=True)
        for number, trial in enumerate(self._trials):
            row = (shortened_name(printable(trial.name), width), *(self._cells[name][number] for name in columns))
            table.add_row(*map(text, row), style=STYLES.get(trial.state, ""))
        yield table

    def _fitting(self, width: int) -> tuple[list[str], int]:
        """Return the columns that fit, and the characters that are left for names."""
        columns = list(self._cells)
        longest = max((len(printable(trial.name)) for trial in self._trials), default=LEAST_NAME)
        for name in (*(name for name in LEFT_OUT if name in columns), *columns[2:-1]):
            if self._room(columns, width) >= min(longest, LEAST_NAME):
                break
            if name in columns:
                columns.remove(name)
        return columns, max(min(longest, self._room(columns, width)), 1)

    def _room(self, columns: Sequence[str], width: int) -> int:
        widths = [max(map(len, (*_header(name), *self._cells[name]))) for name in columns]
        return width - sum(widths) - _FRAME * (len(columns) + 1) - 1


def shortened_name(name: str, most: int) -> str:
    """Return a name shortened to `most` characters: its beginning and its end, which distinguish trials."""
    if len(name) <= most:
        return name
    end = (most - 1) * 2 // 3
    return f"{name[: most - 1 - end]}…{name[len(name) - end :]}" if most > MOST_CUT else name[:most]


def _header(name: str) -> list[str]:
    """Return a column's header with one word per line, since the numbers are narrower."""
    return [printable(part) for part in re.split("[/_]", name)]


def _left(trial: LiveTrial) -> str:
    return "" if trial.left_seconds is None else duration(trial.left_seconds)


def metric_text(metrics: dict[str, float], name: str) -> str:
    """Return a metric of a running trial as a cell of the table."""
    if name not in metrics:
        return ""
    if name == names.IMAGES_PER_SECOND:
        return f"{metrics[name]:,.0f}"
    if name == names.GPU_MEMORY:
        return f"{metrics[name]:.1f}"
    return percent(metrics[name]) if names.is_share(name) else f"{metrics[name]:.4g}"
