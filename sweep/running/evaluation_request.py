"""Request for an evaluation, resolved from a sweep's records: which weights, on which data sets."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sweep.console.options import FINE_TUNING_RATE
from sweep.deployment.trial_choice import find_trial
from sweep.planning.dataset_sizes import size_of
from sweep.planning.evaluation_space import (
    SMALLEST_BATCH,
    VALIDATION_FRACTION,
    EvaluatedData,
    EvaluatedWeights,
    EvaluationDesign,
)
from sweep.records.sweep_storage import SweepStorage
from trainables.config import RED_GREEN_BLUE, UNTRAINABLE, TrialConfig
from trainables.data.bands import COLOURS, SpectralBand, band_names, colour_channels
from trainables.data.share_count import share_count
from trainables.data.store_info import StoreInfo, prepared
from trainables.data.store_targets import expand_positive
from trainables.errors import BadInputError
from trainables.fields.overrides import parse_assignments
from trainables.storage.trial_files import MODEL
from trainables.weights.catalog import CATALOG
from trainables.weights.download import nearest_entry
from trainables.weights.initial_weights import InitialWeights, split_weights

DEFAULT_SHARES = (0.01, 0.1, 1.0)
SHARES = "give shares above 0 and up to 1, each once, as in 0.01,0.1,1"
ENCODER = ("encoder", "width_factor", "stem", "image_size", "normalisation", "precision")
"""Fields that the user may set for named weights."""
OPTION_OF = {
    "dataset": "--dataset",
    "evaluation_dataset": "--dataset",
    "initial_weights": "--weights",
    "label_fraction": "--labels",
    "label_draw": "--draws",
    "seed": "--draws",
    "epochs": "--epochs",
}
"""Options that take the place of a field."""


@dataclass(frozen=True)
class EvaluationRequest:
    """Options of an evaluation; None and empty values stand for the command's defaults."""

    trials: Sequence[str] = ()
    """Names or ids; none: every seed of the best setting."""
    weights: Sequence[str] = ()
    """NAME=FILE[,FIELD=VALUE...]."""
    datasets: Sequence[str] = ()
    label_fractions: Sequence[float] | None = None
    """Label fractions; None: those of DEFAULT_SHARES that give at least one batch."""
    draws: int | None = None
    epochs: int | None = None
    learning_rate: float | None = None
    """Base learning rate of fine-tuning; None: FINE_TUNING_RATE times that of pretraining."""
    changes: Mapping[str, Any] = field(default_factory=dict)
    """Values by field, for every trial."""

    def __post_init__(self) -> None:
        """Raise BadInputError for options that repeat or contradict each other."""
        for option, given in (("--trial", self.trials), ("--weights", self.weights), ("--dataset", self.datasets)):
            if twice := [one for number, one in enumerate(given) if one in given[:number]]:
                raise BadInputError(f"{option} {twice[0]}: is given twice; leave one out")
        for name in self.changes:
            if name in OPTION_OF:
                raise BadInputError(f"--set {name}: the evaluation itself varies it; use {OPTION_OF[name]}")
        if self.learning_rate is not None and "base_learning_rate" in self.changes:
            raise BadInputError("--set base_learning_rate: --learning-rate is given too; leave one out")
        if self.learning_rate is not None and not 0 < self.learning_rate < math.inf:
            raise BadInputError(f"--learning-rate: must be above 0, got {self.learning_rate:g}")

    def of_sweep(self, storage: SweepStorage, sweep: str | None) -> EvaluationDesign:
        """Return the evaluation of a sweep's trials; without a name, the latest sweep is evaluated.

        Raises:
            BadInputError: There is no such sweep, trial, data set or weights file, or data sets of several kinds.
        """
        record = storage.record(sweep)
        config, own = _pretrained(storage, sweep, self.trials)
        own = with_known_bands(own, config, self.datasets)
        named = self.datasets or [config.labelled_dataset]
        data = tuple(evaluated_data(name, config, self.changes) for name in named)
        kinds = {one.fields["target"] if one.fields["target"] in ("labels", "number") else "classes" for one in data}
        if len(kinds) > 1:
            raise BadInputError(
                "--dataset: images have one class, several labels or a number; evaluate each kind separately"
            )
        epochs = config.epochs if self.epochs is None else self.epochs
        weights = (own, *(named_weights(text) for text in self.weights))
        _check_names(weights)
        relative_rate = FINE_TUNING_RATE * config.base_learning_rate
        return EvaluationDesign(
            sweep=record.name,
            config=config,
            weights=weights,
            data=data,
            label_fractions=shares_of_labels(self.label_fractions, data, trained=epochs > 0),
            draws=self.draws or max(3, len(own.files)),
            epochs=epochs,
            learning_rate=relative_rate if self.learning_rate is None else self.learning_rate,
            changes=dict(self.changes),
        )


