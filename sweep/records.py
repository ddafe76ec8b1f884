"""What is kept of a sweep: its own record, and the trials', which sweeps share by id.

trials/ID/...                 one folder a trial (trainables/trial_files.py)
sweeps/NAME/sweep.json        which trials, which space, how it was started
sweeps/NAME/logs/             Ray's log and those of failed trials
"""

import time
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from sweep.plan import Plan
from trainables.errors import BadInputError
from trainables.storage import Storage
from trainables.trial_files import TrialFiles

SWEEP_FILE = "sweep.json"


class TrialEntry(BaseModel):
    """One trial of a sweep."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    trial_id: str
    name: str
    stage: int
    baseline: str | None
    config: dict[str, Any]
    stands_for: dict[str, Any]
    """In a smoke run, the fields of the full-size setting that were made small."""
    steps: int


class PublishedRow(BaseModel):
    """A published result that the space carries."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    setting: dict[str, Any]
    metrics: dict[str, float]


class SweepRecord(BaseModel):
    """Everything that a comparison needs to know of a sweep besides its trials' files."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    digest: str
    space: str
    description: str
    objective: str
    direction: str
    columns: tuple[str, ...]
    published: tuple[PublishedRow, ...]
    published_source: str
    caveats: tuple[str, ...]
    smoke: bool
    selected_on: str = ""
    """The split that settings are selected on: validation, test, or nothing where there is one setting."""
    trials: tuple[TrialEntry, ...]
    pending: tuple[str, ...]
    """Names of the stages that aren't decided yet."""
    command: str
    commit: str | None
    versions: dict[str, str]
    time_ms: int


class SweepStorage:
    """A storage with the sweeps and trials in it."""

    def __init__(self, address: str | Path) -> None:
        self.storage = Storage.at(address)

    def check_writable(self) -> None:
        """Write and remove a small file; BadInputError when that fails."""
        try:
            self.storage.write(".writable", b"")
            self.storage.delete(".writable")
        except OSError as error:
            raise BadInputError(
                f"--storage {self.storage.address()}: can't be written ({error.strerror or error}); choose another"
            ) from error

    def trial(self, trial_id: str) -> TrialFiles:
        """Return the files of a trial, which need not exist."""
        return TrialFiles(self.storage.child(f"trials/{trial_id}"))

    def sweep(self, name: str) -> SweepRecord | None:
        """Return the record of a sweep, or None."""
        content = self.storage.read(f"sweeps/{name}/{SWEEP_FILE}")
        return None if content is None else SweepRecord.model_validate_json(content)

    def sweep_names(self) -> list[str]:
        """Return the sweeps of this storage, the latest last."""
        records = [record for name in self.storage.names("sweeps") if (record := self.sweep(name))]
        return [record.name for record in sorted(records, key=lambda record: record.time_ms)]

    def write_sweep(self, record: SweepRecord) -> None:
        """Write a sweep's record in place of the one before."""
        self.storage.write(f"sweeps/{record.name}/{SWEEP_FILE}", record.model_dump_json(indent=1).encode())

    def log_folder(self, name: str) -> Path:
        """Return the local folder of a sweep's logs: in the storage, or beside the data where that is remote."""
        root = Path(self.storage.root) if self.storage.is_local else Path.home() / ".cache" / "sweep"
        return root / "sweeps" / name / "logs"


def describe(plan: Plan, *, name: str, command: str, commit: str | None, versions: dict[str, str]) -> SweepRecord:
    """Return the record of a plan that is about to run."""
    space = plan.space
    return SweepRecord(
        name=name,
        digest=plan.digest,
        space=space.name,
        description=space.description,
        objective=space.objective.metric,
        direction=space.objective.direction,
        columns=tuple(space.columns),
        published=tuple(PublishedRow(setting=dict(p.setting), metrics=dict(p.metrics)) for p in space.published),
        published_source=space.published_source,
        caveats=tuple(space.caveats),
        smoke=plan.smoke,
        selected_on=plan.selected_on,
        trials=tuple(
            TrialEntry(
                trial_id=trial.trial_id,
                name=trial.name,
                stage=trial.stage,
                baseline=trial.baseline,
                config=trial.config.model_dump(mode="json"),
                stands_for=dict(trial.stands_for),
                steps=trial.steps,
            )
            for trial in plan.trials
        ),
        pending=tuple(stage.name for stage in plan.pending),
        command=command,
        commit=commit,
        versions=versions,
        time_ms=time.time_ns() // 1_000_000,
    )
