"""Class names in the metadata that the Hugging Face hub writes into Parquet files."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from trainables.errors import BadInputError

KEY = b"huggingface"


@dataclass(frozen=True)
class HubNames:
    """Class names of a column; or why metadata that is there gives none."""

    names: tuple[str, ...] = ()
    doubt: str = ""
    """Why the metadata isn't used; empty if it is, or if there is none."""


def hub_names(where: str, schema: Any, column: str, *, text: bool) -> HubNames:
    """Return the class names in a file's metadata.

    Args:
        where: Name of the file, for messages.
        schema: Arrow schema of the file.
        column: Column of the labels.
        text: Whether the column holds texts, which need no names.

    Raises:
        BadInputError: The names contradict each other or their number.
    """
    if KEY not in (schema.metadata or {}):
        return HubNames()
    try:
        features = json.loads(schema.metadata[KEY])["info"]["features"]
        feature = features.get(column)
    except (KeyError, AttributeError, TypeError, ValueError, RecursionError):
        return HubNames(doubt="the hub's metadata can't be read")
    if feature is None:
        return HubNames(doubt=f"the hub's metadata has no column {column!r}")
    found = next(_class_labels(feature), None)
    names = () if found is None else _names(found)
    if found is not None:
        _check(f"{where}: column {column!r}", names, found.get("num_classes"))
    if text:
        return HubNames(doubt="the hub's metadata names classes, but the column holds texts" if names else "")
    return HubNames(names, "the hub's metadata has classes without names" if found is not None and not names else "")


def _check(where: str, names: tuple[str, ...], count: Any) -> None:
    if len(set(names)) < len(names):
        raise BadInputError(f"{where}: two classes have one name; correct the file's metadata")
    if names and isinstance(count, int) and count != len(names):
        raise BadInputError(f"{where}: {count} classes, but {len(names)} names; correct the file's metadata")


def _class_labels(feature: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the class labels of a feature or of its list's items; older files wrap one feature in a list."""
    for part in feature if isinstance(feature, list) else [feature]:
        if isinstance(part, dict):
            if "names" in part or part.get("_type") == "ClassLabel":
                yield part
            if isinstance(part.get("feature"), dict):
                yield from _class_labels(part["feature"])


def _names(feature: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of a class label: a list, or a mapping of numbers to names."""
    names = feature.get("names")
    if isinstance(names, dict) and sorted(names) == sorted(map(str, range(len(names)))):
        names = [names[str(number)] for number in range(len(names))]
    return tuple(map(str, names)) if isinstance(names, list) else ()
