"""Classes of a map: from a model's probabilities to one probability and one class per pixel; pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweep.maps.class_areas import ClassAreas
from sweep.maps.ground_resolution import GroundResolution
from sweep.maps.windows import Values
from trainables.errors import BadInputError
from trainables.evaluation.multilabel import HALF

NODATA = 255
"""Nodata value in both bands; a map has fewer classes."""
STEPS = 4096
"""Probabilities are rounded to multiples of 1 / STEPS, which keeps the file small."""


@dataclass(frozen=True)
class MapClasses:
    """Classes of a map, and the rule that decides them."""

    names: tuple[str, ...]
    positive: str
    """Class or rule whose probability is mapped; empty: the most probable class of each pixel."""
    columns: tuple[int, ...]
    """Indices of the model's outputs that count as positive."""
    several: bool
    """Whether the model is multi-label: one independent probability per label."""
    threshold: float | None
    """Smallest probability of a positive pixel; None if the most probable class is mapped."""
    each: tuple[str, ...] = ()
    """Classes with a band of their own probability; empty: none."""

    @property
    def dtype(self) -> str:
        """Type of the map's bands."""
        return "float32"

    @property
    def nodata(self) -> float:
        """Value of pixels without data."""
        return float(NODATA)

    @property
    def descriptions(self) -> tuple[str, ...]:
        """Description of each band: probability, class, and optionally the probability of each class."""
        each = (f"probability of the class {name}" for name in self.each)
        return (f"probability of {self.positive or 'the most probable class'}", "class", *each)

    @property
    def tags(self) -> dict[str, str]:
        """Tags of the file."""
        return {"threshold": str(self.threshold)}

    @property
    def band_tags(self) -> dict[int, dict[str, str]]:
        """Names of the class numbers, by band."""
        return {2: {f"class_{number}": name for number, name in enumerate(self.names)}}

    @property
    def facts(self) -> dict[str, Any]:
        """Facts for the JSON file: the rule that decides the classes."""
        bands = {name: band for band, name in enumerate(self.each, 3)}
        return {"positive": self.positive or None, "threshold": self.threshold, "probability_bands": bands}

    @property
    def channels(self) -> int:
        """Number of blended values per pixel."""
        return 1 + len(self.each) if self.positive else len(self.names)

    def scores(self, probabilities: Values) -> Values:
        """Return the scores to blend, (N, channels), from a model's probabilities (N, K).

        The positive score is the sum over positive classes, or the maximum over positive labels, which don't exclude
        each other. The probabilities of all classes follow if they are mapped.
        """
        if not self.positive:
            return probabilities
        chosen = probabilities[:, list(self.columns)]
        scores: Values = chosen.max(axis=1, keepdims=True) if self.several else chosen.sum(axis=1, keepdims=True)
        return np.concatenate([scores, probabilities], axis=1) if self.each else scores

    def decide(self, means: Values) -> tuple[Values, NDArray[np.uint8]]:
        """Return probability and class number, (H, W) each, from blended scores (channels, H, W)."""
        kept = _kept(means)  # before a class is decided, so that the bands agree
        if self.threshold is None:
            return kept.max(axis=0), kept.argmax(axis=0).astype(np.uint8)
        return kept[0], (kept[0] >= self.threshold).astype(np.uint8)

    def bands(self, means: Values) -> Values:
        """Return the map's bands (B, H, W) from blended scores."""
        probability, classes = self.decide(means)
        return np.concatenate([probability[None], classes[None].astype(np.float32), self.probabilities(means)])

    def summary(self, ground: GroundResolution) -> ClassAreas:
        """Return a summary without pixels yet: pixel count and area of each class."""
        return ClassAreas(self.names, ground)

    def notes(self, described: Mapping[str, Any]) -> list[str]:
        """Return notes on a summary; maps of classes have none."""
        return []

    def probabilities(self, means: Values) -> Values:
        """Return the probability of each class, (K, H, W), from blended scores; (0, H, W) if they aren't mapped."""
        return _kept(means[len(means) - len(self.each) :])


def _kept(means: Values) -> Values:
    kept: Values = (np.rint(means * STEPS) / STEPS).astype(np.float32)
    return kept


def map_classes(facts: Mapping[str, Any], positive: Sequence[str] = (), threshold: float | None = None) -> MapClasses:
    """Return the classes that a model maps.

    Args:
        facts: Facts of the exported model (model.json).
        positive: Classes or rules to map instead of the model's own.
        threshold: Smallest probability of a positive pixel; None: the model's own.

    Raises:
        BadInputError: An unknown class or rule, a multi-label model without any, or an unused threshold.
    """
    classes, several = [str(name) for name in facts["classes"]], bool(facts["several_labels"])
    own = not positive or list(positive) == facts.get("positive_rule")
    wanted = set(facts["positive"]) if own else _expanded(facts, classes, positive)
    if threshold is not None and not 0.0 < threshold < 1.0:
        raise BadInputError(f"--threshold must be > 0 and < 1, got {threshold}")
    if wanted:
        name = " or ".join(positive or facts.get("positive_rule") or facts["positive"])
        columns = tuple(k for k, one in enumerate(classes) if one in wanted)
        return MapClasses(
            ("rest" if name == "other" else "other", name),
            name,
            columns,
            several,
            HALF if threshold is None else threshold,
        )
    if several:
        raise BadInputError(
            "this model predicts several labels, but a map has one class per pixel: give with --positive what to map "
            f"({_known(facts, classes)})"
        )
    if threshold is not None:
        raise BadInputError(
            f"--threshold {threshold}: needs a --positive; without one the most probable class is taken"
        )
    if len(classes) >= NODATA:
        raise BadInputError(f"this model has {len(classes)} classes, a map at most {NODATA - 1}: choose a --positive")
    return MapClasses(tuple(classes), "", (), False, None)


def _expanded(facts: Mapping[str, Any], classes: Sequence[str], positive: Sequence[str]) -> set[str]:
    rules = facts.get("rules", {})
    wanted: set[str] = set()
    for name in positive:
        members = rules.get(name, [name])
        if not set(members) <= set(classes):
            known = _known(facts, classes)
            raise BadInputError(f"--positive {name}: neither a class nor a rule of this model ({known})")
        wanted.update(members)
    return wanted


def _known(facts: Mapping[str, Any], classes: Sequence[str]) -> str:
    return f"rules: {', '.join(facts.get('rules', {})) or 'none'}; classes: {', '.join(classes)}"
