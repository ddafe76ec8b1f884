"""Classes of a map: from a model's probabilities to one probability and one class per pixel; pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweep.maps.windows import Values
from trainables.errors import BadInputError
from trainables.evaluation.multilabel import HALF

NODATA = 255
"""In both bands: no probability, and no class, as a map has fewer."""
STEPS = 4096
"""Probabilities are kept to so many parts of one: finer ones say nothing, and make the file larger."""


@dataclass(frozen=True)
class MapClasses:
    """The classes of a map, and how they are decided."""

    names: tuple[str, ...]
    positive: str
    """What the probability is of; empty: of the most probable class."""
    columns: tuple[int, ...]
    """Of the probabilities, those that count as positive."""
    several: bool
    """Whether the model gives each of several labels its own probability."""
    threshold: float | None
    """A pixel is positive from here on; None where the most probable class is taken."""
    each: tuple[str, ...] = ()
    """The model's classes, where each gets a band of its own probability."""

    @property
    def channels(self) -> int:
        """Values that are blended for each pixel."""
        return 1 + len(self.each) if self.positive else len(self.names)

    def scores(self, probabilities: Values) -> Values:
        """Return what is blended, (N, channels), of a model's probabilities (N, K), which come last where wanted.

        Of classes the positives' sum; of several labels, which don't exclude each other, their highest.
        """
        if not self.positive:
            return probabilities
        chosen = probabilities[:, list(self.columns)]
        scores: Values = chosen.max(axis=1, keepdims=True) if self.several else chosen.sum(axis=1, keepdims=True)
        return np.concatenate([scores, probabilities], axis=1) if self.each else scores

    def decide(self, means: Values) -> tuple[Values, NDArray[np.uint8]]:
        """Return probability and class number, (H, W) each, of blended scores (channels, H, W)."""
        kept = _kept(means)  # before a class is decided, so that the bands agree
        if self.threshold is None:
            return kept.max(axis=0), kept.argmax(axis=0).astype(np.uint8)
        return kept[0], (kept[0] >= self.threshold).astype(np.uint8)

    def probabilities(self, means: Values) -> Values:
        """Return the probability of each class, (K, H, W), of blended scores; (0, H, W) where not wanted."""
        return _kept(means[len(means) - len(self.each) :])


def _kept(means: Values) -> Values:
    kept: Values = (np.rint(means * STEPS) / STEPS).astype(np.float32)
    return kept


def map_classes(facts: Mapping[str, Any], positive: Sequence[str] = (), threshold: float | None = None) -> MapClasses:
    """Return what a map of the model with these facts (model.json) says.

    `positive` names classes or rules to map instead of the model's own. BadInputError for one that is neither, for a
    model of several labels without any, and for a threshold where none is used.
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
            "this model gives an image several labels, a map's pixel has one: say with --positive what to map "
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