def _pretrained(
    storage: SweepStorage, sweep: str | None, trials: Sequence[str]
) -> tuple[TrialConfig, EvaluatedWeights]:
    """Return the trials' configuration and weights; BadInputError if they have no weights or differ."""
    if trials:
        found = [find_trial(storage, sweep, trial=trial).trial for trial in trials]
    else:
        found = sorted(find_trial(storage, sweep).row.finished, key=lambda one: int(one.entry.config["seed"]))
    configs = [TrialConfig.parse(one.entry.setting_known) for one in found]
    if len({config.model_copy(update={"seed": 0}) for config in configs}) > 1:
        raise BadInputError("--trial: the trials differ in more than the seed; evaluate each setting by itself")
    files = []
    for one, config in zip(found, configs, strict=True):
        if one.result.status != "finished" or config.encoder in UNTRAINABLE:
            raise BadInputError(f"--trial {one.entry.name}: has no final weights; it is {one.result.status}")
        address = storage.trial_of(one.entry).storage.address(MODEL)
        files.append(InitialWeights(address, one.entry.name.removesuffix(f"-s{config.seed}")).pinned())
    return configs[0], EvaluatedWeights(files[0].name, tuple(files), {})


def with_known_bands(own: EvaluatedWeights, config: TrialConfig, datasets: Sequence[str]) -> EvaluatedWeights:
    """Return a trial's weights with the bands of their stem, unless all images have these, or red, green and blue."""
    infos = [StoreInfo.read(name) for name in (config.dataset, *datasets)]
    if infos[0] is None:
        return own
    bands, *others = [info.with_bands(config.bands).channel_bands for info in infos if info is not None]
    colours = colour_channels(bands)
    unnamed = len(bands) == len(COLOURS) and colours != RED_GREEN_BLUE  # weights without names are of these colours
    other = any(len(one) != len(bands) or not all(map(SpectralBand.same_as, one, bands)) for one in others)
    names = band_names(bands) if unnamed or other else ()
    return replace(own, files=tuple(replace(file, bands=names) for file in own.files))


def _check_names(weights: Sequence[EvaluatedWeights]) -> None:
    """Raise BadInputError for two files of one name, and for one file of two names."""
    for number, one in enumerate(weights):
        for other in weights[:number]:
            same = [file.digest for file in one.files] == [file.digest for file in other.files]
            if one.name == other.name and not same:
                raise BadInputError(f"--weights {one.name}: is the name of two encoders; give one another name")
            if one.name != other.name and same and one.fields == other.fields:
                raise BadInputError(f"--weights {one.name}: is the same file as {other.name}; leave one out")


def named_weights(text: str) -> EvaluatedWeights:
    """Return the weights of a text NAME=FILE[,FIELD=VALUE...].

    Raises:
        BadInputError: No such file or catalogue name, or a field that weights don't have.
    """
    first, *rest = split_weights(text)
    name, _, address = first.partition("=")
    published = CATALOG.get(address or name)
    if not name or not (address or published):
        raise BadInputError(
            f"--weights {text!r}: give NAME=FILE, then what differs from the trial: ,encoder=resnet50; or a name of "
            f"the catalogue: python -m sweep.weights list{nearest_entry(name)}"
        )
    fields = single_values(rest)
    if published is not None:
        if "normalisation" in fields:
            raise BadInputError(f"--weights {text!r}: {published.name} brings its normalisation; leave it out")
        address, fields = published.name, {"encoder": published.encoder, "stem": "large", "width_factor": 1.0, **fields}
    if unknown := set(fields) - set(ENCODER):
        raise BadInputError(
            f"--weights {text!r}: {', '.join(sorted(unknown))}: can't be set for weights; {', '.join(ENCODER)} can"
        )
    try:
        file = replace(InitialWeights.parse(address), name=name).pinned()
    except BadInputError as error:
        raise BadInputError(f"--weights {text!r}: {str(error).removeprefix('initial_weights: ')}") from error
    return EvaluatedWeights(name, (file,), fields)


