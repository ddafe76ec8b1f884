"""Check a machine or cluster for what a sweep needs: `python -m sweep.doctor [--address ...] [--storage ...]`."""

import sys
from contextlib import ExitStack, nullcontext
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from sweep.console import options
from sweep.console.formatting import plural
from sweep.console.printing import say_json
from sweep.records.paths import DEFAULT_STORAGE
from trainables.errors import BadInputError

if TYPE_CHECKING:
    from sweep.console.findings import CheckResult

CONNECT_SECONDS = 30.0
"""Maximum time to join a cluster, including its first answer and its autoscaler's configuration."""


def main(
    address: options.Address = None,
    storage: options.Storage = str(DEFAULT_STORAGE),
    tracking_uri: options.TrackingUri = None,
    space: Annotated[
        str | None,
        typer.Option(help="Search space whose data sets are looked for on each machine.", rich_help_panel=options.WHAT),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Check this machine or a cluster for what a sweep needs. Exit code 1: something is missing."""
    from sweep.cluster.autoscaler import joined_autoscaler_errors
    from sweep.cluster.connection import connect
    from sweep.cluster.node_check import ask_nodes, judge, judge_autoscaler, stores_of
    from sweep.cluster.ray_names import DRIVER_RESOURCE
    from sweep.cluster.time_limit import ends_after
    from sweep.console.findings import CheckResult, any_missing, print_findings
    from sweep.console.redirect import quiet
    from sweep.records.sweep_storage import SweepStorage

    place = SweepStorage(storage)
    place.check_writable()
    with quiet(place.log_folder("doctor") / "ray.log") as screen, ExitStack() as connected:
        with nullcontext() if address is None else ends_after(CONNECT_SECONDS, _no_answer(address), screen):
            resources = connected.enter_context(connect(address))
        nodes, silent = ask_nodes(storage)
        errors = [] if address is None else joined_autoscaler_errors()
    counts = ((len(nodes), "machine"), (resources.get("CPU", 0), "CPU"), (resources.get("GPU", 0), "GPU"))
    machines = ", ".join(plural(round(count), noun) for count, noun in counts)
    findings = [CheckResult("Ray", "ok", machines), _mlflow(tracking_uri, storage)]
    findings += [*silent, *judge_autoscaler(errors)]
    drivers = address is None or DRIVER_RESOURCE in resources
    if nodes:
        findings += judge(nodes, stores_of(space), drivers=drivers, gpus_in_reach=resources.get("GPU", 0))
    if as_json:
        say_json({"findings": [asdict(one) for one in findings], "nodes": [asdict(node) for node in nodes]})
    else:
        print_findings(findings)
    sys.exit(any_missing(findings))


def _mlflow(tracking_uri: str | None, storage: str) -> "CheckResult":
    from sweep.console.findings import CheckResult
    from sweep.tracking.tracker import SweepTracker

    try:
        tracker = SweepTracker.open(tracking_uri, storage=storage)
    except BadInputError as error:
        return CheckResult("MLflow", "missing", str(error))
    tracker.close()
    return CheckResult("MLflow", "ok", f"{tracker.uri} ({tracker.why})")


def _no_answer(address: str) -> str:
    from sweep.cluster.joined_cluster import LIKELY_CAUSES

    return f"address {address!r}: no answer within {CONNECT_SECONDS:g} s; likely: {LIKELY_CAUSES}"


if __name__ == "__main__":
    from sweep.console.app import run_command

    run_command(main)
