"""Request for a run, from the command line or from Python: its options, its plan and its session."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints

from pydantic import Field

from sweep.console.argument_types import Amount, Count, checked_values
from sweep.console.options import ON_END
from sweep.console.printing import say_json
from sweep.console.stop_signals import GRACE_SECONDS
from sweep.planning.dataset_sizes import check_questions, prepare_embedded
from sweep.planning.launch import LaunchOptions, plan_of
from sweep.planning.plan import Plan
from sweep.records.paths import check_name
from sweep.running.run_location import RunLocation
from sweep.scheduling.budget import SweepBudget
from sweep.scheduling.dispatcher import TrialLimits
from sweep.space import RankingObjective, SearchSpace, load_space, written
from trainables.errors import BadInputError, nearest
from trainables.fields.values import checked_axis
from trainables.metrics.names import better_when

if TYPE_CHECKING:
    from sweep.running.session import SweepSession


@dataclass(frozen=True)
class RunRequest:
    """The options of `sweep.run`, with its defaults."""

    location: RunLocation
    space: str | SearchSpace | None = None
    """Name, dotted module or file of the space; or the space itself."""
    assignments: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    """Values by field, as `parse_assignments` and `checked_assignments` return them."""
    objective: str | None = None
    """Metric that settings are ranked by; None: the space's."""
    name: str | None = None
    resume: str | None = None
    extend: bool = False
    smoke: bool = False
    no_reuse: bool = False
    experiment: str = ""
    """MLflow experiment; empty: the common one of all sweeps."""
    workers: int | str = "1"
    device: Literal["auto", "cpu", "gpu"] = "auto"
    share_gpus: Count = 1
    memory: Amount | None = None
    max_concurrent: Count | None = None
    gpu_hours: float | None = None
    wall_hours: float | None = None
    trials: int | None = None
    max_failures: Annotated[int, Field(ge=0)] = 3
    hang_minutes: Annotated[float, Field(ge=0.05, allow_inf_nan=False)] = 30.0
    retry_failed: bool = False
    grace_seconds: Amount = GRACE_SECONDS
    strict: bool = False
    """Whether leaks between pretraining images and test images are refused."""
    given: frozenset[str] = frozenset()
    """Names of the options that were given, also those given their default."""

    def __post_init__(self) -> None:
        """Raise BadInputError for options of another type or outside their limits."""
        hints = get_type_hints(RunRequest, include_extras=True)
        typed = [one.name for one in fields(self) if one.name not in ("location", "assignments", "given")]
        values = {name: value for name in typed if (value := getattr(self, name)) != getattr(RunRequest, name)}
        for name, value in checked_values(values, hints, self._shown).items():
            object.__setattr__(self, name, value)

    def _shown(self, name: str) -> str:
        return name if self.location.from_python else f"--{name.removesuffix('_seconds').replace('_', '-')}"

    @cached_property
    def launch(self) -> LaunchOptions:
        """Launch of the sweep; for a resumed one, including the options in its record.

        Raises:
            BadInputError: Options contradict each other, or a new sweep lacks a space.
        """
        space, typed = self.space, self._typed()
        if self.objective is not None and space is None:
            raise BadInputError(f"--objective {self.objective}: a sweep keeps its objective; add --space NAME")
        if self.resume is not None and self.name not in (None, self.resume):
            raise BadInputError(f"--name {self.name}: --resume continues sweep {self.resume}; leave --name out")
        if self.resume is not None:
            from sweep.records.sweep_storage import SweepStorage

            return SweepStorage(self.location.storage).record(self.resume).resumed(typed, extend=self.extend)
        if self.extend:
            raise BadInputError("--extend: needs a sweep that was started before; add --resume NAME")
        return typed

    def _typed(self) -> LaunchOptions:
        """Return the launch with the options that were given or that differ from their default."""
        space, defaults = self.space, LaunchOptions()
        options = {
            "space": space if isinstance(space, str) else "",
            "written": written(self._asked_space()) if space else None,
            "assignments": {name: tuple(values) for name, values in self.assignments.items()},
            "smoke": self.smoke,
            "workers": str(self.workers),
            "device": self.device,
            "share_gpus": self.share_gpus,
            "no_reuse": self.no_reuse,
            "experiment": self.experiment,
            "memory": self.memory,
        }
        typed = {k: value for k, value in options.items() if k in self.given or value != getattr(defaults, k)}
        return LaunchOptions.model_validate(typed)

    def _asked_space(self) -> SearchSpace:
        """Return the space with the requested objective."""
        assert self.space is not None
        space = load_space(self.space) if isinstance(self.space, str) else self.space
        if self.objective is None:
            return space
        return replace(space, objective=RankingObjective(self.objective, better_when(self.objective)))

    def plan(self) -> Plan:
        """Return the checked plan; BadInputError lists every fault."""
        plan = plan_of(self.launch)
        check_name(self.sweep_name(plan))
        self.budget  # noqa: B018
        return plan

    @property
    def budget(self) -> SweepBudget:
        """Budget of the sweep; BadInputError for invalid limits."""
        return SweepBudget(self.gpu_hours, self.wall_hours, self.trials)

    def sweep_name(self, plan: Plan) -> str:
        """Return the name of the sweep."""
        return self.resume or self.name or plan.sweep_name

    def print_plan(self) -> None:
        """Print the plan and its cost; BadInputError if this machine can't run it."""
        from sweep.planning.memory_budget import memory_budget
        from sweep.planning.plan_table import plan_value, print_plan
        from sweep.running.machine_check import check_machine
        from sweep.running.weights_check import check_weights

        plan, launch, memory = self.plan(), self.launch, self.location.gpu_memory
        check_questions(plan)
        check_weights(plan, begun=self.resume is not None)
        self._check_leaks(plan)
        if self.location.address is None and memory is None:
            check_machine(launch, plan)
        budget = memory_budget(launch, memory, use_gpu=launch.device == "gpu" or memory is not None)
        if self.location.as_json:
            say_json(plan_value(plan, budget))
        else:
            print_plan(plan, budget)

    def _check_leaks(self, plan: Plan) -> None:
        """Raise BadInputError for test images among the pretraining images, if the request is strict."""
        if self.strict:
            from sweep.records.sweep_storage import SweepStorage
            from sweep.running.leak_check import check_leaks

            check_leaks(plan, SweepStorage(self.location.storage))

    def session(self) -> "SweepSession":
        """Prepare embedded data sets and return the session that runs the plan."""
        from sweep.running.run_context import RunOptions
        from sweep.running.session import SweepSession

        plan = self.plan()
        if prepare_embedded(plan):
            plan = plan_of(self.launch)
        self._check_leaks(plan)
        rules = TrialLimits(self.max_concurrent, self.max_failures)
        hang, grace = 60 * self.hang_minutes, self.grace_seconds
        options = RunOptions(self.retry_failed, rules, self.budget, hang, grace, self.strict)
        return SweepSession(self.sweep_name(plan), plan, self.launch, options, self.location)


