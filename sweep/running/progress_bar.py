"""Progress bar of a sweep for notebooks and programs, with one line for each problem."""

import sys
from collections import Counter
from types import TracebackType
from typing import Any, Self

from tqdm.std import tqdm

from sweep.console.formatting import duration
from sweep.running.progress import ProgressDisplay
from sweep.running.trial_progress import OPEN
from trainables.printing.printable_text import printable
from trainables.printing.redaction import redact

SAID = ("failed", "retrying", "held", "reviewed", "stopped", "left")
"""Events that are printed as a line."""


class ProgressBar(ProgressDisplay):
    """Progress bar on stderr for terminals and notebooks; other output is not redirected."""

    def __init__(self, sweep: str, objective: str) -> None:
        super().__init__(sys.stderr, sweep, objective)
        # No thread that watches bars: the events of trials draw it.
        tqdm.monitor_interval = 0
        self._bar = tqdm(desc=printable(sweep), total=0, file=sys.stderr, bar_format="{desc}: |{bar:30}| {unit}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._show()
        self._bar.close()

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        self._bar.write(printable(redact(text)), file=sys.stderr)

    def _print_event(self, trial_id: str, event: str, text: str, **facts: Any) -> None:
        if event in SAID:
            self.say(f"{self._states[trial_id].entry.name}  {text}")
        self._show()

    def _show(self) -> None:
        counts = Counter(state.status for state in list(self._states.values()))
        self._bar.total = counts.total()
        self._bar.n = counts.total() - sum(counts[status] for status in OPEN)
        left = self.left_seconds()
        words = [f"{self._bar.n} of {self._bar.total} trials"]
        words += [f"{counts['failed']} failed"] if counts["failed"] else []
        words += [f"about {duration(left)} left"] if left else []
        self._bar.unit = ", ".join(words)  # the part of a bar's format that tqdm leaves as it is
        self._bar.refresh()
