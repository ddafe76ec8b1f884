"""The plan of a launch, as its space, data sets and initial weights are now."""

from sweep.planning.dataset_sizes import size_of
from sweep.planning.launch import Launch
from sweep.planning.plan import Plan, make_plan
from sweep.planning.resources import parse_workers
from sweep.space import load_space, pinned, read_space, with_weights


def plan_of(launch: Launch) -> Plan:
    """Return what a launch plans; BadInputError that lists every fault of it."""
    least, _ = parse_workers(launch.workers)
    return make_plan(
        with_weights(load_space(launch.space) if launch.written is None else read_space(launch.written)),
        assignments=pinned(launch.assignments),
        size_of=size_of,
        workers=least,
        smoke=launch.smoke,
    )
