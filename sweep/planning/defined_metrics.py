"""Check for objectives that are undefined on a data set: a split with no positives, or with positives only."""

from trainables import metric_names as names
from trainables.config import TrialConfig
from trainables.data.catalog import StoreInfo, expand_positive
from trainables.errors import BadInputError

NEED_POSITIVES = (names.SENSITIVITY, names.BALANCED_ACCURACY, names.ROC_AUC, names.PR_AUC)
NEED_OTHERS = (names.SPECIFICITY, names.BALANCED_ACCURACY, names.ROC_AUC)


def check_defined(metric: str, config: TrialConfig, info: StoreInfo) -> None:
    """Raise BadInputError if the objective is undefined for a trial, by the label counts of the data set's store."""
    split, _, name = metric.partition("/")
    measured = _measured_on(split, config, info)
    if measured is None or not info.labelled_images:
        return
    if not info.labelled[measured]:
        raise BadInputError(
            f"objective: {metric!r} is undefined: none of the {info.splits[measured]:,} {measured} images of "
            f"{info.name} has labels; label some of them, or choose another objective"
        )
    if name.count("/") == 1 and config.target == "labels":
        _check_label(metric, name.partition("/")[2], measured, info)
    elif config.target != "labels" and config.positive:
        _check_binary(metric, name, measured, config, info)


def _measured_on(split: str, config: TrialConfig, info: StoreInfo) -> str | None:
    """Return the store's split on which a metric is measured; train, if validation is a slice of it."""
    if split == "test":
        return "test" if "test" in info.splits else None
    if split != "val":
        return None
    return "validation" if "validation" in info.splits else "train"


def _check_label(metric: str, label: str, split: str, info: StoreInfo) -> None:
    if label in info.class_names and not info.class_counts[split][info.class_names.index(label)]:
        raise BadInputError(f"objective: {metric!r} is undefined: {_images(info, split)} carries the label {label!r}")


def _check_binary(metric: str, name: str, split: str, config: TrialConfig, info: StoreInfo) -> None:
    positives, others = _counts(split, config, info)
    rule = ", ".join(config.positive)
    if positives == 0 and _is_of(name, NEED_POSITIVES):
        raise BadInputError(
            f"objective: {metric!r} is undefined: {_images(info, split)} is positive by {rule!r}; choose another "
            "objective or positive rule, or prepare the data with other --splits"
        )
    if others == 0 and _is_of(name, NEED_OTHERS):
        raise BadInputError(
            f"objective: {metric!r} is undefined: {_images(info, split)} isn't positive by {rule!r}; choose another "
            "objective or positive rule, or prepare the data with other --splits"
        )


def _is_of(name: str, kinds: tuple[str, ...]) -> bool:
    """Whether a metric is of one of the kinds, regardless of the classifier's prefix and the threshold's suffix."""
    plain = name.split("_at_val_")[0]
    return any(plain == kind or plain.endswith(f"_{kind}") for kind in kinds)


def _counts(split: str, config: TrialConfig, info: StoreInfo) -> tuple[int, int | None]:
    """Return the numbers of positive and negative images of a split; None if unknown, as with several labels."""
    total = info.labelled[split]
    if len(config.positive) == 1 and config.positive[0] in info.rule_counts:
        positives = info.rule_counts[config.positive[0]][split]
        return positives, total - positives
    classes = expand_positive(info, config.positive)
    counts = [info.class_counts[split][info.class_names.index(name)] for name in classes]
    if not info.multi_label:
        return sum(counts), total - sum(counts)
    return sum(counts), total - counts[0] if len(counts) == 1 else None


def _images(info: StoreInfo, split: str) -> str:
    return f"none of the {info.labelled[split]:,} {split} images of {info.name}"
