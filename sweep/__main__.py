"""`sweep NAME ...`: all commands under one; each is also `python -m sweep.NAME`."""

from importlib.metadata import version
from typing import Annotated

import typer

from sweep import (
    compare,
    configure,
    data,
    doctor,
    embed,
    evaluate,
    export,
    predict,
    remove,
    run,
    spaces,
    status,
    stop,
    track,
    ui,
    weights,
)
from sweep.console.app import run_app
from sweep.console.commands import Commands

app = Commands(
    name="sweep",
    help="Which self-supervised pretraining settings give the best representation of my images?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
COMMANDS = (run, compare, evaluate, export, predict, embed, status, stop, remove, track, configure, doctor, ui, spaces)
for command in COMMANDS:
    app.command(command.__name__.rpartition(".")[2])(command.main)
app.command("space", hidden=True)(spaces.main)  # its earlier name
app.add_typer(data.app, name="data")
app.add_typer(weights.app, name="weights")


def _print_version(wanted: bool) -> None:
    if wanted:
        print(version("sweep-service"))
        raise typer.Exit


@app.callback()
def _options(
    wanted: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line."""
    run_app(app, prog_name="sweep")


if __name__ == "__main__":
    main()
