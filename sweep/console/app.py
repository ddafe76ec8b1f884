"""Entry point shared by all commands: bad input is one clear error on stderr and exit code 2, never a traceback."""

import errno
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import typer

from sweep.console.commands import Commands
from sweep.console.printing import PrintableFormatter, say, screen, show_traceback
from sweep.console.usage_errors import UsageError, checked_arguments, mistyped_variables, usage_line
from trainables.errors import BadInputError
from trainables.printing.lasting_output import FAILED, check_output, open_streams

BAD_INPUT = 2
MACHINE = frozenset(
    (
        *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENAMETOOLONG),
        *(errno.ELOOP, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO, errno.ESTALE),
    )
)
"""Errors of files that the machine or its disks cause, and no fault of the program: one line, no traceback."""


@contextmanager
def progress(task: str, total: int) -> Iterator[Callable[[int], None]]:
    """Draw a progress bar on stderr if that is a terminal; yield a function that advances it."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=screen(error=True), transient=True) as bar:
        number = bar.add_task(task, total=total)
        yield lambda count: bar.advance(number, count)


@contextmanager
def stage_progress(task: str) -> Iterator[Callable[[str, int, int | None], None] | None]:
    """Draw progress bars on stderr, one per stage; yield a function that advances a stage, None without a terminal."""
    from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    if not sys.stderr.isatty():
        yield None
        return
    words = (TextColumn(f"{{task.{name}}}", markup=False) for name in ("description", "fields[amount]"))
    columns = (next(words), BarColumn(), next(words), TimeRemainingColumn())
    with Progress(*columns, console=screen(error=True), transient=True) as bar:
        stages: dict[str, TaskID] = {}

        def tell(stage: str, done: int, total: int | None) -> None:
            if stage not in stages:
                stages[stage] = bar.add_task(f"{task}: {stage}", total=total, amount="")
            amount = f"{done:,}" + ("" if total is None else f" of {total:,}")
            bar.update(stages[stage], completed=done, total=total, amount=amount)

        yield tell


def _of_machine(error: OSError) -> str:
    """Return in words what the machine refused: the file and the reason."""
    if error.filename is not None and error.strerror:
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    return str(error).partition("\n")[0]


def run_command(command: Callable[..., Any]) -> None:
    """Run a typer command function with the process's arguments."""
    app = Commands(add_completion=False, pretty_exceptions_enable=False)
    app.command()(command)
    run_app(app)


def run_app(app: typer.Typer, arguments: Sequence[str] | None = None, *, prog_name: str | None = None) -> None:
    """Run a typer application with `arguments`, by default the process's."""
    open_streams()
    if logging.lastResort is not None:  # the handler for warnings of loggers without a handler
        logging.lastResort.setFormatter(PrintableFormatter())
    try:
        arguments = checked_arguments(sys.argv[1:] if arguments is None else arguments)
        for line in mistyped_variables(os.environ):
            say(line, error=True)
        code = app(args=arguments, prog_name=prog_name, standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except SystemExit as end:
        check_output(end)
        raise
    except (BadInputError, UsageError) as error:
        lines = [usage_line(error)] if isinstance(error, UsageError) else str(error).splitlines()
        for line in filter(None, lines):
            say(f"error: {line}", error=True)
        sys.exit(BAD_INPUT)
    except OSError as error:
        if error.errno not in MACHINE:
            sys.excepthook = show_traceback
            raise
        say(f"error: {_of_machine(error)}", error=True)
        sys.exit(FAILED)
    except MemoryError:
        say("error: no memory left for this command", error=True)
        sys.exit(FAILED)
    except Exception:
        sys.excepthook = show_traceback  # set here, since typer sets its own hook
        raise
