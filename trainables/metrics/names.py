"""Names of the recorded metrics; each `test/...` has a `val/...` for validation."""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal

CONTRASTIVE_LOSS = "train/contrastive_loss"
CONTRASTIVE_ACCURACY = "train/contrastive_accuracy"
CONTRASTIVE_ENTROPY = "train/contrastive_entropy"
SUPERVISED_LOSS = "train/supervised_loss"
SUPERVISED_ACCURACY = "train/supervised_accuracy"
OTHER_DATE = "train/other_date"
"""Share of train images whose second view is of another date, with pairs of seasons (`pairs`)."""
LEARNING_RATE = "train/learning_rate"
IMAGES_PER_SECOND = "train/images_per_second"
GPU_MEMORY = "train/gpu_memory_gib"
"""Peak GPU memory of the first worker's tensors in an epoch, GiB; absent on a CPU."""
OF_THE_MACHINE = (IMAGES_PER_SECOND, GPU_MEMORY)
"""Metrics that describe the machine and not the trial."""

LOSS = "loss"
TOP1 = "top1"
TOP5 = "top5"
ACCURACY = "accuracy"
SENSITIVITY = "sensitivity"
SPECIFICITY = "specificity"
BALANCED_ACCURACY = "balanced_accuracy"
ROC_AUC = "roc_auc"
PR_AUC = "pr_auc"
KNN_TOP1 = "knn_top1"
BRIER = "brier"
"""Brier score: mean squared error of the probability of the positive class, or of all classes if there is none."""
CALIBRATION_ERROR = "calibration_error"
"""Expected calibration error in 15 bins of equal width: of the positives' probability, else of the predicted class'."""
SCALED = "_scaled"
"""Suffix of loss, Brier and calibration error after temperature scaling on validation."""
SCALE = "scale"
"""Temperature of temperature scaling, which divides logits: val/linear_scale."""

AT_VALIDATION_BALANCE = "_at_val_balanced"
"""Suffix of binary metrics at the threshold of best balanced accuracy on validation."""
AT_VALIDATION_SPECIFICITY = "_at_val_specificity_"
"""Suffix of binary metrics at the threshold with a wanted specificity on validation, which follows the suffix."""

AVERAGE_PRECISION = "average_precision"
MACRO, MICRO = "_macro", "_micro"
F1 = "f1"
AT_VALIDATION_THRESHOLDS, AT_HALF = "_at_val_thresholds", "_at_half"
"""Suffixes of F1: each label's threshold is the best on validation, or 0.5 without a validation split."""
LABELS_EVALUATED = "labels_evaluated"
"""Number of labels that occur in the split; macro means are over these."""
KNN = "knn_"
"""Prefix of kNN metrics: test/knn_sensitivity, test/knn_average_precision_macro, ..."""
CENTROID = "centroid_"
"""Prefix of the metrics of the nearest class mean."""

FEATURE_RANK = "feature_rank"
EMBEDDING_RANK = "embedding_rank"
ALIGNMENT = "alignment"
UNIFORMITY = "uniformity"
COLLAPSED = "collapsed"
"""1 if the embeddings vary in fewer than three directions (collapse), else 0 (evaluation/representation.py)."""

R2, RMSE, MAE, SPEARMAN = "r2", "rmse", "mae", "spearman"
"""Regression metrics: explained variance, root mean squared and mean absolute error in the number's unit, rank
correlation.
"""

ALPHA_REQ = "alpha_req"
"""Exponent of the power law of the features' eigenvalues."""
ALPHA_REQ_GAP = "alpha_req_gap"
"""Its distance from 1, which is best."""
LIDAR = "lidar"
LABEL_FREE_DIRECTION: dict[str, Literal["max", "min"]] = {
    EMBEDDING_RANK: "max",
    FEATURE_RANK: "max",
    LIDAR: "max",
    ALPHA_REQ_GAP: "min",
    ALIGNMENT: "min",
    UNIFORMITY: "min",
}
"""The metrics that can rank settings without labels, and whether larger or smaller ones are better."""

LINEAR = "linear_"
"""Prefix of the metrics of the logistic regression on frozen features: test/linear_top1, ..."""
LINEAR_REGULARISATION = "val/linear_regularisation"
"""Penalty (lambda) chosen on validation."""
LINEAR_UNCONVERGED = "val/linear_unconverged"
"""Upper bound on the relative distance of the regression's loss from its optimum; only if it hasn't converged."""

