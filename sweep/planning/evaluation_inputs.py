"""What a person names for an evaluation, as values: weights, data sets, shares of the labels."""

from collections.abc import Iterable
from typing import Any

from sweep.planning.evaluation_space import VALIDATION_FRACTION, EvaluatedData, EvaluatedWeights
from trainables.config import SimCLRConfig
from trainables.data.catalog import StoreInfo, expand_positive, prepared
from trainables.errors import BadInputError
from trainables.initial_weights import InitialWeights
from trainables.overrides import parse_assignments

ENCODER = ("encoder", "width_factor", "stem", "image_size", "normalisation", "precision")
"""Fields that may be given for weights that a person names."""


def named_weights(text: str) -> EvaluatedWeights:
    """Return weights of NAME=FILE[,FIELD=VALUE...]."""
    first, *rest = text.split(",")
    name, _, address = first.partition("=")
    if not name or not address:
        raise BadInputError(f"--weights {text!r}: give NAME=FILE, then what differs from the trial: ,encoder=resnet50")
    fields = single_values(rest)
    if unknown := set(fields) - set(ENCODER):
        raise BadInputError(
            f"--weights {text!r}: {', '.join(sorted(unknown))}: can't be said of weights; {ENCODER} can"
        )
    return EvaluatedWeights(name, (InitialWeights(address, name).pinned(),), fields)


def single_values(texts: Iterable[str]) -> dict[str, Any]:
    """Return the fields of FIELD=VALUE words, each with one value."""
    parsed = parse_assignments(list(texts))
    for field, values in parsed.items():
        if len(values) > 1:
            raise BadInputError(f"--set {field}: one value, got {len(values)}")
    return {field: values[0] for field, values in parsed.items()}


def label_fractions(text: str) -> tuple[float, ...]:
    """Return the shares of the labels of "0.01,0.1,1"."""
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if not values or not all(0.0 < value <= 1.0 for value in values):
        raise BadInputError(f"--labels {text}: give shares above 0 and up to 1, as in 0.01,0.1,1")
    return values


def evaluated_data(name: str, config: SimCLRConfig) -> EvaluatedData:
    """Return a prepared data set with the question that a pretraining's `config` asks of it."""
    info = prepared(name)
    held_back = 0.0 if "validation" in info.splits else config.validation_fraction or VALIDATION_FRACTION
    train = round(info.splits.get("train", 0) * (1 - held_back))
    fields = _target(info, config)
    return EvaluatedData(
        name, min(train, config.max_train_images or train), "validation" in info.splits, fields, info.multi_label
    )


def _target(info: StoreInfo, config: SimCLRConfig) -> dict[str, Any]:
    """Return the trial's question where the data set can be asked it, else the data set's own."""
    if info.name == config.labelled_dataset:
        return {"target": config.target, "positive": config.positive, "wanted_specificity": config.wanted_specificity}
    try:
        expand_positive(info, config.positive)
        positive: tuple[str, ...] = config.positive
    except BadInputError:  # its classes are others
        positive = ()
    if config.target == "positive" and positive:
        return {"target": "positive", "positive": positive, "wanted_specificity": config.wanted_specificity}
    several = info.multi_label
    return {
        "target": "labels" if several else "classes",
        "positive": () if several else positive,
        "wanted_specificity": config.wanted_specificity if positive and not several else None,
    }
