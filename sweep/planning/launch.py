"""Options that a sweep was started with, as stored in its record; a light module."""

from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import BaseModel, ConfigDict

from trainables.errors import BadInputError

if TYPE_CHECKING:
    from sweep.planning.plan import Plan


class Launch(BaseModel):
    """How a sweep was started: what resuming it takes over unless told otherwise."""

    model_config = ConfigDict(frozen=True, extra="allow")

    space: str = ""
    """The space as it was typed, for a person: a record's is never imported. Empty where no module holds it."""
    written: dict[str, Any] | None = None
    """The space itself (`sweep.space.written`), which resuming reads."""
    assignments: dict[str, tuple[Any, ...]] = {}
    smoke: bool = False
    workers: str = "1"
    device: Literal["auto", "cpu", "gpu"] = "auto"
    share_gpus: int = 1
    no_reuse: bool = False
    experiment: str = ""
    """MLflow's experiment; empty: the one of all sweeps."""
    memory: float | None = None
    """GiB that a worker needs, in place of the estimate."""

    def updated(self, typed: Self) -> Self:
        """Return this launch with what was typed now, where it isn't the default."""
        return self.model_copy(update=typed.model_dump(exclude_defaults=True))


def plan_of(launch: Launch) -> "Plan":
    """Return what a launch plans as data sets and initial weights are now; nothing is imported for it.

    Raises BadInputError that lists every fault of the plan.
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
