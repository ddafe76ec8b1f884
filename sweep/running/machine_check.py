"""Checks of this machine in a dry run; a light module that starts nothing."""

import os
from collections.abc import Mapping

from sweep.planning.launch import LaunchOptions
from sweep.planning.plan import Plan
from sweep.planning.resources import check_precision, choose_shape, parse_workers


def check_machine(launch: LaunchOptions, plan: Plan) -> None:
    """Raise BadInputError for workers, a device or a precision that this machine doesn't have, as a run would."""
    least, most = parse_workers(launch.workers)
    cores = float(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    resources: Mapping[str, float] = {"CPU": cores}
    if launch.device == "gpu" or (launch.device == "auto" and least > cores):
        from sweep.cluster.connection import machine_resources

        resources = machine_resources()  # imports torch, for seconds
    check_precision(plan, choose_shape(least, launch.device, resources, most))
