"""Progress display of a run: a live table on a terminal, else one line per event, or JSON lines."""

import threading
import time
from collections import Counter
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self, TextIO

from rich.console import RenderableType
from rich.live import Live as Screen

from sweep.console.formatting import duration
from sweep.console.printing import say_json
from sweep.console.printing import screen as make_screen
from sweep.console.printing import text as plain
from sweep.records.status import LiveState
from sweep.records.sweep_record import TrialEntry
from sweep.running.trial_listener import TrialListener
from sweep.running.trial_progress import TrialProgress, seconds_left
from sweep.running.trials_table import draw_trials, metric_text, shown_columns
from sweep.scheduling.failure import AttemptFailure
from sweep.scheduling.task import TrialTask
from trainables.printing.lasting_output import is_lost
from trainables.printing.redaction import redact
from trainables.storage.trial_records import AttemptRecord, EpochRecord, FailureRecord, FinalRecord


class ProgressDisplay(TrialListener):
    """Progress display of a sweep's trials on the terminal."""

    def __init__(self, screen: TextIO, sweep: str, objective: str, *, as_json: bool = False) -> None:
        self._console, self._file, self._drawn = make_screen(screen), screen, False
        self._json = screen if as_json else None
        self._states: dict[str, TrialProgress] = {}
        self._lock = threading.Lock()
        self._sweep, self._objective = sweep, objective
        self._waits = ""
        """Resources that trials wait for."""
        self._screen = Screen(
            get_renderable=self._draw,
            console=self._console,
            refresh_per_second=2,
            # What others write to stdout and stderr goes to a log (sweep/console/redirect.py).
            redirect_stdout=False,
            redirect_stderr=False,
        )

    @property
    def _is_live(self) -> bool:
        return self._console.is_terminal and self._json is None

    def __enter__(self) -> Self:
        if self._is_live:
            self._screen.start()
            self._drawn = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave_table()

    def _leave_table(self) -> None:
        if self._drawn:
            self._drawn = False
            self._screen.stop()

    def planned(self, entries: Sequence[TrialEntry]) -> None:
        """Show further trials as waiting; known trials get their new names."""
        with self._lock:
            for entry in entries:
                self._states.setdefault(entry.trial_id, TrialProgress(entry)).entry = entry

    def say(self, text: str) -> None:
        """Print a line above the table."""
        if self._json is not None:
            self._write(event="message", text=text)
        else:
            self._console.print(plain(redact(text)), soft_wrap=True)

    def waits(self, text: str) -> None:
        """Show what trials wait for, until an empty text comes; without a table it is printed."""
        self._waits = text
        if text and not self._drawn:
            self.say(text)

    # Trials that don't run

    def reused(self, entry: TrialEntry, final: FinalRecord, attempts: Sequence[AttemptRecord]) -> None:
        """Show a trial that was finished before this run, and by which sweep if by another."""
        trained_by = attempts[-1].sweep if attempts else self._sweep
        whose = "before" if trained_by == self._sweep else f"in sweep {trained_by}"
        text = f"finished {whose}, not trained again ({duration(final.seconds)} saved)"
        self._change(entry.trial_id, status="finished", epoch=int(entry.config["epochs"]), note=text)
        self._print_event(entry.trial_id, "reused", text)

    def left_stopped(self, entry: TrialEntry, why: str) -> None:
        """Show a trial that was stopped for good before this run."""
        self._change(entry.trial_id, status="stopped", note=why)
        self._print_event(entry.trial_id, "left", f"stays stopped ({why}); --retry-failed continues it")

    def left_failed(self, entry: TrialEntry, failure: FailureRecord) -> None:
        """Show a trial that failed before this run and isn't tried again."""
        self._change(entry.trial_id, status="failed", note=f"{failure.kind}: {failure.message}")
        self._print_event(entry.trial_id, "left", f"failed before ({failure.kind}); --retry-failed tries it again")

    # Trials that do

    def started(self, task: TrialTask, attempt: AttemptRecord, earlier: Sequence[AttemptRecord]) -> None:
        """Show that the trial runs."""
        number = attempt.number
        self._change(task.trial_id, status="running", since=time.monotonic(), epochs_here=0, attempt=number, note="")
        self._print_event(task.trial_id, "started", "started" if number == 1 else f"started, attempt {number}")

    def noted(self, task: TrialTask, note: str) -> None:
        """Show a note about the start of an attempt."""
        self._print_event(task.trial_id, "note", note)

    def epoch(self, task: TrialTask, record: EpochRecord, durable: bool) -> None:
        """Show an epoch's numbers."""
        state = self._states[task.trial_id]
        self._change(
            task.trial_id,
            epoch=record.epoch,
            metrics=dict(record.metrics),
            epochs_here=state.epochs_here + 1,
            measured_epochs=state.measured_epochs + 1,
            measured_seconds=state.measured_seconds + record.seconds,
        )
        numbers = ", ".join(f"{name} {text}" for name in self._columns() if (text := metric_text(record.metrics, name)))
        left = state.left()
        tail = f", {duration(left)} left" if left is not None else ""
        text = f"epoch {record.epoch}/{state.epochs}" + (f": {numbers}" if numbers else "") + tail
        self._print_event(task.trial_id, "epoch", text, epoch=record.epoch, metrics=record.metrics, left_seconds=left)

    def finished(self, task: TrialTask) -> None:
        """Show that the trial is done."""
        self._change(task.trial_id, status="finished")
        self._print_event(task.trial_id, "finished", "finished")

    def retried(self, task: TrialTask, failure: AttemptFailure, pause: float) -> None:
        """Show that an attempt failed and another follows."""
        self._change(task.trial_id, status="retrying", note=f"{failure.kind}: {failure.message}")
        text = f"{failure.kind}: {failure.message}; tried again in {pause:g} s"
        self._print_event(task.trial_id, "retrying", text, kind=failure.kind)

    def held(self, task: TrialTask, failure: AttemptFailure) -> None:
        """Show that the last allowed attempt failed; it is retried only if one of its machines turns out to be lost."""
        self._change(task.trial_id, status="retrying", note=f"{failure.kind}: {failure.message}")
        text = f"{failure.kind}: {failure.message}; tried again only if a machine of it turns out to be lost"
        self._print_event(task.trial_id, "held", text, kind=failure.kind)

    def reviewed(self, task: TrialTask, attempt: AttemptRecord) -> None:
        """Show that an attempt was lost with a machine."""
        if self._states[task.trial_id].status == "retrying":
            self._change(task.trial_id, note=f"{attempt.outcome}: {attempt.message}")
        text = f"{attempt.outcome}: a machine of attempt {attempt.number} was lost, it doesn't count"
        self._print_event(task.trial_id, "reviewed", text, kind=attempt.outcome)

    def stopped(self, task: TrialTask, why: str, for_good: bool) -> None:
        """Show that the trial was stopped."""
        self._change(task.trial_id, status="stopped" if for_good else "interrupted", note=why)
        self._print_event(task.trial_id, "stopped", f"stopped, {why}")

    def failed(self, task: TrialTask, failure: FailureRecord, log: str) -> None:
        """Show why the trial failed."""
        self._change(task.trial_id, status="failed", note=f"{failure.kind}: {failure.message}")
        self._print_event(task.trial_id, "failed", f"FAILED, {failure.kind}: {failure.message}", kind=failure.kind)

    # The whole

    def live_state(self, device_hours: float, stopping: str) -> LiveState:
        """Return the published state of the sweep."""
        with self._lock:
            states = list(self._states.values())
        shown = [state for state in states if state.status not in ("waiting", "finished")]
        return LiveState(
            counts=dict(Counter(state.status for state in states)),
            trials=tuple(state.live() for state in shown),
            device_hours=device_hours,
            left_seconds=self.left_seconds(),
            stopping=stopping,
            waits=self._waits,
        )

    def left_seconds(self) -> float | None:
        """Return the estimated seconds left for the known trials; None until an epoch was measured."""
        with self._lock:
            return seconds_left(list(self._states.values()))

    def _change(self, trial_id: str, **changes: object) -> None:
        with self._lock:
            for name, value in changes.items():
                setattr(self._states[trial_id], name, value)

    def _print_event(self, trial_id: str, event: str, text: str, **facts: Any) -> None:
        name = self._states[trial_id].entry.name
        if is_lost(self._file):  # the log gets lines
            self._leave_table()
        if self._json is not None:
            self._write(event=event, trial=name, trial_id=trial_id, text=text, **facts)
        elif not self._console.is_terminal:
            self._console.print(plain(redact(f"{name}  {text}")), soft_wrap=True)

    def _write(self, **facts: Any) -> None:
        assert self._json is not None
        say_json({"time_ms": time.time_ns() // 1_000_000, **facts}, self._json)

    def _columns(self) -> tuple[str, ...]:
        return shown_columns(self._objective)

    def _draw(self) -> RenderableType:
        with self._lock:
            states = list(self._states.values())
        counts = Counter(state.status for state in states)
        left = self.left_seconds()
        return draw_trials([state.live() for state in states], counts, self._columns(), left, self._waits)
