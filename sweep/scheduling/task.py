"""Task for Ray: one trial as plain values."""

import json
from dataclasses import asdict, dataclass
from typing import Any, Self

from sweep.planning.resources import TrialShape

HANG_SECONDS = 1800.0


@dataclass(frozen=True)
class TrialTask:
    """One trial to run; every part of it is JSON."""

    trial_id: str
    name: str
    """For a person, unique in a sweep, without '/'; names the trial's log."""
    config: dict[str, Any]
    """Fields of TrialConfig, in their JSON form."""
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
