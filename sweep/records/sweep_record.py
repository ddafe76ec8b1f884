"""Record of a sweep: its trials, its space and the options that started it (sweeps/NAME/sweep.json)."""

import shlex
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from sweep.planning.launch import LaunchOptions
from sweep.planning.plan import Plan
from sweep.planning.trial import PlannedTrial
from sweep.space import Baseline
from trainables.config import TrialConfig
from trainables.errors import BadInputError
from trainables.storage.trial_records import Count, FileName, KeptRecord, Metric, Milliseconds, now_ms


def _is_no_step(name: str) -> str:
    if name.strip(".") == "":
        raise ValueError(f"must be a name, got {name!r}")
    return name


TrialName = Annotated[str, Field(pattern=r"^[^/\x00-\x1f\x7f]+$", max_length=1000), AfterValidator(_is_no_step)]
"""Readable name of a trial, used for files in logs and exports."""
SweepName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=200)]


class StopRecord(KeptRecord):
    """Record of why a trial was stopped for good."""

    why: str


class TrialEntry(KeptRecord):
    """One trial of a sweep."""

    trial_id: FileName
    name: TrialName
    stage: Annotated[int, Field(ge=1, le=1_000_000)]
    baseline: Baseline | None
    config: dict[str, Any]
    stands_for: dict[str, Any]
    """In a smoke run: the full-size values of the fields that were reduced."""
    steps: Count
    required: bool = False
    """Whether the trial is exempt from halving."""
    setting: Count | None = None
    """Number of its setting in a search; None outside a search."""
    method: str = ""
    """Method of its grid, if the grids of the space use different methods."""
    place: Annotated[str, Field(pattern=r"^([A-Za-z0-9][A-Za-z0-9_.+-]*)?$", max_length=400)] = ""
    """Name of its folder if that isn't the trial's id, as in a sweep without reuse."""

    @model_validator(mode="after")
    def _is_a_setting(self) -> Self:
        """Check the fields; records of earlier versions may lack some, but not the data set."""
        if "dataset" not in self.config:
            raise ValueError("config.dataset: missing")
        for values in (self.config, *([{**self.config, **self.stands_for}] if self.stands_for else [])):
            known = _known(values)
            fields = TrialConfig.parse(known).model_dump(mode="json")
            if wrong := [name for name, value in known.items() if fields[name] != value]:
                raise ValueError(f"{wrong[0]}: got {values[wrong[0]]!r}")
        return self

    @property
    def setting_known(self) -> dict[str, Any]:
        """Configuration fields that this version knows; a later version may have added others."""
        return _known(self.config)

    def later_values(self) -> Iterable[str]:
        """Return the fields of the configuration that this version doesn't know."""
        return (f"config.{name}" for name in self.config if name not in TrialConfig.model_fields)

    def keeping(self, before: "TrialEntry") -> "TrialEntry":
        """Return the entry, with unknown fields that a later version wrote into the earlier entry."""
        later = {name: value for name, value in before.config.items() if name not in TrialConfig.model_fields}
        return self.model_copy(update={**(before.model_extra or {}), "config": {**self.config, **later}})

    @property
    def folder(self) -> str:
        """Name of the trial's folder under trials/."""
        return self.place or self.trial_id


def _known(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name in TrialConfig.model_fields}


class PublishedRow(KeptRecord):
    """Published result listed in the space."""

    setting: dict[str, Any]
    metrics: dict[str, Metric]


class SweepRecord(KeptRecord):
    """Record of a sweep: everything that a comparison needs besides the trials' files."""

    name: SweepName
    digest: str
    space: str
    description: str
    objective: str
    direction: Literal["max", "min"]
    columns: tuple[str, ...]
    published: tuple[PublishedRow, ...]
    published_source: str
    caveats: tuple[str, ...]
    smoke: bool
    selected_on: str = ""
    """Split on which settings are selected: validation, test, or nothing if there is one setting."""
    trials: tuple[TrialEntry, ...]
    pending: tuple[str, ...]
    """Names of the stages that wait for results."""
    command: str
    commit: str | None
    versions: dict[str, str]
    time_ms: Milliseconds
    launch: LaunchOptions | None = None
    """Options that the sweep was started with; None in old records."""

    @property
    def experiment(self) -> str:
        """MLflow experiment of the sweep; empty: the common one."""
        return self.launch.experiment if self.launch is not None else ""

    def resumed(self, typed: LaunchOptions, *, extend: bool) -> LaunchOptions:
        """Return the launch for resuming: the recorded options, updated by the newly typed ones.

        The space is read from values in the record. Its recorded name is only displayed: anybody who can write to the
        storage could otherwise make this process import any code.

        Raises:
            BadInputError: The record contains no space.
        """
        launch = self.launch or LaunchOptions(space=self.space)
        if launch.written is None and typed.written is None:
            raise BadInputError(
                f"sweep {self.name}: its record is of an earlier version and only names its space, {launch.space!r}; "
                f"if you trust that code, name it: --resume {self.name} --space {shlex.quote(launch.space)}"
            )
        if extend and launch.space and typed.written is None and not typed.assignments:
            raise BadInputError(
                f"--extend: the record has the space as it was at the start; to use the present one: "
                f"--resume {self.name} --extend --space {shlex.quote(launch.space)}"
            )
        return launch.updated(typed)

    def keeping(self, before: "SweepRecord") -> "SweepRecord":
        """Return the record with the command that first started it and unknown fields of a later version."""
        entries = {entry.trial_id: entry for entry in before.trials}
        trials = tuple(
            entry.keeping(entries[entry.trial_id]) if entry.trial_id in entries else entry for entry in self.trials
        )
        launch = self.launch
        if launch is not None and before.launch is not None:
            launch = launch.model_copy(update={**(before.launch.model_extra or {}), **(launch.model_extra or {})})
        kept = {"command": before.command, "trials": trials, "launch": launch}
        return self.model_copy(update={**(before.model_extra or {}), **kept})

    def trial_ids(self, wanted: str) -> set[str]:
        """Return the ids of the trials with this id or name."""
        return {entry.trial_id for entry in self.trials if wanted in (entry.trial_id, entry.name)}


def describe(
    plan: Plan,
    *,
    name: str,
    command: str,
    commit: str | None,
    versions: dict[str, str],
    launch: LaunchOptions | None = None,
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
        trials=tuple(_entry(trial, name if launch and launch.no_reuse else "") for trial in plan.trials),
        pending=tuple(stage.name for stage in plan.pending),
        command=command,
        commit=commit,
        versions=versions,
        time_ms=now_ms(),
        launch=launch,
    )


def _entry(trial: PlannedTrial, own_sweep: str) -> TrialEntry:
    """Return the entry of a planned trial; `own_sweep` names the sweep whose folder is its own, if it isn't shared."""
    return TrialEntry(
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
        place=f"{trial.trial_id}-{own_sweep}" if own_sweep else "",
    )
