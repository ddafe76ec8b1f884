"""What the programs have in common: bad input is one clear error on stderr and exit code 2, never a traceback."""

import sys
from collections.abc import Callable, Sequence
from typing import Any, TextIO

import typer
from rich.console import Console

from trainables.errors import BadInputError

BAD_INPUT = 2
PIPED_WIDTH = 160


def screen(file: TextIO | None = None) -> Console:
    """Return a console for people: as wide as the terminal, or wide enough for a table where there is none."""
    console = Console(file=file, highlight=False)
    return console if console.is_terminal else Console(file=file, highlight=False, width=PIPED_WIDTH)


def run_command(command: Callable[..., Any]) -> None:
    """Run a typer command function with the process's arguments."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(command)
    run_app(app)


def run_app(app: typer.Typer, arguments: Sequence[str] | None = None, *, prog_name: str | None = None) -> None:
    """Run a typer application with these arguments, else the process's."""
    try:
        app(args=arguments, prog_name=prog_name)
    except BadInputError as error:
        for line in str(error).splitlines():
            print(f"error: {line}", file=sys.stderr)
        sys.exit(BAD_INPUT)
