"""Targets that a store offers: its positive classes, and the errors for targets and pairs that it doesn't have."""

from trainables.data.bands import other_reflectance
from trainables.data.dataset_facts import DataSetFacts
from trainables.data.store_info import PlaceDates, StoreInfo
from trainables.errors import BadInputError

LISTED_NAMES = 12
"""Largest number of class names in an error message; beyond it the message points to `info`."""


def expand_positive(info: StoreInfo | DataSetFacts, positive: tuple[str, ...]) -> tuple[str, ...]:
    """Expand names of rules and classes to class names, each once and in class order.

    If the class names are unknown before preparation, entries that aren't rules are returned unchecked.

    Args:
        info: Metadata of a store, or facts about a published data set.
        positive: Names of rules or classes.

    Raises:
        BadInputError: A name is neither a rule nor a class.
    """
    known_classes = info.class_names or tuple(entry for entry in positive if entry not in info.rules)
    wanted: set[str] = set()
    for entry in positive:
        if entry not in info.rules and entry not in known_classes:
            raise BadInputError(_unknown_positive(info, entry))
        wanted.update(info.rules.get(entry, (entry,)))
    return tuple(dict.fromkeys(name for name in (*known_classes, *sorted(wanted)) if name in wanted))


def several_labels(info: StoreInfo | DataSetFacts) -> BadInputError:
    """Return the error for a single-label operation on a multi-label store."""
    rules = ", ".join(info.rules) or "none"
    return BadInputError(
        f"{info.name}: images have several labels; set target=labels, or target=positive with a positive rule "
        f"(known: {rules})"
    )


def wrong_kind(info: StoreInfo, target: str) -> BadInputError:
    """Return the error for regression on a store with classes, or classification on a store with numbers."""
    if info.number:
        return BadInputError(
            f"target: {info.name} has a number per image, {info.number}; set target=number, got {target}"
        )
    return BadInputError(
        f"target: 'number' needs a number per image, but {info.name} has classes; attach numbers: python -m sweep.data "
        f"label {info.name} --table FILE --number"
    )


def other_values(pretrained: StoreInfo, evaluated: StoreInfo) -> list[str]:
    """Return an error if two stores differ in bands, channel by channel, or in the type or reflectance of values."""
    ours, theirs = pretrained.channel_bands, evaluated.channel_bands
    if len(ours) != len(theirs):
        told = f"has {len(theirs)} channels, {pretrained.name} has {len(ours)}"
    elif not all(one.same_as(other) for one, other in zip(ours, theirs, strict=True)):
        first, second = (", ".join(band.name for band in bands) for bands in (theirs, ours))
        told = f"has the bands {first}, {pretrained.name} has {second}"
    elif pretrained.dtype != evaluated.dtype:
        return [
            f"evaluation_dataset: {evaluated.name} has values of {evaluated.dtype}, {pretrained.name} of "
            f"{pretrained.dtype}; prepare both with the same --pixels"
        ]
    elif differing := other_reflectance(evaluated.inputs, pretrained.inputs):
        return [
            f"evaluation_dataset: {evaluated.name} has values of another reflectance, {differing[0]}, "
            f"{pretrained.name} has {differing[1]}; prepare both with the same --pixels, thesis or reflectance"
        ]
    else:
        return []
    return [
        f"evaluation_dataset: {evaluated.name} {told}; name those that both have with bands, or prepare both with the "
        "same bands"
    ]


def without_seasons(name: str, counts: PlaceDates) -> BadInputError:
    """Return the error for pairs of seasons on a store that has no place at two dates."""
    has = counts.described() or "no train image's place and date is known; scenes and BigEarthNet v2.0 have them"
    return BadInputError(
        f"pairs: 'season' needs train images of one place at two dates, and {name} has none: {has}; prepare scenes of "
        "other dates with them, or set pairs=image"
    )


def _unknown_positive(info: StoreInfo | DataSetFacts, entry: str) -> str:
    classes = ", ".join(repr(name) for name in info.class_names[:LISTED_NAMES])
    if len(info.class_names) > LISTED_NAMES:
        classes += f" and {len(info.class_names) - LISTED_NAMES} more (python -m sweep.data info {info.name})"
    rules = ", ".join(info.rules) or "none"
    return f"positive {entry!r}: neither a rule nor a class of {info.name}; rules: {rules}; classes: {classes}"
