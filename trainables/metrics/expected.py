"""Names of the metrics that a trial will record, known before training."""

from collections.abc import Iterator
from dataclasses import dataclass

from trainables.config import UNTRAINABLE, TrialConfig
from trainables.metrics import names

VALIDATION, TEST = "val", "test"
TOP5_CLASSES = 6
"""Minimum number of classes for which top-5 accuracy is recorded."""
BINARY = (names.SENSITIVITY, names.SPECIFICITY, names.ACCURACY, names.BALANCED_ACCURACY)
AREAS = (names.ROC_AUC, names.PR_AUC)
OF_LABELS = (names.AVERAGE_PRECISION + names.MACRO, names.AVERAGE_PRECISION + names.MICRO, names.LABELS_EVALUATED)
OF_FEATURES = (names.FEATURE_RANK, names.ALPHA_REQ, names.ALPHA_REQ_GAP)
LABEL_FREE = (*OF_FEATURES, names.EMBEDDING_RANK, names.ALIGNMENT, names.UNIFORMITY, names.COLLAPSED)
OF_NUMBERS = (names.R2, names.RMSE, names.MAE, names.SPEARMAN)
CONTRASTIVE = (names.CONTRASTIVE_LOSS, names.CONTRASTIVE_ACCURACY, names.CONTRASTIVE_ENTROPY)
SUPERVISED = (names.SUPERVISED_LOSS, names.SUPERVISED_ACCURACY)


@dataclass(frozen=True)
class LabelFacts:
    """Facts about the labels of the evaluated data on which the names of metrics depend."""

    classes: int
    validation: bool
    """Whether a split is held out for selection, by the data set or by the configuration."""
    class_names: tuple[str, ...] = ()
    """Empty if unknown; metrics of single labels are then left out."""

    number: bool = False
    """Whether images have a number in place of classes."""

    @property
    def known(self) -> bool:
        """Whether any image has labels."""
        return self.classes > 0 or self.number


def final_metrics(config: TrialConfig, labels: LabelFacts) -> frozenset[str]:
    """Return the names of the metrics of a trial's last epoch, except `names.OF_THE_MACHINE`."""
    splits = (VALIDATION, TEST) if labels.validation else (TEST,)
    found = {*_training(config, labels), *_label_free(config, splits[0])}
    if _has_projector(config):
        found.add(f"{splits[0]}/{names.LIDAR}")
    if not labels.known:
        of_features = (f"{splits[0]}/{name}" for name in OF_FEATURES)
        return frozenset(found if config.epochs else (*found, *of_features))
    for split in splits:
        methods = (names.LINEAR, "") if _has_probe(config) else (names.LINEAR,)
        for method in methods:
            found |= {f"{split}/{method}{name}" for name in _of_logits(config, labels, split, method)}
        found |= {f"{split}/{name}" for name in _of_neighbours(config)}
    if config.linear_candidates:
        found.add(names.LINEAR_REGULARISATION)
    return frozenset(found)


def epoch_metrics(config: TrialConfig, labels: LabelFacts, epoch: int) -> frozenset[str]:
    """Return the names of the metrics of an epoch before the last, except those of the machine."""
    split = VALIDATION if labels.validation else TEST
    found = {*_training(config, labels), *_label_free(config, split)}
    if not labels.known:
        return frozenset(found)
    if _has_probe(config):
        found |= {f"{split}/{name}" for name in _undecided(config, labels)}
    if config.knn_every and epoch % config.knn_every == 0:
        found |= {f"{split}/{name}" for name in _voted(config)}
    return frozenset(found)


def _has_probe(config: TrialConfig) -> bool:
    return config.epochs > 0 and config.evaluation_dataset is None


def _has_projector(config: TrialConfig) -> bool:
    return config.epochs > 0 and config.training == "simclr" and config.encoder not in UNTRAINABLE


def _training(config: TrialConfig, labels: LabelFacts) -> Iterator[str]:
    if config.epochs == 0:
        return
    yield names.LEARNING_RATE
    if config.training == "simclr":
        yield from CONTRASTIVE
    if config.pairs == "season":
        yield names.OTHER_DATE
    if _has_probe(config) and labels.known:
        yield from SUPERVISED[:1] if config.target == "number" else SUPERVISED


def _label_free(config: TrialConfig, split: str) -> Iterator[str]:
    if _has_projector(config):
        yield from (f"{split}/{name}" for name in LABEL_FREE)


def _undecided(config: TrialConfig, labels: LabelFacts) -> Iterator[str]:
    """Yield the metrics of logits that need no threshold or temperature chosen on validation."""
    if config.target == "number":
        yield from OF_NUMBERS
    elif config.target == "labels":
        yield from OF_LABELS
    else:
        yield from (names.LOSS, names.TOP1)
        if config.target == "classes" and labels.classes >= TOP5_CLASSES:
            yield names.TOP5
    if config.positive:
        yield from (*BINARY, *AREAS)


def _of_logits(config: TrialConfig, labels: LabelFacts, split: str, method: str) -> Iterator[str]:
    yield from _undecided(config, labels)
    if config.target == "number":
        return
    if config.target == "labels":
        at = names.AT_VALIDATION_THRESHOLDS if labels.validation else names.AT_HALF
        yield from (names.F1 + names.MACRO + at, names.F1 + names.MICRO + at)
        if method == names.LINEAR:
            each = (names.AVERAGE_PRECISION, names.F1 + at)
            yield from (f"{name}/{part}" for name in each for part in names.label_parts(labels.class_names))
    else:
        yield from (names.BRIER, names.CALIBRATION_ERROR)
        if split == VALIDATION:
            yield names.SCALE
        elif labels.validation:
            yield from (name + names.SCALED for name in (names.LOSS, names.BRIER, names.CALIBRATION_ERROR))
    if config.positive and labels.validation:
        yield from (name + at for at in _thresholds(config) for name in BINARY)


def _thresholds(config: TrialConfig) -> Iterator[str]:
    yield names.AT_VALIDATION_BALANCE
    if config.wanted_specificity is not None:
        yield f"{names.AT_VALIDATION_SPECIFICITY}{config.wanted_specificity:g}"


def _of_neighbours(config: TrialConfig) -> Iterator[str]:
    yield from _voted(config)
    if config.target not in ("labels", "number"):
        yield from (names.CENTROID + name for name in (names.TOP1, *(BINARY if config.positive else ())))


def _voted(config: TrialConfig) -> Iterator[str]:
    for neighbours in (config.knn_neighbours, *config.knn_also):
        method = names.KNN if neighbours == config.knn_neighbours else f"knn{neighbours}_"
        if config.target in ("labels", "number"):
            yield from (method + name for name in (OF_LABELS if config.target == "labels" else OF_NUMBERS))
        else:
            yield from (method + name for name in (names.TOP1, *(BINARY if config.positive else ())))
