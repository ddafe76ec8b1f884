"""The table of running trials, for the terminal."""

from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from sweep.console.formatting import duration, percent
from sweep.console.printing import text
from sweep.records.status import LiveTrial
from trainables import metric_names as names
from trainables.printable_text import printable

SHOWN = (names.CONTRASTIVE_LOSS, names.CONTRASTIVE_ACCURACY, names.SUPERVISED_ACCURACY)
STYLES = {"failed": "red", "finished": "green", "waiting": "dim", "stopped": "yellow", "retrying": "yellow"}
MOST_ROWS = 40
"""Above so many trials the table shows those that run, and counts the others."""


def shown_columns(objective: str) -> tuple[str, ...]:
    """Return the metrics that a table of running trials shows."""
    held_out = objective.split("/", maxsplit=1)[0]
    return tuple(dict.fromkeys((*SHOWN, f"{held_out}/{names.TOP1}", objective, names.IMAGES_PER_SECOND)))


def draw_trials(
    trials: list[LiveTrial], counts: dict[str, int], columns: Iterable[str], left_seconds: float | None
) -> RenderableType:
    """Return the table of trials, those that failed below it, and the counts."""
    table = Table()
    table.add_column("trial", no_wrap=True)
    used = [names.GPU_MEMORY] if any(names.GPU_MEMORY in trial.metrics for trial in trials) else []
    columns = (*columns, *used)
    for name in ("status", "epoch", *columns, "attempt", "left"):
        header = "\n".join(printable(part) for part in name.replace("_", " ").split("/"))
        table.add_column(Text(header), justify="right")
    shown = trials
    if len(trials) > MOST_ROWS:
        shown = [trial for trial in trials if trial.state not in ("waiting", "finished")][:MOST_ROWS]
    for trial in shown:
        numbers = [metric_text(trial.metrics, name) for name in columns]
        left = "" if trial.left_seconds is None else duration(trial.left_seconds)
        attempt = str(trial.attempt) if trial.attempt > 1 else ""
        row = (trial.name, trial.state, f"{trial.epoch}/{trial.epochs}", *numbers, attempt, left)
        table.add_row(*map(text, row), style=STYLES.get(trial.state, ""))
    troubled = [trial for trial in trials if trial.state in ("failed", "retrying") and trial.note][:MOST_ROWS]
    notes = [text(f"{trial.name}: {trial.note}", STYLES[trial.state]) for trial in troubled]
    summary = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    if left_seconds is not None and any(counts.get(status) for status in ("waiting", "running", "retrying")):
        summary += f"; about {duration(left_seconds)} left"
    return Group(table, *notes, text(summary))


def metric_text(metrics: dict[str, float], name: str) -> str:
    if name not in metrics:
        return ""
    if name == names.IMAGES_PER_SECOND:
        return f"{metrics[name]:,.0f}"
    if name == names.GPU_MEMORY:
        return f"{metrics[name]:.1f}"
    return f"{metrics[name]:.3f}" if name == names.CONTRASTIVE_LOSS else percent(metrics[name])
