"""Errors of a trial: bad input, a loss that is not finite, a storage that is unreachable."""

import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Self

from trainables.printing.printable_text import printable
from trainables.printing.redaction import redact

if TYPE_CHECKING:
    from pydantic import ValidationError

LONGEST_VALUE = 200
"""Maximum number of characters of a value that an error message quotes."""


class BadInputError(ValueError):
    """Bad input: the message names the field or file, its value and what to do. Commands print it and exit with 2.

    Each argument is one line of the message. Secrets are hidden; control characters and line breaks are escaped.
    """

    def __init__(self, *lines: str) -> None:
        super().__init__("\n".join(printable(redact(line)) for line in lines))

    def __reduce__(self) -> tuple[type[Self], tuple[str, ...]]:
        return type(self), tuple(str(self).split("\n"))


class NonFiniteLossError(RuntimeError):
    """Infinite or NaN loss; raised on every rank before the optimiser's step."""


def describe_validation(error: "ValidationError", *, known_fields: Sequence[str] = ()) -> str:
    """Return the faults of a pydantic error, one per line: the field, the rule and the value."""
    return "\n".join(_described(fault, known_fields) for fault in error.errors())


def nearest(name: str, known: Iterable[str]) -> str:
    """Return "; did you mean ...?" with known names that are spelt like `name`; empty if there are none."""
    known = list(dict.fromkeys(other for other in known if other != name))
    begun = [other for other in known if len(other) > 2 and (name.startswith(other) or other.startswith(name))]
    near = list(dict.fromkeys([*get_close_matches(name, known, n=3), *begun]))[:3]
    return f"; did you mean {' or '.join(repr(other) for other in near)}?" if near else ""


def suggestion(name: str, known: Sequence[str]) -> str:
    """Return the known names that are spelt like `name`; if there are none, all known names."""
    return nearest(name, known) or (f"; known fields: {', '.join(known)}" if known else "")


def _described(fault: Any, known_fields: Sequence[str]) -> str:
    field = ".".join(_shown(str(part)) for part in fault["loc"]) or "configuration"
    kind, value = fault["type"], fault["input"]
    if kind in ("extra_forbidden", "unexpected_keyword_argument"):
        known = known_fields if len(fault["loc"]) == 1 else ()  # those of the outermost value
        return f"{field}: unknown field{suggestion(str(fault['loc'][-1]), known)}"
    if kind in ("missing", "missing_argument"):
        return f"{field}: is missing"
    if kind == "too_short" and not len(value):
        return f"{field}: must not be empty"
    if kind in ("dataclass_type", "model_type"):
        return f"{field}: must be a {fault['ctx']['class_name']}, got {_short(value)}"
    message = fault["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    if kind == "value_error":
        # Such a message may name the field itself.
        return message if not fault["loc"] or message.startswith(field) else f"{field}: {_rule(fault['msg'], message)}"
    if kind == "json_invalid":
        return f"{field}: {_rule(fault['msg'], message)}"
    hint = nearest(str(value), re.findall(r"'([^']*)'", message)) if kind == "literal_error" else ""
    return f"{field}: {_rule(fault['msg'], message)}, got {_short(value)}{hint}"


def _short(value: Any) -> str:
    return _shortened(repr(value))


def _shown(name: str) -> str:
    """Return a field's name on one printable line; it may come from a foreign file."""
    return _shortened(name if name.isprintable() else repr(name))


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 3]}..."


def _rule(original: str, message: str) -> str:
    return (
        message if original.startswith("Value error, ") or "Input should be" not in original else f"must be {message}"
    )


class StorageAwayError(RuntimeError):
    """Storage that has been unwritable for longer than a trial waits."""
