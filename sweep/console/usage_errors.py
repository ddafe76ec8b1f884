"""Usage errors as one line each, where typer would draw a box without the value."""

import re
import sys
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any

import typer
from pydantic import ValidationError

from trainables.errors import BadInputError, describe_validation

UsageError: type[Any] = typer.BadParameter.__mro__[1]
"""Click's base class of usage errors, which newer versions of typer include."""
VARIABLES = (
    *("SWEEP_CACHE", "SWEEP_CACHE_LIMIT", "SWEEP_DATA", "SWEEP_ON_END", "SWEEP_UNPACKED_LIMIT", "SWEEP_WEIGHTS"),
    "SWEEP_WEIGHTS_URL",
)
"""Environment variables that a person may set."""
_NO_FIELD = "configuration: "
_EMPTY_OPTION = re.compile(r"(--[a-z-]+)=")


def refuse_empty(arguments: Sequence[str] | None) -> None:
    """Raise BadInputError for an empty argument or value of an option, which as a path would be the current folder."""
    before = ""
    for argument in sys.argv[1:] if arguments is None else arguments:
        named = _EMPTY_OPTION.fullmatch(argument)
        if named or not argument:
            where = named[1] if named else f"after {before}" if before else "the first argument"
            raise BadInputError(f"{where}: an empty value (a variable that isn't set?); give one, or leave it out")
        before = argument


def mistyped_variables(names: Iterable[str]) -> list[str]:
    """Return a line for each environment variable that isn't known, but spelt like one that is."""
    lines = []
    for name in sorted(names):
        near = get_close_matches(name.upper(), VARIABLES, n=1, cutoff=0.85)
        if near and name not in VARIABLES:
            lines.append(f"{name}: no variable of this program, and not used; did you mean {near[0]}?")
    return lines


def usage_line(error: Any) -> str:
    """Return a usage error in one line: the option, the rule and the value; otherwise click's message.

    It is empty if typer has printed the help, as for a command without arguments.
    """
    option, cause = getattr(error, "param", None), error.__cause__
    if option is not None and isinstance(cause, ValidationError):
        fault = describe_validation(cause).partition("\n")[0].removeprefix(_NO_FIELD).rstrip(".")
        return f"{max(option.opts, key=len)}: {fault}"
    said = " ".join(error.format_message().split()).rstrip(".")
    return f"{said}; --help lists what there is" if said else ""
