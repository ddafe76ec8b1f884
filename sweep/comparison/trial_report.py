"""Report of one trial: its epochs, attempts, end and cost, and the command that trains it again."""

import json
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sweep.comparison.table import ComparedTrial, ComparisonRow
from trainables.config import TrialConfig
from trainables.storage.trial_records import ORDERLY

if TYPE_CHECKING:
    from sweep.records.sweep_record import TrialEntry
    from sweep.records.sweep_storage import SweepStorage
    from trainables.storage.trial_records import AttemptRecord, EpochRecord, FinalRecord


@dataclass(frozen=True)
class TrialReport:
    """Records of one trial, as the report shows them."""

    trial: ComparedTrial
    epochs: "tuple[EpochRecord, ...]"
    final: "FinalRecord | None"
    attempts: "tuple[AttemptRecord, ...]"

    @property
    def hours(self) -> float:
        """Device-hours of all attempts, including attempts in other sweeps."""
        return self.trial.result.hours

    @property
    def lost_hours(self) -> float:
        """Device-hours of the attempts that failed."""
        return sum(attempt.hours for attempt in self.attempts if attempt.outcome not in ORDERLY)

    @property
    def command(self) -> str:
        """Command that trains only this trial."""
        return trial_command(self.trial.entry, workers=self.final.workers if self.final else 1)


def trial_reports(rows: Iterable[ComparisonRow], storage: "SweepStorage") -> dict[str, TrialReport]:
    """Return the reports of all trials of the rows by trial id, read from the trials' files."""
    found = {}
    for trial in (trial for row in rows for trial in row.trials):
        files = storage.trial_of(trial.entry)
        epochs, attempts = tuple(files.epochs()), tuple(files.attempts())
        found[trial.entry.trial_id] = TrialReport(trial, epochs, files.final(), attempts)
    return found


def trial_command(entry: "TrialEntry", *, workers: int) -> str:
    """Return the command that trains a trial without Ray; with several workers it uses torchrun."""
    default = TrialConfig.model_fields
    fields = [
        f"--set {shlex.quote(f'{name}={_typed(value)}')}"
        for name, value in entry.config.items()
        if name == "dataset" or (name in default and value != _plain(default[name].default))
    ]
    python = f"torchrun --nproc-per-node {workers}" if workers > 1 else "python"
    return f"{python} -m trainables.simclr {' '.join(fields)}"


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _typed(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
