"""Task for Ray: one trial as plain values."""

import json
from dataclasses import asdict, dataclass
from typing import Any, Self

from sweep.planning.resources import TrialShape

HANG_SECONDS = 1800.0


@dataclass(frozen=True)
class TrialTask:
    """Task: one trial to run, as JSON values."""

    trial_id: str
    name: str
    """Readable name, unique in a sweep, without '/'; it names the trial's log."""
    config: dict[str, Any]
    """Fields of TrialConfig, in their JSON form."""
    store_address: str
    """Absolute path of the prepared data set, the same on every machine, or its URI."""
    fingerprint: str
    """Fingerprint of the store that the plan was made with."""
    files_address: str
    """Absolute path or URI of the trial's own folder."""
    shape: TrialShape
    evaluation_address: str = ""
    """Address of the evaluation data set, if it is another."""
    evaluation_fingerprint: str = ""
    hang_seconds: float = HANG_SECONDS
    """Seconds without a step after which a worker counts as hung."""
    recompute: bool = False
    """Whether training uses activation recomputation."""
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