def checked_assignments(changes: Mapping[str, Any]) -> dict[str, Sequence[Any]]:
    """Return the values of each field: a list varies the field, any other value is its only value.

    Raises:
        BadInputError: One line for each unknown field and each invalid value.
    """
    found, faults = {}, []
    for name, value in changes.items():
        try:
            found[name] = checked_axis(name, value if isinstance(value, list) else [value])
        except ValueError as error:
            faults.append(str(error))
    if faults:
        raise BadInputError(*faults)
    return found


def check_options(options: Mapping[str, Any]) -> None:
    """Raise BadInputError for names that are not fields of RunRequest."""
    known = {one.name for one in fields(RunRequest)} - {"location", "space", "assignments", "given", "name", "resume"}
    if unknown := [name for name in options if name not in known]:
        lines = [f"{name}: unknown option{nearest(name, known)}; known: {', '.join(sorted(known))}" for name in unknown]
        raise BadInputError(*lines)


def on_end_hook(typed: str | None) -> str:
    """Return the receiver of the summary: as typed, else from the environment.

    Raises:
        BadInputError: An address of another kind than http, which would be run as a command.
    """
    receiver = typed or os.environ.get(ON_END, "")
    if re.match(r"\s*[A-Za-z][A-Za-z0-9+.-]*:/", receiver) and not re.match(r"\s*https?://", receiver, re.IGNORECASE):
        raise BadInputError("--on-end: a URL begins with http:// or https://; give one, or a command")
    return receiver
