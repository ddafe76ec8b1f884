"""Printing to the terminal without control characters and without secrets."""

import json
import logging
import math
import sys
import traceback
from collections.abc import Iterable
from types import TracebackType
from typing import Any, TextIO

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from trainables.printing.printable_text import printable, printable_lines
from trainables.printing.redaction import redact

PIPED_WIDTH = 160


def say(text: str, *, error: bool = False) -> None:
    """Print one line on stdout, or on stderr, and flush it."""
    print(printable(redact(text)), file=sys.stderr if error else sys.stdout, flush=True)


def say_json(value: Any, file: TextIO | None = None) -> None:
    """Print a value as one line of ASCII JSON without control characters; numbers that JSON lacks are null."""
    print(json.dumps(finite(value), allow_nan=False).replace("\x7f", "\\u007f"), file=file or sys.stdout, flush=True)


def finite(value: Any) -> Any:
    """Return a value for JSON: NaN and infinities as None."""
    if isinstance(value, dict):
        return {name: finite(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def text(value: str, style: str = "") -> Text:
    """Return a text for a rich table or line: no markup, one line."""
    return Text(printable(value), style=style)


class PrintableFormatter(logging.Formatter):
    """Log formatter whose lines are printable and without secrets."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record, with its traceback."""
        return printable_lines(redact(super().format(record)))


class _PlainConsole(Console):
    """Console that prints brackets and colons literally and escapes control characters in all output."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yield the segments of a renderable, with printable text."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=printable_lines(segment.text))


def screen(file: TextIO | None = None, *, error: bool = False) -> Console:
    """Return a console for people: as wide as the terminal, or wide enough for a table without a terminal."""
    console = _PlainConsole(file=file, stderr=error, highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = PIPED_WIDTH
    return console


def show_traceback(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print an uncaught error as Python does, but printable and without secrets; for sys.excepthook."""
    lines = "".join(traceback.format_exception(kind, error, trace))
    print(printable_lines(redact(lines.rstrip("\n"))), file=sys.stderr)
