"""Run of an evaluation, which is a separate sweep: its plan and its session."""

from dataclasses import dataclass, replace
from typing import Any

from sweep.console.stop_signals import GRACE_SECONDS
from sweep.planning.evaluation_space import evaluation_space
from sweep.planning.launch import LaunchOptions, plan_of
from sweep.planning.plan import Plan
from sweep.records.paths import check_name
from sweep.records.sweep_storage import SweepStorage
from sweep.running.evaluation_request import DEFAULT_SHARES, EvaluationRequest
from sweep.running.run_context import RunOptions
from sweep.running.run_location import RunLocation
from sweep.running.session import SweepSession
from sweep.scheduling.dispatcher import TrialLimits
from sweep.space import written
from trainables.errors import BadInputError


@dataclass(frozen=True)
class EvaluationRun:
    """A planned evaluation of a sweep's encoders."""

    name: str
    plan: Plan
    launch: LaunchOptions
    evaluated: str
    """Sweep whose encoders are evaluated."""
    note: str = ""
    """Note for the user about what was left out."""

    @classmethod
    def of(
        cls,
        request: EvaluationRequest,
        sweep: str | None,
        *,
        storage: str,
        name: str | None,
        device: Any,
        experiment: str = "",
    ) -> "EvaluationRun":
        """Return the evaluation of a sweep (default: the latest); BadInputError lists every fault."""
        evaluation = request.of_sweep(SweepStorage(storage), sweep)
        space = evaluation_space(evaluation)
        check_name(chosen := name or space.name)
        if chosen == evaluation.sweep:
            raise BadInputError(f"--name {chosen}: is the sweep that is evaluated; choose another")
        launch = LaunchOptions(written=written(space), device=device, experiment=experiment)
        without = set() if request.label_fractions else set(DEFAULT_SHARES) - set(evaluation.label_fractions)
        shares = ", ".join(f"{one:g}" for one in sorted(without))
        note = f"label fractions {shares} are left out: too few train images" if without else ""
        return cls(chosen, plan_of(launch), launch, evaluation.sweep, note)

    def check_leaks(self, storage: str) -> None:
        """Raise BadInputError for leaks between pretraining images and test images."""
        from sweep.running.leak_check import check_leaks

        check_leaks(self.plan, SweepStorage(storage))

    def print_plan(self) -> None:
        """Print the plan and its cost; BadInputError if the weights or the data don't fit."""
        from sweep.planning.dataset_sizes import check_questions
        from sweep.planning.memory_budget import memory_budget
        from sweep.planning.plan_table import print_plan
        from sweep.running.weights_check import check_weights

        check_questions(self.plan)
        check_weights(self.plan)
        print_plan(self.plan, memory_budget(self.launch, None, use_gpu=self.launch.device == "gpu"))

    def session(
        self, location: RunLocation, max_concurrent: int | None, grace_seconds: float = GRACE_SECONDS, *, named: bool
    ) -> SweepSession:
        """Return the session of the plan; unless the sweep was `named`, a restarted process gets its name."""
        # The latest sweep is this one, once it has begun.
        location = replace(location, again=() if named else (self.evaluated,))
        return SweepSession(
            self.name,
            self.plan,
            self.launch,
            RunOptions(rules=TrialLimits(max_concurrent), grace_seconds=grace_seconds),
            location,
        )
