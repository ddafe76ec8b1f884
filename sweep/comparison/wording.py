"""The names of a trial's classes for a reader."""

from collections.abc import Mapping, Sequence
from typing import Any

LONGEST = 32


def class_words(classes: Sequence[str], config: Mapping[str, Any] | None) -> tuple[str, ...]:
    """Return the classes; of a yes-or-no question by its rule: not farmland, farmland."""
    if config is None or config.get("target") != "positive":
        return tuple(classes)
    what = " or ".join(config["positive"])
    return (f"not {what}", what) if len(what) <= LONGEST else tuple(classes)
