"""Parsing of `field=value` assignments from a command line."""

import json
import re
from collections.abc import Iterable
from typing import Any, get_origin

from trainables.config import TrialConfig
from trainables.errors import BadInputError, suggestion
from trainables.fields.values import checked_axis
from trainables.weights.initial_weights import split_weights

DECIMAL_COMMA = re.compile(r"-?\d+,\d+")


def parse_assignments(texts: Iterable[str]) -> dict[str, list[Any]]:
    """Return each field's values: one, or several separated by commas.

    A field with a list or an interval takes its parts separated by commas, or a JSON list. A JSON list of lists gives
    several such values.

    Raises:
        BadInputError: One line for each text that is not an assignment, names an unknown field or one twice, or has an
            invalid value.
    """
    assignments: dict[str, list[Any]] = {}
    faults = []
    for text in texts:
        field, separator, value = (part.strip() for part in text.partition("="))
        if not separator or not field or not value:
            faults.append(f"--set {text}: must be field=value")
        elif field not in TrialConfig.model_fields:
            faults.append(f"--set {text}: unknown field {field!r}{suggestion(field, list(TrialConfig.model_fields))}")
        elif field in assignments:
            faults.append(f"--set {text}: {field} is set before; give its values once, separated by commas")
        else:
            try:
                assignments[field] = list(checked_axis(field, _values(field, value)))
            except ValueError as error:
                hint = f"; for one number write {value.replace(',', '.')}" if DECIMAL_COMMA.fullmatch(value) else ""
                faults.append(f"--set {text}: {error}{hint}")
    if faults:
        raise BadInputError(*faults)
    return assignments


def _values(field: str, text: str) -> list[Any]:
    """Return the field's values; a text in brackets is JSON, for names that contain commas."""
    listed = json_or_text(text) if is_tuple(field) and text.startswith("[") else None
    if isinstance(listed, list):
        return listed if listed and all(isinstance(one, list) for one in listed) else [listed]
    if isinstance(listed, str) and listed.endswith("]"):
        raise ValueError(f'{field}: {text} isn\'t JSON; one list: ["a","b"], several: [["a","b"],["c"]]')
    split = split_weights if field == "initial_weights" else split_commas
    pieces = [piece if is_text(field) else json_or_text(piece) for piece in split(text)]
    return [pieces] if is_tuple(field) else pieces


def is_tuple(field: str) -> bool:
    """Whether a field holds several values, so that commas belong to it."""
    return get_origin(TrialConfig.model_fields[field].annotation) is tuple


def is_text(field: str) -> bool:
    """Whether a field holds text, so that `positive=0,6` names the classes '0' and '6' and no numbers."""
    return TrialConfig.model_fields[field].annotation in (str, str | None, tuple[str, ...])


def split_commas(text: str) -> list[str]:
    """Split at commas, each piece stripped."""
    return [piece.strip() for piece in text.split(",")]


def json_or_text(text: str) -> Any:
    """Return the JSON value that `text` spells, else the text."""
    try:
        return json.loads(text)
    except ValueError:
        return text
