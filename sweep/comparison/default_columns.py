"""Columns of a comparison whose space names none: how settings do on test; pure."""

from collections.abc import Collection, Sequence

from sweep.comparison.wording import OF_NUMBERS, method_of
from trainables.metrics import names

OF_FEATURES = tuple(
    names.LINEAR + name
    for name in (names.BALANCED_ACCURACY, names.TOP1, names.AVERAGE_PRECISION + names.MACRO, names.R2)
)
"""Metrics of frozen features; the first available one judges settings whose objective needs no labels."""
SIDES = (names.SENSITIVITY, names.SPECIFICITY)
BESIDE = (*SIDES, names.ACCURACY, *OF_NUMBERS)


def metric_on_test(objective: str, known: Collection[str]) -> str | None:
    """Return the objective's metric on test; of an objective without labels, that of frozen features.

    Args:
        objective: Metric that ranks the settings.
        known: Metrics that settings have.
    """
    name = objective.partition("/")[2]
    wanted = (name,) if names.needs_labels(objective) else (name, *OF_FEATURES)
    return next((metric for one in wanted if (metric := f"test/{one}") in known), None)


def beside_on_test(objective: str, known: Collection[str], others: Sequence[str] = BESIDE) -> tuple[str, ...]:
    """Return other metrics on test of the classifier that `metric_on_test` is of."""
    metric = metric_on_test(objective, known) or objective
    method, _ = method_of(metric.partition("/")[2])
    return tuple(one for name in others if (one := f"test/{method}{name}") in known and one != metric)


def default_columns(objective: str, known: Collection[str]) -> tuple[str, ...]:
    """Return the columns of a table whose space names none, besides the objective."""
    metric = metric_on_test(objective, known)
    return (*([] if metric is None else [metric]), *beside_on_test(objective, known))
