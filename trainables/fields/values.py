"""Single fields of a configuration: their names, and the values that each may have."""

from collections.abc import Sequence
from functools import cache
from typing import Annotated, Any

from pydantic import TypeAdapter, ValidationError

from trainables.config import TrialConfig
from trainables.errors import describe_validation, suggestion
from trainables.fields.band_spelling import band_name
from trainables.fields.validated import listed, plain

LARGEST = 2**53
"""Largest whole number that JSON, MLflow and floats keep exactly."""


def check_field(name: str) -> None:
    """Raise ValueError if no field of TrialConfig has this name."""
    if not isinstance(name, str):
        raise ValueError(f"{name!r}: a field's name is text")
    if name not in TrialConfig.model_fields:
        raise ValueError(f"{name}: unknown field{suggestion(name, list(TrialConfig.model_fields))}")


def check_value(name: str, value: Any) -> Any:
    """Return the parsed value of a field; rules between fields are not checked.

    Raises:
        ValueError: The value is outside the field's type and limits, or true or false where a number is meant.
    """
    check_field(name)
    try:
        parsed = _adapter(name).validate_python(value)
    except ValidationError as error:
        lines = describe_validation(error).replace("configuration: ", "").splitlines()
        raise ValueError(f"{name}: {'; '.join(lines)}") from None
    if isinstance(value, bool) and not isinstance(parsed, bool):
        raise ValueError(f"{name}: must be a number, got {value}")
    if isinstance(parsed, int) and abs(parsed) > LARGEST:
        raise ValueError(f"{name}: must be at most {LARGEST}")
    return parsed


def checked_value(name: str, value: Any) -> Any:
    """Return a field's value as a plain Python value; ValueError as `check_value`, or if JSON can't represent it."""
    try:
        value = plain(value)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    parsed = check_value(name, value)
    return parsed if isinstance(value, str) and isinstance(parsed, int | float) else value


def is_whole(name: str) -> bool:
    """Whether a field takes only whole numbers."""
    return TrialConfig.model_fields[name].annotation in (int, int | None)


def checked_axis(name: str, values: Any) -> Sequence[Any]:
    """Return the checked values of an axis: the values that a field is varied over.

    Raises:
        ValueError: There are no values, one is outside the field's limits, or two have the same text.
    """
    check_field(name)
    try:
        values = listed(values)
    except ValueError as error:
        raise ValueError(f"{name}: {error}; a single value belongs in base") from None
    if not len(values):
        raise ValueError(f"{name}: has no value; give at least one, or leave the field out")
    if not isinstance(values, range):
        values = type(values)(checked_value(name, value) for value in values)
    seen: dict[str, Any] = {}
    for value in values:
        shown = str(value) if type(value) is int else spelled(_alike(name, value))
        if shown in seen:
            raise ValueError(f"{name}: {seen[shown]!r} and {value!r} are both {shown}; keep one of them")
        seen[shown] = value
    return values  # type: ignore[no-any-return]


def _alike(name: str, value: Any) -> Any:
    """Return the value in the spelling that all of its spellings share: B4 and B04 are one band."""
    return [band_name(one) for one in value] if name == "bands" and isinstance(value, list | tuple) else value


def spelled(value: Any) -> str:
    """Return a value as text for names and tables."""
    if isinstance(value, list | tuple):
        return "_".join(spelled(part) for part in value)
    return f"{value:g}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


@cache
def _adapter(name: str) -> TypeAdapter[Any]:
    info = TrialConfig.model_fields[name]
    return TypeAdapter(Annotated[info.annotation, info])  # type: ignore[arg-type]
