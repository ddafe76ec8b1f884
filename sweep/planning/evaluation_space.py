"""Search space of an evaluation: the trials that evaluate finished encoders; pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sweep.planning.expansion import BASELINE_FIELDS
from sweep.space import Grid, RankingObjective, SearchSpace, Stage
from trainables.config import TrialConfig
from trainables.metrics import names
from trainables.weights.initial_weights import InitialWeights

FROZEN, FINE_TUNED, SCRATCH = "frozen", "fine-tuned", "from scratch"
ALIKE, EVERY_LABEL = "frozen, both sides weigh alike", "frozen, every label"
"""Further classifiers beside FROZEN for a binary question, for the analysis of missed positives."""
MORE_NEIGHBOURS = 200
REGULARISATIONS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
VALIDATION_FRACTION = 0.1
"""Fraction of train held out for validation, if neither the trial nor the data set has a validation split."""
LEAST_STEPS = 4
"""Minimum steps per epoch of fine-tuning; with few labels the batch is made smaller."""
SMALLEST_BATCH = 8
VIEWS = {"jitter_probability": 0.0, "grayscale_probability": 0.0, "blur_probability": 0.0}
"""Views of supervised training: only crops and flips, as in the reference."""
SUPERVISED_FIELDS = (
    *("batch_size", "optimiser", "learning_rate_scaling", "warmup_epochs", "momentum", "trust_coefficient"),
    *("weight_decay", "crop_rule", "crop_area", "crop_aspect", "flip_probability", "vertical_flip_probability"),
    *("rotation_probability", "base_learning_rate"),
)
"""Fields that supervised training takes over from pretraining."""


@dataclass(frozen=True)
class EvaluatedWeights:
    """Encoder to evaluate: one weights file, or one per pretraining seed."""

    name: str
    files: tuple[InitialWeights, ...]
    """Weights files, pinned by digest, in the order of the seeds."""
    fields: Mapping[str, Any]
    """Fields that differ from the trial's configuration: encoder, stem, ..."""


@dataclass(frozen=True)
class EvaluatedData:
    """Data set to evaluate on."""

    name: str
    train: int
    """Number of labelled train images."""
    has_validation: bool
    """Whether the data set has a validation split."""
    fields: Mapping[str, Any]
    """Fields of the question: target, positive, wanted_specificity."""
    several_labels: bool = False
    """Whether an image may have several labels."""


@dataclass(frozen=True)
class EvaluationDesign:
    """Evaluation to plan: encoders, data sets, label fractions and settings."""

    sweep: str
    config: TrialConfig
    """Configuration of the pretraining."""
    weights: tuple[EvaluatedWeights, ...]
    data: tuple[EvaluatedData, ...]
    label_fractions: tuple[float, ...]
    draws: int
    """Number of replicates: label subsets, order and views of fine-tuning, initial weights of training from scratch."""
    epochs: int
    """Epochs of fine-tuning and training from scratch; 0: only frozen features."""
    learning_rate: float
    """Base learning rate of fine-tuning, before scaling by the batch size."""
    changes: Mapping[str, Any]
    """Fields that the user sets for all trials."""


def evaluation_space(asked: EvaluationDesign) -> SearchSpace:
    """Return the search space: frozen, fine-tuned and from-scratch trials for each data set and label fraction."""
    points = [(method, point) for data in asked.data for method, point in _points(asked, data)]
    grids = [
        Grid(
            points=tuple(point for own, point in points if own == method),
            method=method,
            with_baselines=method not in (ALIKE, EVERY_LABEL),  # which would be those of FROZEN
        )
        for method in dict.fromkeys(method for method, _ in points)
    ]
    metric, columns = _metrics(asked.data[0].fields)
    return SearchSpace(
        name=f"{asked.sweep}-evaluated",
        description=f"encoders of {asked.sweep} on frozen features and fine-tuned, by share of the labels",
        stages=(Stage("evaluation", tuple(grids)),),
        objective=RankingObjective(metric),
        baselines=("untrained", "calibrated", "pixels", "colours"),
        columns=columns,
        caveats=_caveats(asked),
    )


