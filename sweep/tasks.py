"""What is handed to Ray and told to whoever listens: plain values, so that planning imports neither ray nor torch."""

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol, Self

from trainables.errors import BadInputError

if TYPE_CHECKING:
    from trainables.trial_files import EpochRecord, FailureRecord


@dataclass(frozen=True)
class TrialTask:
    """One trial to run; every part of it is JSON."""

    trial_id: str
    name: str
    """For a person, unique in a sweep, without '/'; names the trial's log."""
    config: dict[str, Any]
    """Fields of SimCLRConfig, in their JSON form."""
    store_address: str
    """Absolute path of the prepared data set, the same on every machine, or its URI."""
    fingerprint: str
    """Of the store that was planned with."""
    files_address: str
    """Absolute path or URI of the trial's own folder."""
    evaluation_address: str = ""
    """Of the data set that is evaluated on, where that is another."""
    evaluation_fingerprint: str = ""
    entry: str = "trainables.simclr:train"
    """Module and name of the generator that trains."""

    def to_json(self) -> str:
        """Return the task as text that `from_json` reads."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the task that `to_json` wrote."""
        return cls(**json.loads(text))


@dataclass(frozen=True)
class TrialShape:
    """What one trial runs on; part of its outcome's last bits, so it doesn't follow concurrency."""

    workers: int
    threads: int
    """CPUs, and torch's threads, of each worker."""
    use_gpu: bool
    """Whether each worker has one GPU to itself."""

    def __post_init__(self) -> None:
        for field in ("workers", "threads"):
            if getattr(self, field) < 1:
                raise BadInputError(f"{field} must be >= 1, got {getattr(self, field)}")

    def worker_resources(self) -> dict[str, float]:
        """Return what one worker holds, in Ray's names."""
        return {"CPU": float(self.threads)} | ({"GPU": 1.0} if self.use_gpu else {})


class Listener(Protocol):
    """Hears of trials as they go, in the main process; a call that raises doesn't stop the sweep."""

    def started(self, task: TrialTask) -> None:
        """Hear that an attempt at the trial starts: again after one that died."""

    def epoch(self, task: TrialTask, record: "EpochRecord") -> None:
        """Hear of a newly trained epoch, after its record was written."""

    def finished(self, task: TrialTask) -> None:
        """Hear that the trial's final record is there."""

    def failed(self, task: TrialTask, failure: "FailureRecord") -> None:
        """Hear that the trial failed for good."""
