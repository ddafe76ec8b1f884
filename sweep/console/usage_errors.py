"""Usage errors as one line each, where typer would draw a box without the value."""

from typing import Any

import typer
from pydantic import ValidationError

from trainables.errors import describe_validation

UsageError: type[Any] = typer.BadParameter.__mro__[1]
"""Click's base class of usage errors, which newer versions of typer include."""
_NO_FIELD = "configuration: "


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
