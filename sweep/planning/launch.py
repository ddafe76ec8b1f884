"""Options that a sweep was started with, as stored in its record; a light module."""

from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import BaseModel, ConfigDict

from trainables.errors import BadInputError

if TYPE_CHECKING:
    from sweep.planning.plan import Plan


class LaunchOptions(BaseModel):
    """Options that a sweep was started with; resuming uses them unless new ones are given."""

    model_config = ConfigDict(frozen=True, extra="allow")

    space: str = ""
    """Space as it was typed, for display only: code named in a record is never imported. Empty without a module."""
    written: dict[str, Any] | None = None
    """Space as values (`sweep.space.written`), which resuming reads."""
    assignments: dict[str, tuple[Any, ...]] = {}
    smoke: bool = False
    workers: str = "1"
    device: Literal["auto", "cpu", "gpu"] = "auto"
    share_gpus: int = 1
    no_reuse: bool = False
    experiment: str = ""
    """MLflow experiment; empty: the common one of all sweeps."""
    memory: float | None = None
    """Memory of a worker in GiB, which replaces the estimate."""

    def updated(self, typed: Self) -> Self:
        """Return this launch with the options that were typed now: those that `typed` was created with."""
        return self.model_copy(update=typed.model_dump(exclude_unset=True))


def plan_of(launch: LaunchOptions) -> "Plan":
    """Return the plan of a launch, with the present data sets and initial weights; no code is imported.

    Raises:
        BadInputError: One line for each fault of the plan.
    """
    from sweep.planning.dataset_sizes import size_of
    from sweep.planning.pinned_weights import pinned, with_weights
    from sweep.planning.plan import make_plan
    from sweep.planning.resources import parse_workers
    from sweep.space import read_space

    if launch.written is None:
        raise BadInputError("--space: name a search space, or --resume a sweep; --help lists more")
    least, _ = parse_workers(launch.workers)
    return make_plan(
        with_weights(read_space(launch.written)),
        assignments=pinned(launch.assignments),
        size_of=size_of,
        workers=least,
        smoke=launch.smoke,
    )
