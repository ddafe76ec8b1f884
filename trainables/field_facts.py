"""Facts about a field of a trial's configuration, beside its type and limits: group, unit and published values."""

from dataclasses import dataclass


@dataclass(frozen=True)
class FieldFacts:
    """Metadata of a field, for `sweep.run --fields` and docs/settings.md; it isn't part of any trial id.

    `reference` is the value of Google's SimCLR (folder tf2), if it is relevant.
    """

    group: str
    unit: str = ""
    thesis: str = ""
    reference: str = ""
