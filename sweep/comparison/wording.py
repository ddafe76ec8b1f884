"""Wording of settings, metrics and classes for readers."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from trainables.data.bands import band_words
from trainables.metrics import names
from trainables.weights.initial_weights import InitialWeights

LONGEST = 32


def class_words(classes: Sequence[str], config: Mapping[str, Any] | None) -> tuple[str, ...]:
    """Return the names of the classes; for a binary question its two answers: not farmland, farmland."""
    if config is None or config.get("target") != "positive":
        return tuple(classes)
    what = " or ".join(config["positive"])
    return (f"not {what}", what) if len(what) <= LONGEST else tuple(classes)


COLLAPSED = "collapsed: its embeddings differ in fewer than three directions; lower the learning rate or warm up longer"
"""Warning after the name of a trial whose embeddings collapsed."""
SPLITS = {"val": "validation", "test": "test"}
METHODS = {
    names.KNN: "nearest neighbours",
    names.CENTROID: "nearest class mean",
    names.LINEAR: "logistic regression",
    "": "linear probe",
}
OF_NUMBERS = (names.R2, names.RMSE, names.MAE, names.SPEARMAN)
SHORT_METHODS = {**METHODS, names.KNN: "kNN"}
WORDS = {
    names.TOP1: "top-1 accuracy",
    names.TOP5: "top-5 accuracy",
    "roc_auc": "ROC AUC",
    "pr_auc": "average precision",
    names.LIDAR: "LiDAR",
    names.R2: "R2",
    names.RMSE: "root mean squared error",
    names.MAE: "mean absolute error",
    names.SPEARMAN: "rank correlation",
    "regularisation": "penalty",
    names.BRIER: "Brier score",
    names.SCALE: "temperature of temperature scaling",
    names.ALPHA_REQ: "alpha-ReQ",
    names.ALPHA_REQ_GAP: "distance of alpha-ReQ from 1",
}


def described(config: Mapping[str, Any], axes: tuple[str, ...]) -> str:
    """Return a setting in words: batch size 256, temperature 0.25."""
    parts = [f"{axis.replace('_', ' ')} {spelled(config[axis], axis)}" for axis in axes]
    return ", ".join(parts) or "the one setting"


def metric_words(metric: str) -> str:
    """Return a metric in words: test/linear_top1 as top-1 accuracy (logistic regression, test split)."""
    split, _, name = metric.partition("/")
    method, base = _method(name)
    what = _base_words(base)
    if split not in SPLITS:
        return f"{what} ({split})"
    if base in OF_NUMBERS and method == METHODS[names.LINEAR]:
        method = "ridge regression"
    if metric == names.LINEAR_REGULARISATION:  # of either regression
        method = "regression on frozen features"
    told = "" if not names.needs_labels(metric) else f"{method}, "
    return f"{what} ({told}{SPLITS[split]} split)"


def short_words(metric: str) -> str:
    """Return a metric in words without its split: kNN for val/knn_top1, linear probe sensitivity."""
    name = metric.partition("/")[2]
    prefix, base = method_of(name)
    what = "" if base == names.TOP1 else WORDS.get(base, base.replace("_", " "))
    if base in OF_NUMBERS and prefix == names.LINEAR:
        return f"ridge regression {what}"
    by = "" if not names.needs_labels(metric) else SHORT_METHODS.get(prefix, f"kNN, k = {prefix[3:-1]}")
    return " ".join(filter(None, (by, what)))


def _base_words(base: str) -> str:
    """Return a metric's name without split and method in words."""
    if base.endswith(names.SCALED):
        return f"{_base_words(base.removesuffix(names.SCALED))} after temperature scaling"
    return WORDS.get(base, base.replace("_", " "))


def method_of(name: str) -> tuple[str, str]:
    """Split a metric's name (without data split) into the method's prefix and the rest: linear_ and top1."""
    if (found := re.match(r"knn(\d+)_", name)) is not None:
        return found[0], name.removeprefix(found[0])
    prefix = next(prefix for prefix in METHODS if name.startswith(prefix))
    return prefix, name.removeprefix(prefix)


def _method(name: str) -> tuple[str, str]:
    """Return a metric's method in words, and its name without the method's prefix."""
    prefix, base = method_of(name)
    return METHODS.get(prefix, f"{prefix[3:-1]} nearest neighbours"), base


def spelled(value: Any, field: str = "") -> str:
    """Return a field's value as text; initial weights by their name, bands by that of their set."""
    if field == "bands":
        return band_words(value)
    if isinstance(value, list | tuple):
        return (" to " if _is_range(value) else " and ").join(spelled(part) for part in value) or "none"
    if isinstance(value, str) and "#name=" in value:
        return InitialWeights.parse(value).name
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _is_range(value: Sequence[Any]) -> bool:
    """Whether a value is a range (lower and upper bound), as crop areas are."""
    return len(value) == 2 and all(isinstance(part, float) for part in value) and value[0] <= value[1]
