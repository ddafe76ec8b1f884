"""Usage errors as one line each, where typer would draw a box without the value."""

import re
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
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
_FREE = ("--on-end", "--set", "--column", "--separator")
"""Options whose values may be any text."""
_DASHES = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212"
_UNEXPANDED = re.compile(r"\$\{\w+\}|\$[A-Z_][A-Z0-9_]*|\{\{.*\}\}")
"""A variable of a shell, or a placeholder of a template."""


def checked_arguments(arguments: Iterable[str]) -> list[str]:
    """Return the arguments with a leading ~ of a value expanded, as a shell does it only in some places.

    Raises:
        BadInputError: An argument is empty, or is what a shell, an editor or a word processor made of it.
    """
    checked, before = [], ""
    for argument in arguments:
        option, equals, value = argument.partition("=") if argument.startswith("--") else (before, "", argument)
        if not value and (equals or not argument):
            where = option if equals else f"after {before}" if before else "the first argument"
            raise BadInputError(f"{where}: an empty value (a variable that isn't set?); give one, or leave it out")
        if option not in _FREE and (fault := _damage(argument, option, value)):
            raise BadInputError(fault)
        expanded = str(Path(value).expanduser()) if value.startswith("~/") else value
        checked.append(f"{option}={expanded}" if equals else argument if argument.startswith("--") else expanded)
        before = argument
    return checked


def _damage(argument: str, option: str, value: str) -> str:
    """Return what happened to an argument before it came here, and what to do; empty for a sound one."""
    if argument[0] in _DASHES:
        meant = "--" + argument.lstrip(_DASHES + "-")
        shown = f"{argument}: begins with U+{ord(argument[0]):04X} (a text pasted from a page?)"
        return f"{shown}; an option begins with two hyphens, {meant}"
    if argument.endswith(("\r", "\n")):
        return f"{argument}: ends with a line break (a script with Windows line ends?); save it with Unix line ends"
    if option.startswith("--") and _UNEXPANDED.search(value) and not Path(value).exists():
        return f"{option}: {value!r} has a variable that nothing replaced (single quotes?); give its value"
    return ""


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
    return f"{said}; see --help" if said else ""
