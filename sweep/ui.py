"""Serve the MLflow pages of a storage on this machine: `python -m sweep.ui`, until Ctrl-C."""

import secrets
import signal
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

from sweep.console import options
from sweep.console.printing import say
from sweep.records.paths import DEFAULT_STORAGE

PASSWORD_BYTES = 18
SECURITY = "Security"


class ServerStopped(Exception):  # noqa: N818 - not an error
    """Signal to end the program."""


def _stop(_number: int, _frame: FrameType | None) -> Any:
    raise ServerStopped


def main(
    storage: Annotated[
        Path | None,
        typer.Option(
            help=f"Folder with the results of sweeps; default: {DEFAULT_STORAGE}.", rich_help_panel=options.WHERE
        ),
    ] = None,
    tracking_uri: Annotated[
        str | None,
        typer.Option(
            help="Database to serve, as sqlite:///FILE; default: MLFLOW_TRACKING_URI, else the storage's own.",
            rich_help_panel=options.WHERE,
        ),
    ] = None,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0: any free port.", rich_help_panel=options.WHERE)
    ] = 0,
    experiment: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Experiment that the printed page shows; default: sweep.",
            rich_help_panel=options.WHERE,
        ),
    ] = "",
    everybody: Annotated[
        bool,
        typer.Option(
            "--everybody",
            help="Let every user of this machine read and change the runs, without a password.",
            rich_help_panel=SECURITY,
        ),
    ] = False,
) -> None:
    """Serve the MLflow pages of a storage on this machine, until Ctrl-C."""
    from sweep.tracking.pages import USER
    from sweep.tracking.server import TrackingServer, served_store

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, _stop)
    try:
        password = "" if everybody else secrets.token_urlsafe(PASSWORD_BYTES)
        with TrackingServer(served_store(tracking_uri, storage, experiment), port, password) as server:
            say(f"{server.page()}  shows {server.store.shown} (Ctrl-C ends it)")
            if password:
                say(f"user: {USER}  password: {password}")
            else:
                say("every user of this machine can change and delete what it shows", error=True)
            status = server.wait()
            say(f"MLflow's server ended by itself (status {status})", error=True)
            raise typer.Exit(1)
    except ServerStopped:
        say("stopped")


if __name__ == "__main__":
    from sweep.console.app import run_command

    run_command(main)
