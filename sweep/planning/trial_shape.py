"""What one trial runs on."""

from dataclasses import dataclass
from typing import Literal

from trainables.errors import BadInputError

Device = Literal["auto", "cpu", "gpu"]
"""What trials run on, as a person asks for it."""


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
