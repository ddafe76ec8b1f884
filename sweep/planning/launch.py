"""How a sweep was started, as its record keeps it; light, since planning needs nothing else of a record."""

from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from sweep.planning.plan import Plan


class Launch(BaseModel):
    """How a sweep was started: what resuming it takes over unless told otherwise."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    space: str = ""
    written: dict[str, Any] | None = None
    """The space itself, where no module holds it (`sweep.space.written`)."""
    assignments: dict[str, tuple[Any, ...]] = {}
    smoke: bool = False
    workers: str = "1"
    device: Literal["auto", "cpu", "gpu"] = "auto"
    share_gpus: int = 1
    no_reuse: bool = False
    memory: float | None = None
    """GiB that a worker needs, in place of the estimate."""

    def updated(self, typed: Self) -> Self:
        """Return this launch with what was typed now, where it isn't the default."""
        return self.model_copy(update=typed.model_dump(exclude_defaults=True))


def plan_of(launch: Launch) -> "Plan":
    """Return what a launch plans as its space, data sets and initial weights are now.

    Raises BadInputError that lists every fault of the plan.
    """
    from sweep.planning.dataset_sizes import size_of
    from sweep.planning.plan import make_plan
    from sweep.planning.resources import parse_workers
    from sweep.space import load_space, pinned, read_space, with_weights

    least, _ = parse_workers(launch.workers)
    return make_plan(
        with_weights(load_space(launch.space) if launch.written is None else read_space(launch.written)),
        assignments=pinned(launch.assignments),
        size_of=size_of,
        workers=least,
        smoke=launch.smoke,
    )