def _points(asked: EvaluationDesign, data: EvaluatedData) -> Iterator[tuple[str, dict[str, Any]]]:
    for fraction in asked.label_fractions:
        for draw in range(asked.draws):
            common = _common(asked, data, fraction, draw)
            for weights in asked.weights:
                start = {**weights.fields, "initial_weights": str(weights.files[draw % len(weights.files)])}
                # All labels and the same weights: a frozen encoder gives the same again, which is no replicate.
                if fraction < 1.0 or draw < len(weights.files):
                    frozen = {**common, **start, "epochs": 0}
                    yield FROZEN, frozen
                    if data.fields["target"] == "positive":
                        yield ALIKE, {**frozen, "probe_class_weight": "balanced"}
                        yield EVERY_LABEL, {**frozen, "target": "labels" if data.several_labels else "classes"}
                if asked.epochs:
                    rate = {"base_learning_rate": asked.learning_rate}
                    yield FINE_TUNED, {**common, **_supervised(asked, data, fraction), **start, **rate, **asked.changes}
            if asked.epochs:
                yield SCRATCH, {**common, **_supervised(asked, data, fraction), **asked.changes}


def _common(asked: EvaluationDesign, data: EvaluatedData, fraction: float, draw: int) -> dict[str, Any]:
    config = asked.config
    fields = {name: getattr(config, name) for name in BASELINE_FIELDS if name != "evaluation_dataset"}
    held_back = 0.0 if data.has_validation else config.validation_fraction or VALIDATION_FRACTION
    return fields | {
        "dataset": data.name,
        "validation_fraction": held_back,
        "label_fraction": fraction,
        "label_draw": draw if fraction < 1.0 else 0,
        "seed": draw,
        "knn_also": (MORE_NEIGHBOURS,),
        "linear_candidates": REGULARISATIONS,
        **data.fields,
        **asked.changes,
    }


def _supervised(asked: EvaluationDesign, data: EvaluatedData, fraction: float) -> dict[str, Any]:
    """Return the fields of supervised training, with a batch size that gives at least LEAST_STEPS per epoch."""
    taken = {name: getattr(asked.config, name) for name in SUPERVISED_FIELDS}
    batch, images = asked.config.batch_size, fraction * data.train
    while batch > max(SMALLEST_BATCH, images / LEAST_STEPS):
        batch //= 2
    taken["warmup_epochs"] *= asked.epochs / max(asked.config.epochs, 1)
    return {**taken, **VIEWS, "training": "supervised", "epochs": asked.epochs, "batch_size": batch}


def _metrics(fields: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
    """Return the objective, on validation, and the metrics shown, on test."""
    linear, near, nearer = names.LINEAR, names.KNN, f"knn{MORE_NEIGHBOURS}_"
    if fields["target"] == "number":
        errors = (names.R2, names.RMSE, names.MAE, names.SPEARMAN)
        return f"val/{linear}{names.R2}", (
            *(f"test/{linear}{name}" for name in errors),
            *(f"test/{method}{names.R2}" for method in (near, nearer, "")),
        )
    if fields["target"] == "labels":
        precision = names.AVERAGE_PRECISION + names.MACRO
        shown = [f"test/{method}{precision}" for method in (linear, near, nearer, "")]
        return f"val/{linear}{precision}", tuple(shown)
    methods = (linear, near, nearer, names.CENTROID, "")
    if fields["target"] != "positive":
        return f"val/{linear}{names.TOP1}", tuple(f"test/{method}{names.TOP1}" for method in methods)
    shown = [f"test/{method}{names.BALANCED_ACCURACY}" for method in methods]
    shown += [f"test/{linear}{name}" for name in (names.SENSITIVITY, names.SPECIFICITY, names.ROC_AUC, names.PR_AUC)]
    return f"val/{linear}{names.BALANCED_ACCURACY}", tuple(shown)


def _caveats(asked: EvaluationDesign) -> tuple[str, ...]:
    single = [weights.name for weights in asked.weights if len(weights.files) == 1]
    plain = names.R2 if asked.data[0].fields["target"] == "number" else names.TOP1
    said = [
        f"linear and knn are of features, fine-tuned ones in supervised rows; {plain} without a prefix is the head's "
        "that was learned with the encoder",
        f"the regression's penalty is chosen on validation among {', '.join(f'{one:g}' for one in REGULARISATIONS)}",
    ]
    if asked.draws > 1:
        said.append("replicates draw the labels of a share, the order and the views anew, and take pretraining's seeds")
    if single and asked.draws > 1:
        said.append(
            f"one file each of {', '.join(single)}: its intervals don't say what another pretraining would give"
        )
    return tuple(said)
