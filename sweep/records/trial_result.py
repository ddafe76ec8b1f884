"""Result of one trial so far, read from its files."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from trainables.metrics import names
from trainables.storage.trial_files import TrialFiles
from trainables.storage.trial_records import ORDERLY, AttemptRecord

HALVED = "halving: "
"""Prefix of the reason of a stop by halving."""
Status = Literal["finished", "failed", "stopped", "running", "interrupted", "waiting"]
"""`result_of` can't tell a running trial from an interrupted one; `present_results` can."""


@dataclass(frozen=True)
class TrialResult:
    """Present results of one trial."""

    status: Status
    metrics: Mapping[str, float]
    """Metrics of the last epoch so far."""
    epoch: int
    seconds: float
    """Duration of its recorded epochs, each counted once."""
    failure: str = ""
    troubles: str = ""
    """Failures of earlier attempts, by kind."""
    halved: bool = False
    """Whether halving ended it: its metrics are of an epoch before the last."""
    hours: float = 0.0
    """Device-hours of all attempts, including attempts in other sweeps."""

    @property
    def collapsed(self) -> bool:
        """Whether the embeddings hardly tell images apart: the collapse alarm."""
        return any(value == 1.0 for name, value in self.metrics.items() if name.endswith(f"/{names.COLLAPSED}"))


def result_of(files: TrialFiles) -> TrialResult:
    """Read a trial's result so far."""
    epochs = files.epochs()
    metrics = epochs[-1].metrics if epochs else {}
    failure, attempts = files.failure(), files.attempts()
    status: Status = "running" if epochs else "waiting"
    final = files.final()
    # Metrics of an earlier epoch aren't a result.
    if final is not None and epochs and epochs[-1].epoch >= final.epochs:
        status = "finished"
    elif failure is not None:
        status = "failed"
    elif attempts and attempts[-1].outcome == "stopped":
        status = "stopped"
    return TrialResult(
        status,
        metrics,
        epochs[-1].epoch if epochs else 0,
        sum(record.seconds for record in epochs),
        f"{failure.kind}: {failure.message}" if failure and status == "failed" else "",
        troubles(attempts),
        status == "stopped" and attempts[-1].message.startswith(HALVED),
        sum(attempt.hours for attempt in attempts),
    )


def troubles(attempts: Sequence[AttemptRecord]) -> str:
    """Return the failures of a trial's attempts by kind, as in "crash, lost_node x 2"; empty when there were none."""
    counts = Counter(attempt.outcome for attempt in attempts if attempt.outcome not in ORDERLY)
    return ", ".join(kind if count == 1 else f"{kind} x {count}" for kind, count in counts.items())
