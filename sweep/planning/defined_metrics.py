"""Check for metrics that are undefined on a data set: evaluated images with no positives, or with positives only."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING

from sweep.planning.plan import Plan
from sweep.planning.space_check import Sizes, proposals
from trainables.config import TrialConfig
from trainables.data.store_addresses import remote_root, store_folder
from trainables.data.store_info import StoreInfo, prepared
from trainables.data.store_targets import expand_positive
from trainables.errors import BadInputError
from trainables.metrics import names

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NEED_POSITIVES = (names.SENSITIVITY, names.BALANCED_ACCURACY, names.ROC_AUC, names.PR_AUC)
NEED_OTHERS = (names.SPECIFICITY, names.BALANCED_ACCURACY, names.ROC_AUC)
NEED_SPREAD = (names.R2, names.SPEARMAN)
NEED_ANY_LABEL = (names.AVERAGE_PRECISION, names.F1)
REMEDY = "choose another objective or positive rule, or prepare the data with other --splits"
SLICE_REMEDY = "choose another objective, positive rule or validation_fraction"


@dataclass(frozen=True)
class JudgedMetric:
    """A metric that trials are ranked or ended by, and the configuration of one of them."""

    role: str
    name: str
    config: TrialConfig


@dataclass(frozen=True)
class _EvaluatedImages:
    """Images that a metric is measured on: in words, and how many of them each class has."""

    words: str
    classes: tuple[int, ...]
    positives: int
    others: int | None
    """None if unknown, for example for several labels by their counts."""
    remedy: str


def judged_metrics(plan: Plan, size_of: Sizes) -> Iterator[JudgedMetric]:
    """Yield the objective and each halving's metric for every trial, and for settings that a search will draw."""
    ranked = partial(JudgedMetric, "objective", plan.space.objective.metric)
    yield from (ranked(trial.config) for trial in plan.trials)
    for number, stage in enumerate(plan.space.stages, start=1):
        configs = [trial.config for trial in plan.of_stage(number) if trial.baseline is None]
        if stage.search is not None and stage.search.method != "random":
            drawn = [trial.config for trial in proposals(plan.space, stage.search, plan.assignments, size_of)]
            yield from map(ranked, drawn)
            configs += drawn
        if stage.halving is not None:
            yield from (JudgedMetric(f"halving in stage {stage.name!r}", stage.halving.metric, one) for one in configs)


def check_defined(judged: JudgedMetric, info: StoreInfo) -> None:
    """Raise BadInputError for a metric that is undefined on the evaluated images of a data set's store.

    The counts in store.json are checked first; if only a part of a split is evaluated, its rows are counted too.
    """
    split, _, name = judged.name.partition("/")
    if judged.config.target == "number":
        _check_spread(judged, split, name, info)
        return
    counted = _counted_split(split, info)
    asked = judged.config.positive or judged.config.target == "labels"
    if counted is None or not (info.labelled_images and asked):
        return
    _check(judged, name, _by_counts(counted, judged.config, info), info)
    sliced = split == "val" and counted == "train"
    if (sliced or judged.config.max_test_images) and remote_root() is None:
        _check(judged, name, _by_rows(split, judged.config, info), info)


def _check_spread(judged: JudgedMetric, split: str, name: str, info: StoreInfo) -> None:
    """Raise BadInputError for R2 or a rank correlation over images that have one number."""
    if split not in ("val", "test") or not name.endswith(NEED_SPREAD) or not info.number or remote_root() is not None:
        return
    config = judged.config
    numbers = _evaluated_numbers(info.name, info.fingerprint, config.validation_fraction, config.max_test_images)[split]
    if len(numbers) and numbers.min() == numbers.max():
        kind = "validation" if split == "val" else "test"
        images = f"the {len(numbers):,} evaluated {kind} images of {info.name} have one number, {numbers[0]:g}"
        if len(numbers) == 1:
            images = f"a single {kind} image of {info.name} is evaluated"
        raise BadInputError(
            f"{judged.role}: {judged.name!r} is undefined: {images}; take RMSE or MAE, evaluate more images, or "
            "prepare the data with other --splits"
        )


def _counted_split(split: str, info: StoreInfo) -> str | None:
    """Return the store's split that contains a metric's images: train if validation is a slice of it."""
    if split == "test":
        return "test" if "test" in info.splits else None
    if split != "val":
        return None
    return "validation" if "validation" in info.splits else "train"


