"""What the programs have in common: bad input is one clear error on stderr and exit code 2, never a traceback."""

import functools
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TextIO

import typer
from rich.console import Console

from trainables.errors import BadInputError

BAD_INPUT, INTERRUPTED = 2, 130
PIPED_WIDTH = 160
HIDDEN = "***"
_CREDENTIALS = re.compile(r"://[^/@\s]+@")


def screen(file: TextIO | None = None) -> Console:
    """Return a console for people: as wide as the terminal, or wide enough for a table where there is none."""
    console = Console(file=file, highlight=False)
    return console if console.is_terminal else Console(file=file, highlight=False, width=PIPED_WIDTH)


@contextmanager
def progress(task: str, total: int) -> Iterator[Callable[[int], None]]:
    """Draw a progress bar on stderr, if that is a terminal; yield what counts it on."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        number = bar.add_task(task, total=total)
        yield lambda count: bar.advance(number, count)


@contextmanager
def stage_progress(task: str) -> Iterator[Callable[[str, int, int | None], None] | None]:
    """Draw progress bars on stderr, one a stage; yield what counts a stage on, or None where that is no terminal."""
    from rich.progress import BarColumn, Progress, TaskID, TimeRemainingColumn

    if not sys.stderr.isatty():
        yield None
        return
    columns = ("{task.description}", BarColumn(), "{task.fields[amount]}", TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        stages: dict[str, TaskID] = {}

        def tell(stage: str, done: int, total: int | None) -> None:
            if stage not in stages:
                stages[stage] = bar.add_task(f"{task}: {stage}", total=total, amount="")
            amount = f"{done:,}" + ("" if total is None else f" of {total:,}")
            bar.update(stages[stage], completed=done, total=total, amount=amount)

        yield tell


def redacted(text: str) -> str:
    """Return a text with the credentials of its addresses hidden."""
    return _CREDENTIALS.sub(f"://{HIDDEN}@", text)


def interruptible(command: Callable[..., Any]) -> Callable[..., Any]:
    """Return the command such that Ctrl-C ends it with exit code 130."""

    @functools.wraps(command)
    def run(*arguments: Any, **options: Any) -> Any:
        try:
            return command(*arguments, **options)
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            sys.exit(INTERRUPTED)

    return run


def run_command(command: Callable[..., Any]) -> None:
    """Run a typer command function with the process's arguments."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(interruptible(command))
    run_app(app)


def run_app(app: typer.Typer, arguments: Sequence[str] | None = None, *, prog_name: str | None = None) -> None:
    """Run a typer application with these arguments, else the process's."""
    try:
        app(args=arguments, prog_name=prog_name)
    except BadInputError as error:
        for line in str(error).splitlines():
            print(f"error: {line}", file=sys.stderr)
        sys.exit(BAD_INPUT)
