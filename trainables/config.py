"""Configuration of one trial: a frozen value whose defaults are the thesis protocol.

The thesis states learning rate, batch sizes, temperatures and epochs. It doesn't state weight decay, jitter strength
and blur; their defaults are those of the reference, Google's SimCLR (folder tf2).
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from trainables.errors import BadInputError, describe_validation
from trainables.field_facts import FieldFacts
from trainables.weights.initial_weights import InitialWeights

PROTOCOL_VERSION = 2
"""Version of the training protocol, part of every trial id; raised when the same configuration gives a new result."""

JitterOperation = Literal["brightness", "contrast", "saturation", "hue"]
JITTER_OPERATIONS: tuple[JitterOperation, ...] = ("brightness", "contrast", "saturation", "hue")
COLOUR_OPERATIONS = ("saturation", "hue")
"""Operations that act on the red, green and blue channels alone."""
RED_GREEN_BLUE = (0, 1, 2)
"""Channel indices of red, green and blue in RGB images."""
UNTRAINABLE = ("pixels", "colours", "random_features")
"""Encoders without weights, for baselines."""

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Interval = tuple[float, float]


class TrialConfig(BaseModel):
    """Configuration of a trial: everything that decides its outcome, apart from the data."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    # Data
    dataset: Annotated[str, FieldFacts("Data")] = Field(
        "tiny_imagenet", description="name of a prepared data set (python -m sweep.data list)"
    )
    evaluation_dataset: Annotated[str | None, FieldFacts("Data")] = Field(
        None, description="data set of the labelled train and test images, if it differs from the pretraining data set"
    )
    bands: Annotated[tuple[str, ...], FieldFacts("Data")] = Field(
        (), description="bands of the data set to train on, in this order (sweep.data info names them); none: all"
    )
    image_size: Annotated[int, FieldFacts("Data", unit="pixels", thesis="64, 120")] = Field(
        64, ge=4, description="side of the square views"
    )
    target: Annotated[Literal["classes", "positive", "labels", "number"], FieldFacts("Data")] = Field(
        "classes",
        description="what the probe predicts: the class, positive against the rest, yes or no for each label, or a "
        "number",
    )
    positive: Annotated[tuple[str, ...], FieldFacts("Data", thesis="farmland")] = Field(
        (), description="classes, or a rule of the data set, that count as positive"
    )
    validation_fraction: Annotated[
        float, Field(ge=0.0, lt=1.0), FieldFacts("Data", unit="fraction of train", thesis="0")
    ] = Field(
        0.0,
        description="train images held out for selection, chosen by a stable hash: single images, or whole blocks, "
        "tiles or places where the data set is split by them; with 0, selection uses the test split",
    )
    max_train_images: Annotated[int | None, FieldFacts("Data", unit="images")] = Field(
        None,
        ge=2,
        description="maximum number of train images, chosen by a stable hash; with pairs of seasons, of places "
        "with all their dates",
    )
    max_test_images: Annotated[int | None, FieldFacts("Data", unit="images")] = Field(
        None, ge=1, description="maximum number of evaluated images per split, chosen by a stable hash"
    )

    # Probe
    label_fraction: Annotated[float, FieldFacts("Probe", unit="fraction of train", reference="1")] = Field(
        1.0,
        gt=0.0,
        le=1.0,
        description="train images whose labels are used, the same fraction of each class",
    )
    label_draw: Annotated[int, FieldFacts("Probe")] = Field(
        0, ge=0, description="index of the random label subset that label_fraction selects"
    )
    probe_class_weight: Annotated[Literal["none", "balanced"], FieldFacts("Probe", thesis="none")] = Field(
        "none",
        description="balanced: every class, or both sides of each label, has the same weight in the probe's loss",
    )
    probe_sampling: Annotated[Literal["all", "balanced"], FieldFacts("Probe", thesis="all")] = Field(
        "all",
        description="balanced: the probe learns from as many samples as images, with every class equally frequent",
    )
    wanted_specificity: Annotated[float | None, FieldFacts("Probe", thesis="none (argmax)")] = Field(
        None,
        gt=0.0,
        lt=1.0,
        description="also report metrics at the threshold that reaches this specificity on validation",
    )

    # Method
    training: Annotated[Literal["simclr", "supervised"], FieldFacts("Method", thesis="simclr")] = Field(
        "simclr",
        description="simclr: contrastive pretraining with a linear probe; supervised: the encoder learns the "
        "labels from one view (fine-tuning, or from scratch)",
    )
    pairs: Annotated[Literal["image", "season"], FieldFacts("Method")] = Field(
        "image",
        description="the two views of a pair: of one image, or, with season, of one place at two dates where it has "
        "them (SeCo)",
    )
    initial_weights: Annotated[str | None, FieldFacts("Method")] = Field(
        None,
        description="the encoder's initial weights: a name of the catalogue (sweep.weights list), or a file: a trial's "
        "model.pt, or a torchvision or timm state dict (of other bands: FILE#bands=B02,B03,...); none: random",
    )

    # Encoder and heads
    encoder: Annotated[
        Literal["resnet10", "resnet18", "resnet34", "resnet50", "pixels", "colours", "random_features"],
        FieldFacts("Encoder and heads"),
    ] = Field(
        "resnet50",
        description="torchvision's ResNet; resnet10: one basic block per stage; without weights, for epochs 0: "
        "pixels, colours (mean and standard deviation of each channel), or random_features (Coates and Ng 2011)",
    )
    width_factor: Annotated[float, FieldFacts("Encoder and heads")] = Field(
        1.0, gt=0.0, le=8.0, description="multiplies every channel count; 1: torchvision's 64 in the first stage"
    )
    stem: Annotated[Literal["auto", "small", "large"], FieldFacts("Encoder and heads", reference="auto")] = Field(
        "auto",
        description="small: 3x3 convolution, stride 1; large: 7x7, stride 2, max-pool; auto: small up to 32 pixels",
    )
    normalisation: Annotated[Literal["none", "train"], FieldFacts("Encoder and heads", reference="none")] = Field(
        "none",
        description="train: subtract each channel's mean over train and divide by its standard deviation; what isn't "
        "said is none up to three bands, train beyond",
    )
    calibrate_batch_norm: Annotated[bool, FieldFacts("Encoder and heads")] = Field(
        False,
        description="with epochs 0: compute batch norm's running statistics on train, for a stronger untrained "
        "baseline",
    )
    projector_layers: Annotated[
        int, FieldFacts("Encoder and heads", unit="layers", thesis="2 (text)", reference="3")
    ] = Field(3, ge=1, le=4, description="dense layers of the projection head")
    projector_hidden_width: Annotated[int | None, FieldFacts("Encoder and heads", unit="units")] = Field(
        None, ge=1, description="width of the projection head's hidden layers; none: the encoder's output width"
    )
    projector_output_width: Annotated[int, FieldFacts("Encoder and heads", unit="units", reference="128")] = Field(
        128, ge=1, description="dimension of the projected embedding"
    )

    # Optimisation
    batch_size: Annotated[int, FieldFacts("Optimisation", unit="images", thesis="256, 1024, 2048")] = Field(
        256, ge=2, description="images per step over all workers"
    )
    epochs: Annotated[int, FieldFacts("Optimisation", unit="epochs", thesis="50, 100, 200, 400")] = Field(
        50, ge=0, description="passes over train; 0: the untrained encoder"
    )
    optimiser: Annotated[Literal["lars", "sgd", "adamw"], FieldFacts("Optimisation", reference="lars")] = Field(
        "lars",
        description="LARS, or torch's SGD with momentum or AdamW; weight decay applies to the same weights in all",
    )
    base_learning_rate: Annotated[float, FieldFacts("Optimisation", thesis="1.0")] = Field(
        1.0, gt=0.0, description="learning rate before scaling by the batch size"
    )
    learning_rate_scaling: Annotated[Literal["linear", "sqrt"], FieldFacts("Optimisation", reference="linear")] = Field(
        "linear", description="linear: base * batch_size / 256; sqrt: base * sqrt(batch_size) (reference: model.py)"
    )
    warmup_epochs: Annotated[float, FieldFacts("Optimisation", unit="epochs", reference="10")] = Field(
        10.0, ge=0.0, description="linear warm-up from 0"
    )
    momentum: Annotated[float, FieldFacts("Optimisation", reference="0.9")] = Field(
        0.9, ge=0.0, lt=1.0, description="momentum of LARS and SGD, beta1 of AdamW"
    )
    trust_coefficient: Annotated[float, FieldFacts("Optimisation", reference="0.001")] = Field(
        0.001, gt=0.0, description="trust coefficient of LARS (eeta)"
    )
    weight_decay: Annotated[float, FieldFacts("Optimisation", reference="1e-6")] = Field(
        1e-6, ge=0.0, description="L2 penalty added to the gradient of adapted weights; decoupled for AdamW"
    )

    # Loss
    temperature: Annotated[float, FieldFacts("Loss", thesis="0.25, 0.5")] = Field(
        0.25, gt=0.0, description="temperature of NT-Xent (tau of equation 2.3)"
    )
    loss_factor: Annotated[float, FieldFacts("Loss", reference="2")] = Field(
        2.0, gt=0.0, description="factor on equation 2.3 for the gradient; the reference sums both directions"
    )

    # Augmentation
    crop_rule: Annotated[Literal["tensorflow", "torchvision"], FieldFacts("Augmentation", reference="tensorflow")] = (
        Field(
            "tensorflow",
            description="distribution of crops: uniform in height (tensorflow), or in area and log aspect ratio "
            "(torchvision), which gives larger crops",
        )
    )
    crop_area: Annotated[Interval, FieldFacts("Augmentation", unit="fraction of the image")] = Field(
        (0.08, 1.0), description="smallest and largest area of a crop"
    )
    crop_aspect: Annotated[Interval, FieldFacts("Augmentation", unit="width / height")] = Field(
        (3 / 4, 4 / 3), description="smallest and largest aspect ratio of a crop"
    )
    flip_probability: Annotated[Fraction, FieldFacts("Augmentation", unit="probability")] = Field(
        0.5, description="horizontal flip"
    )
    vertical_flip_probability: Annotated[Fraction, FieldFacts("Augmentation", unit="probability", reference="0")] = (
        Field(0.0, description="vertical flip")
    )
    rotation_probability: Annotated[Fraction, FieldFacts("Augmentation", unit="probability", reference="0")] = Field(
        0.0, description="rotation by 90, 180 or 270 degrees, equally likely"
    )
    jitter_probability: Annotated[Fraction, FieldFacts("Augmentation", unit="probability")] = Field(
        0.8, description="colour jitter"
    )
    jitter_operations: Annotated[tuple[JitterOperation, ...], FieldFacts("Augmentation", reference="all")] = Field(
        JITTER_OPERATIONS,
        description="operations of colour jitter, applied in random order per image; saturation and hue act on the "
        "red, green and blue bands, and nowhere else",
    )
    jitter_strength: Annotated[float, FieldFacts("Augmentation")] = Field(
        1.0, ge=0.0, le=2.0, description="strength s: 0.8s brightness, contrast, saturation; 0.2s hue"
    )
    jitter_per: Annotated[Literal["image", "band"], FieldFacts("Augmentation", reference="image")] = Field(
        "image",
        description="brightness and contrast: one factor for all bands of an image, or one for each band",
    )
    band_drop_probability: Annotated[
        float, Field(ge=0.0, lt=1.0), FieldFacts("Augmentation", unit="probability", reference="0")
    ] = Field(0.0, description="set a band of a view to 0; one band at least is kept")
    grayscale_probability: Annotated[Fraction, FieldFacts("Augmentation", unit="probability")] = Field(
        0.2, description="conversion to grayscale: the luma of red, green and blue in every band"
    )
    blur_probability: Annotated[Fraction, FieldFacts("Augmentation", unit="probability")] = Field(
        0.5, description="Gaussian blur with a kernel of image_size // 10"
    )
    blur_sigma: Annotated[Interval, FieldFacts("Augmentation", unit="pixels")] = Field(
        (0.1, 2.0), description="smallest and largest sigma of the blur"
    )
    blur_sigma_per: Annotated[Literal["batch", "image"], FieldFacts("Augmentation", reference="batch")] = Field(
        "batch",
        description="one sigma per batch and view (in the reference per replica), or one per image (the paper's text)",
    )

    # Numerics and evaluation
    precision: Annotated[Literal["fp32", "tf32", "bf16"], FieldFacts("Numerics and evaluation")] = Field(
        "fp32",
        description="precision of the encoder (tf32: on a GPU only); losses, statistics and optimiser stay float32",
    )
    seed: Annotated[int, FieldFacts("Numerics and evaluation")] = Field(
        0, ge=0, lt=2**32, description="seed of initial weights, image order and views"
    )
    knn_neighbours: Annotated[int, FieldFacts("Numerics and evaluation", unit="neighbours")] = Field(
        20, ge=1, description="k of the weighted cosine kNN on frozen features"
    )
    knn_also: Annotated[
        tuple[Annotated[int, Field(ge=1)], ...], FieldFacts("Numerics and evaluation", unit="neighbours")
    ] = Field(
        (), description="further values of k to report, as knn200_top1; k is at most the number of labelled images"
    )
    knn_temperature: Annotated[float, FieldFacts("Numerics and evaluation")] = Field(
        0.07, gt=0.0, description="temperature t of the kNN weights exp(cosine / t)"
    )
    knn_every: Annotated[int, FieldFacts("Numerics and evaluation", unit="epochs")] = Field(
        0, ge=0, description="epochs between kNN evaluations; 0: only at the end"
    )
    linear_regularisation: Annotated[float, FieldFacts("Numerics and evaluation")] = Field(
        1e-4, gt=0.0, description="lambda / 2 * ||W||^2 of the logistic regression on frozen features at the end"
    )
    linear_candidates: Annotated[tuple[Annotated[float, Field(gt=0.0)], ...], FieldFacts("Numerics and evaluation")] = (
        Field(
            (),
            description="candidates for linear_regularisation, of which the one with the lowest validation loss "
            "is used",
        )
    )

    @field_validator("crop_area", "crop_aspect", "blur_sigma")
    @classmethod
    def _is_ordered(cls, interval: Interval) -> Interval:
        low, high = interval
        if not 0.0 < low <= high:
            raise ValueError(f"must be 0 < smallest <= largest, got {low}, {high}")
        return interval

    @field_validator("initial_weights")
    @classmethod
    def _names_a_file(cls, text: str | None) -> str | None:
        if text is not None and not text.partition("#")[0]:
            raise ValueError(f"must name a file, got {text!r}")
        return text

    @field_validator("crop_area")
    @classmethod
    def _is_within_the_image(cls, interval: Interval) -> Interval:
        if interval[1] > 1.0:
            raise ValueError(f"largest must be <= 1, got {interval[1]}")
        return interval

    @model_validator(mode="after")
    def _hold_together(self) -> Self:
        faults = []
        if self.encoder in UNTRAINABLE and self.epochs > 0:
            faults.append(
                f"encoder: {self.encoder!r} has nothing to train and needs epochs 0, got epochs {self.epochs}"
            )
        if self.calibrate_batch_norm and (self.epochs > 0 or self.encoder in UNTRAINABLE):
            faults.append("calibrate_batch_norm: is for an untrained ResNet; set it to false, or epochs to 0")
        if len(set(self.jitter_operations)) < len(self.jitter_operations):
            faults.append(f"jitter_operations: each at most once, got {', '.join(self.jitter_operations)}")
        if self.target == "labels" and self.probe_sampling == "balanced":
            faults.append("probe_sampling: 'balanced' needs one class per image; use probe_class_weight with labels")
        if self.target == "number" and (self.probe_sampling, self.probe_class_weight) != ("all", "none"):
            faults.append("target: 'number' has no classes to balance; leave probe_sampling and probe_class_weight out")
        if self.target == "number" and self.positive:
            faults.append(f"positive: target 'number' has no classes; leave it out, got {', '.join(self.positive)}")
        if self.wanted_specificity is not None and not self.positive:
            faults.append("wanted_specificity: needs the classes or the rule that count as positive; set positive")
        if self.training == "supervised" and (self.epochs == 0 or self.evaluation_dataset is not None):
            faults.append("training: 'supervised' needs epochs, and no evaluation_dataset: it learns dataset's labels")
        if self.training == "supervised" and self.pairs != "image":
            faults.append(f"pairs: {self.pairs!r} pairs two views, and training 'supervised' has one; leave it out")
        if self.initial_weights is not None and self.encoder in UNTRAINABLE:
            faults.append(f"initial_weights: encoder {self.encoder!r} has none; leave it out")
        if self.evaluation_dataset == self.dataset:
            faults.append(f"evaluation_dataset: {self.dataset!r} is the data set itself; leave it out")
        if self.target == "positive" and not self.positive:
            faults.append("positive: target 'positive' needs the classes or the rule that count as positive, got none")
        if faults:
            raise ValueError("\n".join(faults))
        return self

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Self:
        """Return the configuration of these fields; BadInputError lists every invalid field."""
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            raise BadInputError(*describe_validation(error, known_fields=list(cls.model_fields)).split("\n")) from None

    def pinned(self) -> Self:
        """Return the configuration with its initial weights pinned by digest; BadInputError if they are missing."""
        if self.initial_weights is None:
            return self
        return self.model_copy(update={"initial_weights": str(InitialWeights.parse(self.initial_weights).pinned())})

    def canonical_json(self) -> str:
        """Return the canonical JSON from which trial ids are computed: only fields that differ from their default.

        So a new field with a neutral default doesn't change the ids of finished trials. Initial weights are represented
        by their content, not by their location.
        """
        values = self.model_dump(mode="json", exclude_defaults=True)
        if self.initial_weights is not None:
            weights = InitialWeights.parse(self.initial_weights)
            values["initial_weights"] = weights.identity
        return json.dumps(values, sort_keys=True, separators=(",", ":"))

    def trial_id(self, fingerprint: str) -> str:
        """Return the trial's id, 12 hex digits, for this configuration on data with this fingerprint."""
        text = f"{PROTOCOL_VERSION}\n{fingerprint}\n{self.canonical_json()}"
        if self.pairs == "season" and self.max_train_images is not None:  # earlier versions took single images
            text += "\nwhole places"
        if self.encoder == "random_features":  # earlier versions compared filters with unwhitened patches
            text += "\nwhitened patches"
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def for_channels(self, channels: int) -> Self:
        """Return the configuration for images with this number of channels.

        With more than three channels, the default normalisation is by channel (`train`).
        """
        if len(self.bands or range(channels)) <= 3 or "normalisation" in self.model_fields_set:
            return self
        return self.model_copy(update={"normalisation": "train"})

    @property
    def labelled_dataset(self) -> str:
        """Name of the data set that labels come from: `evaluation_dataset` if given, else `dataset`."""
        return self.evaluation_dataset or self.dataset

    @property
    def small_stem(self) -> bool:
        """Whether the encoder starts with the 3x3 stride 1 stem (reference rule: images up to 32 px)."""
        return self.stem == "small" or (self.stem == "auto" and self.image_size <= 32)


SimCLRConfig = TrialConfig
"""Earlier name of `TrialConfig`, for code that imports it."""


def data_fingerprint(fingerprint: str, evaluation_fingerprint: str | None) -> str:
    """Return the fingerprint of the data in a trial's id: that of the store, or of both stores combined."""
    return fingerprint if evaluation_fingerprint is None else f"{fingerprint}+{evaluation_fingerprint}"