def _check(judged: JudgedMetric, name: str, images: _EvaluatedImages, info: StoreInfo) -> None:
    reason = _label_fault(name, images, info) if judged.config.target == "labels" else ""
    reason = reason or _side_fault(name, images, judged.config)
    if reason:
        raise BadInputError(f"{judged.role}: {judged.name!r} is undefined: {reason}; {images.remedy}")


def _label_fault(name: str, images: _EvaluatedImages, info: StoreInfo) -> str:
    """Return why a metric of one or of all labels is undefined, or nothing."""
    metric, _, part = name.partition("/")
    if part:
        labels = dict(zip(names.label_parts(info.class_names), range(len(info.class_names)), strict=True))
        number = labels.get(part)
        if number is not None and not images.classes[number]:
            return f"none of the {images.words} carries the label {info.class_names[number]!r}"
    elif any(kind in metric for kind in NEED_ANY_LABEL) and not any(images.classes):
        return f"none of the {images.words} carries a label"
    return ""


def _side_fault(name: str, images: _EvaluatedImages, config: TrialConfig) -> str:
    """Return why a metric of positives or of the others is undefined, or nothing."""
    rule = ", ".join(config.positive)
    if images.positives == 0 and config.positive and _is_of(name, NEED_POSITIVES):
        return f"none of the {images.words} is positive by {rule!r}"
    if images.others == 0 and config.positive and _is_of(name, NEED_OTHERS):
        return f"none of the {images.words} isn't positive by {rule!r}"
    return ""


def _is_of(name: str, kinds: tuple[str, ...]) -> bool:
    """Whether a metric is of one of these kinds, with any classifier prefix and any threshold suffix."""
    plain = name.split("_at_val_")[0]
    return any(plain == kind or plain.endswith(f"_{kind}") for kind in kinds)


def _by_counts(split: str, config: TrialConfig, info: StoreInfo) -> _EvaluatedImages:
    total, classes = info.labelled[split], info.class_counts[split]
    words = f"{total:,} {split} images of {info.name}"
    if len(config.positive) == 1 and config.positive[0] in info.rule_counts:
        positives = info.rule_counts[config.positive[0]][split]
        return _EvaluatedImages(words, classes, positives, total - positives, REMEDY)
    counts = [classes[info.class_names.index(name)] for name in expand_positive(info, config.positive)]
    known = not info.multi_label or len(counts) == 1
    return _EvaluatedImages(words, classes, sum(counts), total - sum(counts) if known else None, REMEDY)


def _by_rows(split: str, config: TrialConfig, info: StoreInfo) -> _EvaluatedImages:
    """Count a trial's evaluated images by the store's rows, after `validation_fraction` and `max_test_images`."""
    labels = _evaluated_labels(info.name, info.fingerprint, config.validation_fraction, config.max_test_images)[split]
    sliced = split == "val" and "validation" not in info.splits
    what = f"validation images that validation_fraction {config.validation_fraction:g} cuts from train"
    words = f"{len(labels):,} {what if sliced else f'evaluated {split} images'} of {info.name}"
    columns = [info.class_names.index(name) for name in expand_positive(info, config.positive)]
    positives = int(labels[:, columns].any(axis=1).sum())
    counts = tuple(int(count) for count in labels.sum(axis=0))
    return _EvaluatedImages(words, counts, positives, len(labels) - positives, SLICE_REMEDY if sliced else REMEDY)


@lru_cache(maxsize=8)
def _evaluated_labels(name: str, fingerprint: str, share: float, limit: int | None) -> "dict[str, NDArray[np.bool_]]":
    """Return `evaluated_labels` of a prepared store, read once for all trials that evaluate on the same images."""
    from trainables.data.evaluated_labels import evaluated_labels

    info, folder = prepared(name), store_folder(name)
    return evaluated_labels(info, folder, validation_fraction=share, limit=limit)


@lru_cache(maxsize=8)
def _evaluated_numbers(
    name: str, fingerprint: str, share: float, limit: int | None
) -> "dict[str, NDArray[np.float64]]":
    """Return `evaluated_numbers` of a prepared store, read once for all trials that evaluate on the same images."""
    from trainables.data.evaluated_labels import evaluated_numbers

    return evaluated_numbers(prepared(name), store_folder(name), validation_fraction=share, limit=limit)
