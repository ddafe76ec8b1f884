"""What a sweep would use and what is missing: `python -m sweep.doctor [--address ...] [--storage ...]`."""

import json
import sys
from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from sweep.records.paths import DEFAULT_STORAGE
from trainables.errors import BadInputError

if TYPE_CHECKING:
    from sweep.cluster.node_check import Finding


def main(
    address: Annotated[
        str | None, typer.Option(help="Ray cluster, HOST:PORT or auto; default: Ray starts on this machine.")
    ] = None,
    storage: Annotated[str, typer.Option(help="Where sweeps are run.")] = str(DEFAULT_STORAGE),
    tracking_uri: Annotated[str | None, typer.Option(help="MLflow's, as for sweep.run.")] = None,
    space: Annotated[str | None, typer.Option(help="A search space whose data sets have to be there.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Say what a sweep would use on this machine or cluster, and what is missing: exit code 1 then."""
    from sweep.cluster.connection import connect
    from sweep.cluster.node_check import Finding, ask_nodes, judge, stores_of
    from sweep.cluster.ray_names import DRIVER_RESOURCE
    from sweep.console.redirect import quiet
    from sweep.records.sweep_storage import SweepStorage
    from sweep.tracking.tracker import Tracker

    place = SweepStorage(storage)
    place.check_writable()
    with quiet(place.log_folder("doctor") / "ray.log"), connect(address) as resources:
        nodes = ask_nodes(storage)
    machines = f"{len(nodes)} machines, {resources.get('CPU', 0):g} CPUs, {resources.get('GPU', 0):g} GPUs"
    findings = [Finding("Ray", "ok", machines)]
    try:
        tracker = Tracker.open(tracking_uri, storage=storage)
        findings.append(Finding("MLflow", "ok", f"{tracker.uri} ({tracker.why})"))
        tracker.close()
    except BadInputError as error:
        findings.append(Finding("MLflow", "missing", str(error)))
    findings += judge(nodes, stores_of(space), drivers=address is None or DRIVER_RESOURCE in resources)
    if as_json:
        print(json.dumps({"findings": [asdict(one) for one in findings], "nodes": [asdict(node) for node in nodes]}))
    else:
        _print(findings)
    sys.exit(any(finding.verdict == "missing" for finding in findings))


def _print(findings: Iterable["Finding"]) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from sweep.console.app import screen

    styles = {"ok": "green", "warning": "yellow", "missing": "bold red"}
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_header=False)
    for finding in findings:
        table.add_row(finding.what, Text(finding.verdict, style=styles[finding.verdict]), finding.text)
    screen().print(table)


if __name__ == "__main__":
    from sweep.console.app import run_command

    run_command(main)
