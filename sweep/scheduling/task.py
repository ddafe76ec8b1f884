"""What is handed to Ray and told to whoever listens: plain values, so that planning imports neither ray nor torch."""

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, Self

from trainables.errors import BadInputError

if TYPE_CHECKING:
    from trainables.storage.trial_records import EpochRecord

HANG_SECONDS = 1800.0
Device = Literal["auto", "cpu", "gpu"]
"""What trials run on, as a person asks for it."""
Permission = Literal["go", "wait", "done"]
GO: Permission = "go"
WAIT: Permission = "wait"
DONE: Permission = "done"


@dataclass(frozen=True)
class TrialShape:
    """What one trial runs on; part of its outcome's last bits, so it doesn't follow concurrency."""

    workers: int
    threads: int
    """CPUs, and torch's threads, of each worker."""
    use_gpu: bool
    gpus: float = 1.0
    """GPUs of a worker, where it uses one: less than 1 where trials share it."""
    most_workers: int | None = None
    """Workers of an elastic trial go from `workers` to this many."""

    def __post_init__(self) -> None:
        for field in ("workers", "threads"):
            if getattr(self, field) < 1:
                raise BadInputError(f"{field} must be >= 1, got {getattr(self, field)}")

    @property
    def inline(self) -> bool:
        """Whether its one worker is the process that drives it."""
        return self.workers == 1 and self.most_workers is None

    def worker_resources(self) -> dict[str, float]:
        """Return what one worker holds, in Ray's names."""
        return {"CPU": float(self.threads)} | ({"GPU": self.gpus} if self.use_gpu else {})


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
    shape: TrialShape
    evaluation_address: str = ""
    """Of the data set that is evaluated on, where that is another."""
    evaluation_fingerprint: str = ""
    hang_seconds: float = HANG_SECONDS
    """After so long without a step a worker counts as hung."""
    recompute: bool = False
    """Whether a step keeps less of the encoder's maps and computes them again."""
    entry: str = "trainables.simclr:train"
    """Module and name of the generator that trains."""

    def to_json(self) -> str:
        """Return the task as text that `from_json` reads."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the task that `to_json` wrote."""
        fields = json.loads(text)
        return cls(**{**fields, "shape": TrialShape(**fields["shape"])})


@dataclass(frozen=True)
class Failure:
    """Why an attempt ended before the trial did."""

    kind: str
    message: str
    log: str = ""
    """A traceback; for the log, not for the table."""

    CRASH: ClassVar = "crash"
    HUNG: ClassVar = "hung"
    LOST_NODE: ClassVar = "lost_node"
    OUT_OF_MEMORY: ClassVar = "out_of_memory"
    NON_FINITE: ClassVar = "non_finite_loss"
    BAD_INPUT: ClassVar = "bad_input"
    STORAGE: ClassVar = "storage"
    RETRIED: ClassVar = frozenset({CRASH, HUNG, STORAGE})
    """Kinds that another attempt may mend, and that are counted."""


class Listener(Protocol):
    """Hears of trials as they go, in the main process; a call that raises doesn't stop the sweep."""

    def may_start(self, task: TrialTask) -> Permission:
        """Return GO, WAIT while somebody else trains it, or DONE when it was finished; asked before each attempt."""

    def started(self, task: TrialTask) -> None:
        """Hear that an attempt at the trial starts: again after one that died."""

    def placed(self, task: TrialTask, hosts: list[str]) -> None:
        """Hear on which machines its workers are, one a worker."""

    def noted(self, task: TrialTask, note: str) -> None:
        """Hear what a person should know of how the attempt began."""

    def epoch(self, task: TrialTask, record: "EpochRecord", durable: bool) -> None:
        """Hear of a newly trained epoch; not durable: its record is still to be written."""

    def finished(self, task: TrialTask) -> None:
        """Hear that the trial's final record is there."""

    def retried(self, task: TrialTask, failure: Failure, pause: float) -> None:
        """Hear that an attempt failed and another follows in `pause` seconds."""

    def stopped(self, task: TrialTask, why: str, for_good: bool) -> None:
        """Hear that the trial was stopped after an epoch; not for good: with the whole sweep."""

    def failed(self, task: TrialTask, failure: Failure) -> None:
        """Hear that the trial failed for good."""
