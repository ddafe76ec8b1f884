"""What a person sees while trials run: one live table on a terminal, else a plain line an event."""

import threading
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self, TextIO

from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from sweep import command_line
from sweep.compare_table import duration, percent
from sweep.records import TrialEntry
from sweep.tasks import TrialTask
from trainables import metric_names as names
from trainables.trial_files import EpochRecord, FailureRecord

SHOWN = (names.CONTRASTIVE_LOSS, names.CONTRASTIVE_ACCURACY, names.SUPERVISED_ACCURACY)


@dataclass
class _State:
    entry: TrialEntry
    status: str = "waiting"
    epoch: int = 0
    metrics: dict[str, float] = field(default_factory=dict)
    since: float = 0.0
    epochs_here: int = 0
    """Epochs that were trained since `since`."""
    note: str = ""

    @property
    def epochs(self) -> int:
        """Epochs planned."""
        return int(self.entry.config["epochs"])

    def left(self) -> str:
        """Return the time left at the pace so far, or nothing while there is none."""
        if self.status != "running" or not self.epochs_here or self.epoch == self.epochs:
            return ""
        return duration((time.monotonic() - self.since) / self.epochs_here * (self.epochs - self.epoch))


class Progress:
    """A Listener that shows; also told of trials that were finished before."""

    def __init__(self, screen: TextIO, objective: str) -> None:
        self._console = command_line.screen(screen)
        self._states: dict[str, _State] = {}
        self._lock = threading.Lock()
        self._objective = objective
        self._live = Live(get_renderable=self._draw, console=self._console, refresh_per_second=2, redirect_stdout=False)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def add(self, entries: tuple[TrialEntry, ...]) -> None:
        """Show more trials as waiting."""
        with self._lock:
            for entry in entries:
                self._states.setdefault(entry.trial_id, _State(entry))

    def say(self, text: str) -> None:
        """Print a line above the table."""
        self._console.print(Text(text))

    def reused(self, entry: TrialEntry) -> None:
        """Show a trial that was finished before this run."""
        self._change(entry.trial_id, status="finished", epoch=int(entry.config["epochs"]), note="done before")
        self._tell(entry.trial_id, "finished before, not trained again")

    def started(self, task: TrialTask) -> None:
        """Show that the trial runs."""
        self._change(task.trial_id, status="running", since=time.monotonic(), epochs_here=0)
        self._tell(task.trial_id, "started")

    def epoch(self, task: TrialTask, record: EpochRecord) -> None:
        """Show an epoch's numbers."""
        state = self._states[task.trial_id]
        self._change(task.trial_id, epoch=record.epoch, metrics=dict(record.metrics), epochs_here=state.epochs_here + 1)
        numbers = ", ".join(f"{name} {text}" for name in self._columns() if (text := _number(record.metrics, name)))
        left = f", {state.left()} left" if state.left() else ""
        self._tell(task.trial_id, f"epoch {record.epoch}/{state.epochs}: {numbers}{left}")

    def finished(self, task: TrialTask) -> None:
        """Show that the trial is done."""
        self._change(task.trial_id, status="finished")
        self._tell(task.trial_id, "finished")

    def failed(self, task: TrialTask, failure: FailureRecord) -> None:
        """Show why the trial failed."""
        self._change(task.trial_id, status="failed", note=f"{failure.kind}: {failure.message}")
        self._tell(task.trial_id, f"FAILED, {failure.kind}: {failure.message}")

    def _change(self, trial_id: str, **changes: object) -> None:
        with self._lock:
            for name, value in changes.items():
                setattr(self._states[trial_id], name, value)

    def _tell(self, trial_id: str, text: str) -> None:
        if not self._console.is_terminal:
            self._console.print(Text(f"{self._states[trial_id].entry.name}  {text}"), soft_wrap=True)

    def _columns(self) -> tuple[str, ...]:
        held_out = self._objective.split("/", maxsplit=1)[0]
        return tuple(dict.fromkeys((*SHOWN, f"{held_out}/{names.TOP1}", self._objective)))

    def _draw(self) -> RenderableType:
        table = Table()
        table.add_column("trial", no_wrap=True)
        for name in ("status", "epoch", *self._columns(), "left"):
            table.add_column(name.replace("/", "\n").replace("_", " "), justify="right")
        with self._lock:
            states = list(self._states.values())
        for state in states:
            style = {"failed": "red", "finished": "green", "waiting": "dim"}.get(state.status, "")
            numbers = [_number(state.metrics, name) for name in self._columns()]
            row = (state.entry.name, state.status, f"{state.epoch}/{state.epochs}", *numbers, state.left())
            table.add_row(*row, style=style)
        failures = [Text(f"{s.entry.name}: {s.note}", style="red") for s in states if s.status == "failed"]
        return Group(table, *failures)


def _number(metrics: dict[str, float], name: str) -> str:
    if name not in metrics:
        return ""
    return f"{metrics[name]:.3f}" if name == names.CONTRASTIVE_LOSS else percent(metrics[name])