_SEPARATORS = " \t\n,/-_().'&:;!?\""
"""Separators within labels, which carry no meaning."""
_KEPT = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")
_NO_SHARES = (
    *("loss", "entropy", "rank", "regularisation", "alignment", "uniformity", "lidar", "alpha_req", "alpha_req_gap"),
    *("r2", "rmse", "mae", "spearman"),
    *("learning_rate", "per_second", "gib", "evaluated", "brier", "scale"),
)

_ERRORS = (LOSS, BRIER, CALIBRATION_ERROR, RMSE, MAE)
"""Ends of metrics of which smaller ones are better."""


def qualified(split: str, method: str, metrics: Mapping[str, float]) -> dict[str, float]:
    """Return metrics under their full names, such as test/knn_top1 for split test, method knn_ and metric top1."""
    return {f"{split}/{method}{name}": value for name, value in metrics.items()}


def _measure(metric: str) -> str:
    """Return a metric's name without its split, and without the label that it is of: linear_average_precision."""
    parts = metric.split("/")
    return parts[1] if len(parts) == 3 else parts[-1]


def better_when(metric: str) -> Literal["max", "min"]:
    """Return whether larger or smaller values of a metric are better, by its name: val/embedding_rank is max."""
    name = _measure(metric)
    if name in LABEL_FREE_DIRECTION:
        return LABEL_FREE_DIRECTION[name]
    return "min" if any(name.removesuffix(SCALED).endswith(end) for end in _ERRORS) else "max"


def has_direction(metric: str) -> bool:
    """Whether one end of a metric's range is better: not of a flag, count, rate, fitted penalty or speed."""
    name = _measure(metric)
    if metric in (OTHER_DATE, CONTRASTIVE_ENTROPY, LINEAR_UNCONVERGED) or name == COLLAPSED:
        return False
    return (
        better_when(metric) == "min"
        or name in LABEL_FREE_DIRECTION
        or is_share(metric)
        or name.endswith((R2, SPEARMAN))
    )


def needs_labels(metric: str) -> bool:
    """Whether a metric is of a held-out split, and computed with labels."""
    split, _, name = metric.partition("/")
    return split in ("val", "test") and name not in (*LABEL_FREE_DIRECTION, ALPHA_REQ, COLLAPSED)


def label_part(label: str) -> str:
    """Return a label as part of a metric's name, with the characters that MLflow allows: letters, digits, "_", ".".

    Letters become lower case, runs of spaces and common punctuation "_", other characters their code: C++ is c.2b.2b.
    """
    plain = re.sub(f"[{re.escape(_SEPARATORS)}]+", "_", label.lower()).strip("_")
    return "".join(sign if sign == "_" or sign.isalnum() else f".{ord(sign):x}" for sign in plain) or _coded(label)


def label_parts(labels: Sequence[str]) -> list[str]:
    """Return unique name parts for the labels of a set; labels with equal parts get the codes of all characters.

    The parts map back to the labels: `dict(zip(label_parts(labels), labels))`.
    """
    parts = [label_part(label) for label in labels]
    uses = Counter(parts)
    return [part if uses[part] == 1 else _coded(label) for part, label in zip(parts, labels, strict=True)]


def _coded(label: str) -> str:
    """Return a label with the codes of all characters but lower-case ASCII letters and digits, which is unique."""
    return "".join(sign if sign in _KEPT else f".{ord(sign):x}." for sign in label)


def bounds(metric: str) -> tuple[float, float]:
    """Return the minimum and maximum of a metric; infinite if it has none."""
    if is_share(metric):
        return 0.0, 1.0
    name = _measure(metric)
    if name.endswith(SPEARMAN):
        return -1.0, 1.0
    return (0.0 if name.endswith((RMSE, MAE)) else -math.inf, 1.0 if name.endswith(R2) else math.inf)


def is_share(metric: str) -> bool:
    """Whether a metric is a share between 0 and 1, shown in percent."""
    name = _measure(metric).split("_at_")[0].removesuffix(SCALED)
    return not any(name.endswith(end) for end in _NO_SHARES)
