"""What is kept of a sweep: its own record, and the trials', which sweeps share by id.

trials/ID/...                 one folder a trial (trainables/storage/trial_files.py)
sweeps/NAME/sweep.json        which trials, which space, how it was started
sweeps/NAME/stopped/ID.json   why a trial was stopped for good
sweeps/NAME/logs/             Ray's log and those of failed trials
live/NAME.json                while it runs (sweep/records/lease.py)
"""

import json
import re
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from sweep.planning.launch import Launch
from sweep.planning.plan import Plan
from trainables.errors import BadInputError
from trainables.storage.deferred_writes import Backlog
from trainables.storage.filesystem import Storage
from trainables.storage.trial_files import TrialFiles
from trainables.storage.trial_records import now_ms

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
    required: bool = False
    """Whether halving leaves it alone."""
    setting: int | None = None
    """Of a search: the number of its setting."""
    method: str = ""
    """What its grid does, where grids of the space do different things."""
    place: str = ""
    """The name of its folder, where that isn't the trial's id: of a sweep that reuses nothing."""

    @property
    def folder(self) -> str:
        """The name of the trial's folder under trials/."""
        return self.place or self.trial_id


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
    launch: Launch | None = None


class SweepStorage:
    """A storage with the sweeps and trials in it."""

    def __init__(self, address: str | Path, *, patience: float = 0.0) -> None:
        """Open the storage; with patience its operations wait so many seconds for it while it is away."""
        self.storage = Storage.at(address).patient(patience)

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

    def trial_of(self, entry: TrialEntry) -> TrialFiles:
        """Return the files of a sweep's trial."""
        return self.trial(entry.folder)

    def write_stopped(self, name: str, trial_id: str, why: str, backlog: Backlog) -> None:
        """Keep why a trial of a sweep was stopped for good; later, when the storage is away."""
        path, content = f"sweeps/{name}/stopped/{trial_id}.json", json.dumps({"why": why}).encode()
        backlog.write(path, lambda: self.storage.write(path, content))

    def stopped(self, name: str) -> dict[str, str]:
        """Return why trials of a sweep were stopped for good, by their ids."""
        names = self.storage.names(f"sweeps/{name}/stopped")
        contents = {file.removesuffix(".json"): self.storage.read(f"sweeps/{name}/stopped/{file}") for file in names}
        return {trial_id: json.loads(content)["why"] for trial_id, content in contents.items() if content}

    def forget_stopped(self, name: str, trial_id: str) -> None:
        """Let a stopped trial go on."""
        self.storage.delete(f"sweeps/{name}/stopped/{trial_id}.json")

    def sweep(self, name: str) -> SweepRecord | None:
        """Return the record of a sweep, or None."""
        check_name(name)
        content = self.storage.read(f"sweeps/{name}/{SWEEP_FILE}")
        return None if content is None else SweepRecord.model_validate_json(content)

    def record(self, name: str | None = None) -> SweepRecord:
        """Return the record of a sweep, of the latest one without a name; BadInputError when there is none."""
        names = self.sweep_names()
        if not names:
            raise BadInputError(
                f"--storage {self.storage.address()}: no sweep here; run one: python -m sweep.run --help"
            )
        found = self.sweep(name or names[-1])
        if found is None:
            raise BadInputError(f"sweep {name!r}: not in {self.storage.address()}; there are: {', '.join(names)}")
        return found

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


def check_name(name: str) -> None:
    """Raise BadInputError for a sweep's name that can't be a folder's."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
        raise BadInputError(f"sweep {name!r}: use letters, digits, '_', '.' and '-' only, a letter or digit first")


def describe(
    plan: Plan, *, name: str, command: str, commit: str | None, versions: dict[str, str], launch: Launch | None = None
) -> SweepRecord:
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
                required=trial.required,
                setting=trial.setting,
                method=trial.method,
                place=f"{trial.trial_id}-{name}" if launch and launch.no_reuse else "",
            )
            for trial in plan.trials
        ),
        pending=tuple(stage.name for stage in plan.pending),
        command=command,
        commit=commit,
        versions=versions,
        time_ms=now_ms(),
        launch=launch,
    )
