"""Arguments from Python, checked against their annotations: one line for each that has another type."""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, ParamSpec, TypeVar, get_args, get_origin

from pydantic import Field, TypeAdapter, ValidationError

from trainables.errors import BadInputError

P = ParamSpec("P")
R = TypeVar("R")
Count = Annotated[int, Field(ge=1)]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
LONGEST_SHOWN = 60
"""Maximum number of characters of a value in a message."""
WORDS: Mapping[Any, str] = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "True or False",
    Path: "a path",
    NoneType: "None",
    Mapping[str, Any]: "a mapping of fields to values",
    Sequence[str]: "a list of texts",
    Sequence[float]: "a list of numbers",
}


def checked(**limits: Any) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator that raises BadInputError for arguments of other types than annotated.

    Args:
        limits: Narrower types, by argument.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def call(*arguments: P.args, **options: P.kwargs) -> R:
            bound = signature.bind(*arguments, **options)
            hints = {name: one.annotation for name, one in signature.parameters.items()} | limits
            faults: list[str] = []
            for name, value in bound.arguments.items():
                match signature.parameters[name].kind:
                    case inspect.Parameter.VAR_KEYWORD:
                        continue
                    case inspect.Parameter.VAR_POSITIONAL:
                        bound.arguments[name] = tuple(_checked(name, one, hints[name], faults) for one in value)
                    case _:
                        bound.arguments[name] = _checked(name, value, hints[name], faults)
            if faults:
                raise BadInputError(*faults)
            return function(*bound.args, **bound.kwargs)

        return call

    return decorate


def checked_values(values: Mapping[str, Any], hints: Mapping[str, Any], shown: Callable[[str], str]) -> dict[str, Any]:
    """Return values as plain Python; BadInputError for those that aren't of their type, by their `shown` names."""
    faults: list[str] = []
    plain = {name: _checked(shown(name), value, hints[name], faults) for name, value in values.items()}
    if faults:
        raise BadInputError(*faults)
    return plain


def _checked(name: str, value: Any, hint: Any, faults: list[str]) -> Any:
    """Return a value with NumPy's numbers and arrays as Python's; append a line to `faults` if it has another type."""
    if hasattr(value, "tolist") and hasattr(value, "dtype"):
        value = value.tolist()
    try:
        TypeAdapter(hint).validate_python(value, strict=True)
    except ValidationError as error:
        faults.append(f"{name}: {_rule(error, hint)}, got {_shown(value)}")
    if value == "" and isinstance(value, str):
        faults.append(f"{name}: is empty; leave it out, or give {_words(hint)}")
    return value


def _rule(error: ValidationError, hint: Any) -> str:
    """Return the limit that a number of the right type breaks, or the types in words."""
    for fault in error.errors():
        if fault["type"].startswith(("greater", "less", "finite")):
            return "must be " + fault["msg"].removeprefix("Input should be ")
    return f"must be {_words(hint)}"


def _words(hint: Any) -> str:
    if get_origin(hint) is Annotated:
        return _words(get_args(hint)[0])
    if get_origin(hint) is Literal:
        return " or ".join(repr(one) for one in get_args(hint))
    if hint in WORDS:
        return WORDS[hint]
    return " or ".join(map(_words, get_args(hint))) or f"a {hint.__name__}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= LONGEST_SHOWN and " at 0x" not in text else f"a {type(value).__name__}"
