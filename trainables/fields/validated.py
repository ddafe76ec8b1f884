"""Frozen dataclasses validated by pydantic; invalid fields raise BadInputError."""

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Annotated, Any, TypeVar, cast, dataclass_transform

from pydantic import AfterValidator, BeforeValidator, ConfigDict, ValidationError
from pydantic.dataclasses import dataclass

from trainables.errors import BadInputError, describe_validation

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def validated(cls: type[T]) -> type[T]:
    """Make a class a frozen dataclass whose constructor validates its fields.

    The constructor raises BadInputError with one line for each fault: the class, the field, the rule and the value.
    """
    made = dataclass(frozen=True, config=ConfigDict(extra="forbid", allow_inf_nan=False))(cls)
    construct = made.__init__

    @functools.wraps(construct)
    def checked(self: Any, *arguments: Any, **fields: Any) -> None:
        known = list(made.__dataclass_fields__)
        if len(arguments) > len(known):
            raise BadInputError(f"{cls.__name__}: takes {len(known)} values ({', '.join(known)}), got {len(arguments)}")
        try:
            construct(self, **dict(zip(known, arguments, strict=False)), **fields)
        except ValidationError as error:
            lines = describe_validation(error, known_fields=known).splitlines()
            raise BadInputError(*(f"{cls.__name__}: {line}" for line in lines)) from None

    made.__init__ = checked  # type: ignore[method-assign]
    return cast(type[T], made)


def plain(value: Any) -> Any:
    """Return a value as plain Python: NumPy numbers become Python numbers, arrays become lists.

    Raises:
        ValueError: The value is not a number, text, boolean or None, nor a list or mapping of these.
    """
    if hasattr(value, "tolist") and hasattr(value, "dtype"):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return type(value)(plain(part) for part in value)
    if isinstance(value, Mapping):
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"must be a finite number, got {value}")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ValueError(f"must be a number, text, true, false, none or a list of these, got {_named(value)}")


def listed(values: Any) -> Any:
    """Return values as a list or tuple of plain values; ValueError for a single value or a generator."""
    if hasattr(values, "tolist") and hasattr(values, "dtype"):
        values = values.tolist()
    if not isinstance(values, Sequence) or isinstance(values, str | bytes):
        raise ValueError(f"must be a list or tuple, got {_named(values)}")
    return values


def _named(value: Any) -> str:
    shown = repr(value)
    return f"{type(value).__name__} {shown}" if len(shown) < 60 and " at 0x" not in shown else type(value).__name__


Listed = Annotated[Sequence[T], BeforeValidator(listed), AfterValidator(tuple)]
"""Tuple field that also accepts a list; a single value is refused."""
