"""The errors of a trial: input that a person can mend, a loss that is not finite, a storage that is away."""

from collections.abc import Sequence
from typing import Self

from pydantic import ValidationError

from trainables.printable_text import printable
from trainables.redaction import redact

LONGEST_VALUE = 200
"""Characters of a value that an error repeats."""


class BadInputError(ValueError):
    """Input that can't be used: says the field or file, its value and what to do. Programs print it and exit with 2.

    Each argument is one line, whatever it quotes: without secrets, and without signs that act on a terminal or begin
    another line.
    """

    def __init__(self, *lines: str) -> None:
        super().__init__("\n".join(printable(redact(line)) for line in lines))

    def __reduce__(self) -> tuple[type[Self], tuple[str, ...]]:
        return type(self), tuple(str(self).split("\n"))


class NonFiniteLossError(RuntimeError):
    """The loss became infinite or NaN; raised on every rank before the optimiser's step."""


def describe_validation(error: ValidationError, *, known_fields: Sequence[str] = ()) -> str:
    """Return every fault of a pydantic error, one a line: the field, the rule and the value."""
    lines = []
    for fault in error.errors():
        field = ".".join(_shown(str(part)) for part in fault["loc"]) or "configuration"
        if fault["type"] == "extra_forbidden":
            lines.append(f"{field}: unknown field; known fields: {', '.join(known_fields)}")
        else:
            message = fault["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
            said = fault["type"] in ("value_error", "json_invalid")
            value = "" if said else f", got {_shortened(repr(fault['input']))}"
            # A validator of the whole model names the fields itself.
            names_itself = not fault["loc"] and fault["type"] == "value_error"
            lines.append(message if names_itself else f"{field}: {_rule(fault['msg'], message)}{value}")
    return "\n".join(lines)


def _shown(name: str) -> str:
    """Return a field's name, which a stranger may have chosen, on one line."""
    return _shortened(name if name.isprintable() else repr(name))


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 3]}..."


def _rule(original: str, message: str) -> str:
    return (
        message if original.startswith("Value error, ") or "Input should be" not in original else f"must be {message}"
    )


class StorageAwayError(RuntimeError):
    """The storage couldn't be written for longer than a trial waits."""