def single_values(texts: Iterable[str]) -> dict[str, Any]:
    """Return the fields of FIELD=VALUE texts; BadInputError unless each has one value."""
    parsed = parse_assignments(list(texts))
    for name, values in parsed.items():
        if len(values) > 1:
            raise BadInputError(f"--set {name}: takes one value, got {len(values)}")
    return {name: values[0] for name, values in parsed.items()}


def shares_of_labels(
    wanted: Sequence[float] | None, data: Sequence[EvaluatedData], *, trained: bool
) -> tuple[float, ...]:
    """Return the label fractions to evaluate; by default those that give a batch on every data set.

    Raises:
        BadInputError: A fraction is invalid, or gives fewer images than training needs.
    """
    smallest = min(data, key=lambda one: one.train)
    least = SMALLEST_BATCH if trained else 1
    if wanted is None:
        fitting = tuple(share for share in DEFAULT_SHARES if share_count(share, smallest.train) >= least)
        return fitting or (1.0,)
    shares = checked_fractions(wanted)
    bought = share_count(min(shares), smallest.train)
    if bought < least <= smallest.train:
        asked = ",".join(f"{one:g}" for one in shares)
        enough = math.ceil(1000 * least / smallest.train) / 1000
        raise BadInputError(
            f"--labels {asked}: {min(shares):g} of the {smallest.train:,} train images of {smallest.name} is "
            f"{bought}, but training on labels needs {least}; give {enough:g} or more, or --epochs 0 for frozen "
            "features alone"
        )
    return shares


def label_fractions(text: str) -> tuple[float, ...]:
    """Return the label fractions of a text such as "0.01,0.1,1"; BadInputError for any other text."""
    try:
        return checked_fractions([float(part) for part in text.split(",")])
    except ValueError:
        raise BadInputError(f"--labels {text}: {SHARES}") from None


def checked_fractions(values: Sequence[float]) -> tuple[float, ...]:
    """Return label fractions; BadInputError unless each is above 0 and at most 1, and none is repeated."""
    if not values or not all(0.0 < value <= 1.0 for value in values) or len(set(values)) < len(values):
        raise BadInputError(f"labels: {SHARES}, got {list(values)}")
    return tuple(values)


def evaluated_data(name: str, config: TrialConfig, changes: Mapping[str, Any]) -> EvaluatedData:
    """Return a prepared data set with the target and positive classes from the pretraining's `config`.

    Its train images are counted as the trials choose them, with the user's `changes` of fields.
    """
    info = prepared(name)
    if not info.labelled_images:
        raise BadInputError(
            f"--dataset {name}: has no labels; attach some (python -m sweep.data label {name} --table FILE) and "
            "evaluate on the label set, or name a labelled data set"
        )
    held_back = 0.0 if "validation" in info.splits else config.validation_fraction or VALIDATION_FRACTION
    held_back = changes.get("validation_fraction", held_back)
    if not held_back and "validation" not in info.splits:
        raise BadInputError(
            f"--set validation_fraction=0: penalties are chosen on validation, and {name} has no validation split; "
            "give a fraction above 0"
        )
    limit = changes.get("max_train_images", config.max_train_images)
    counts = size_of(name).chosen(held_back, limit)
    counted = counts.places is not None
    train = int(counts.labelled) if counted else round(info.labelled.get("train", 0) * (1 - held_back))
    fields = _target(info, config)
    return EvaluatedData(name, min(train, limit or train), "validation" in info.splits, fields, info.multi_label)


def _target(info: StoreInfo, config: TrialConfig) -> dict[str, Any]:
    """Return the trial's target fields if the data set supports them, else the data set's own."""
    if info.name == config.labelled_dataset:
        return {"target": config.target, "positive": config.positive, "wanted_specificity": config.wanted_specificity}
    if info.number:
        return {"target": "number", "positive": (), "wanted_specificity": None}
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
