"""The configuration of one trial: a frozen value whose defaults are the thesis protocol.

"Reference" in the descriptions is Google's SimCLR, folder tf2; the thesis gives learning rate, batch sizes,
temperatures and epochs, and is silent on weight decay, jitter strength and blur, where the reference's defaults stand.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from trainables.errors import BadInputError, describe_validation
from trainables.initial_weights import InitialWeights

PROTOCOL_VERSION = 2
"""Raised whenever the same configuration, or a default, would give another result; part of every trial id."""

JitterOperation = Literal["brightness", "contrast", "saturation", "hue"]
JITTER_OPERATIONS: tuple[JitterOperation, ...] = ("brightness", "contrast", "saturation", "hue")
UNTRAINABLE = ("pixels", "colours")
"""Encoders without weights, for baselines."""

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Interval = tuple[float, float]


class SimCLRConfig(BaseModel):
    """Everything that decides the outcome of a SimCLR trial with its linear probe, apart from the data themselves."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    # Data
    dataset: str = Field("tiny_imagenet", description="name of a prepared data set (python -m sweep.data list)")
    evaluation_dataset: str | None = Field(
        None, description="data set that everything labelled comes from, where it isn't the one pretrained on"
    )
    image_size: int = Field(64, ge=4, description="side of the square views, pixels; thesis: 64 and 120")
    target: Literal["classes", "positive", "labels"] = Field(
        "classes",
        description="what the probe predicts: the classes, positive against the rest, or yes or no for each label",
    )
    positive: tuple[str, ...] = Field(
        (), description="classes, or a rule of the data set, that count as positive (thesis: farmland)"
    )
    validation_fraction: Annotated[float, Field(ge=0.0, lt=1.0)] = Field(
        0.0, description="share of train held out by a stable hash for selection; thesis: 0 (it selects on test)"
    )
    max_train_images: int | None = Field(
        None, ge=2, description="use only so many train images, taken by a stable hash"
    )
    max_test_images: int | None = Field(None, ge=1, description="evaluate on so many images a split, by a stable hash")

    # Probe
    label_fraction: float = Field(
        1.0,
        gt=0.0,
        le=1.0,
        description="share of train whose labels are used, by class; reference: all",
    )
    label_draw: int = Field(0, ge=0, description="which labels a label_fraction buys: another number, other ones")
    probe_class_weight: Literal["none", "balanced"] = Field(
        "none", description="balanced: classes (both sides of each label) weigh alike in the probe's loss; thesis: none"
    )
    probe_sampling: Literal["all", "balanced"] = Field(
        "all", description="balanced: the probe learns from as many draws as images, every class as often; thesis: all"
    )
    wanted_specificity: float | None = Field(
        None, gt=0.0, lt=1.0, description="also report at the threshold that has it on validation; thesis: argmax alone"
    )

    # What is trained, and from where
    training: Literal["simclr", "supervised"] = Field(
        "simclr",
        description="simclr: two views of each image against all others, with a probe alongside; supervised: the "
        "encoder learns the labels from one view (fine-tuning, or from scratch)",
    )
    initial_weights: str | None = Field(
        None,
        description="file that the encoder starts from: a trial's model.pt, or a state dict of torchvision's or timm's "
        "names; none: drawn (trainables/models/pretrained.py)",
    )

    # Encoder and heads
    encoder: Literal["resnet10", "resnet18", "resnet34", "resnet50", "pixels", "colours"] = Field(
        "resnet50",
        description="torchvision's ResNet, one basic block a stage (resnet10), or nothing to train (epochs 0 only): "
        "the pixels, or mean and deviation of each channel (colours)",
    )
    width_factor: float = Field(
        1.0, gt=0.0, le=8.0, description="multiplies every channel count; 1 is torchvision's 64"
    )
    stem: Literal["auto", "small", "large"] = Field(
        "auto",
        description="3x3 stride 1, or 7x7 stride 2 with max-pool; auto: small up to 32 px (reference: resnet.py)",
    )
    normalisation: Literal["none", "train"] = Field(
        "none",
        description="train: subtract each channel's mean over train and divide by its deviation; reference: none",
    )
    calibrate_batch_norm: bool = Field(
        False, description="with epochs 0: take batch norm's running statistics from train; a stronger baseline"
    )
    projector_layers: int = Field(
        3, ge=1, le=4, description="dense layers of the projector; reference 3, thesis text 2"
    )
    projector_hidden_width: int | None = Field(None, ge=1, description="units; none: the encoder's output width")
    projector_output_width: int = Field(128, ge=1, description="units of the embedding; reference: 128")

    # Optimisation
    batch_size: int = Field(256, ge=2, description="images a step over all workers; thesis: 256, 1024, 2048")
    epochs: int = Field(50, ge=0, description="passes over train; 0: the untrained encoder; thesis: 50, 100, 200, 400")
    optimiser: Literal["lars", "sgd", "adamw"] = Field(
        "lars", description="LARS, or torch's SGD with momentum or AdamW; all decay the same weights; reference: LARS"
    )
    base_learning_rate: float = Field(1.0, gt=0.0, description="before scaling by the batch size; thesis: 1.0")
    learning_rate_scaling: Literal["linear", "sqrt"] = Field(
        "linear", description="base * batch_size / 256, or base * sqrt(batch_size) (reference: model.py)"
    )
    warmup_epochs: float = Field(10.0, ge=0.0, description="epochs of linear warm-up from 0; reference: 10")
    momentum: float = Field(0.9, ge=0.0, lt=1.0, description="of LARS and SGD, beta1 of AdamW; reference: 0.9")
    trust_coefficient: float = Field(0.001, gt=0.0, description="eeta of LARS; reference: 0.001")
    weight_decay: float = Field(
        1e-6, ge=0.0, description="L2 into the gradient of adapted weights (AdamW: decoupled); reference: 1e-6"
    )

    # Loss
    temperature: float = Field(0.25, gt=0.0, description="tau of equation 2.3; thesis: 0.25 and 0.5")
    loss_factor: float = Field(
        2.0, gt=0.0, description="multiplies equation 2.3 for the gradient; the reference sums both directions: 2"
    )

    # Augmentation
    crop_rule: Literal["tensorflow", "torchvision"] = Field(
        "tensorflow",
        description="how crops are drawn: uniform in height (reference), or in area and log aspect; the latter's are "
        "larger",
    )
    crop_area: Interval = Field((0.08, 1.0), description="smallest and largest crop, share of the image's area")
    crop_aspect: Interval = Field((3 / 4, 4 / 3), description="smallest and largest width / height of a crop")
    flip_probability: Fraction = Field(0.5, description="of a horizontal flip")
    vertical_flip_probability: Fraction = Field(0.0, description="of a vertical flip; reference: none")
    rotation_probability: Fraction = Field(
        0.0, description="of a turn by 90, 180 or 270 degrees, each alike; reference: none"
    )
    jitter_probability: Fraction = Field(0.8, description="of colour jitter")
    jitter_operations: tuple[JitterOperation, ...] = Field(
        JITTER_OPERATIONS, description="what colour jitter changes, in an order drawn for each image; reference: all"
    )
    jitter_strength: float = Field(
        1.0, ge=0.0, le=2.0, description="s: 0.8s brightness, contrast, saturation; 0.2s hue"
    )
    grayscale_probability: Fraction = Field(0.2, description="of dropping the colours")
    blur_probability: Fraction = Field(0.5, description="of Gaussian blur with a kernel of image_size // 10")
    blur_sigma: Interval = Field((0.1, 2.0), description="smallest and largest sigma of the blur, pixels")
    blur_sigma_per: Literal["batch", "image"] = Field(
        "batch", description="one sigma a batch and view (reference, there by replica), or one an image (paper's text)"
    )

    # Numerics and evaluation
    precision: Literal["fp32", "tf32", "bf16"] = Field(
        "fp32", description="of the encoder (tf32: on a GPU only); losses, statistics and optimiser stay float32"
    )
    seed: int = Field(0, ge=0, lt=2**32, description="of initial weights, order and views")
    knn_neighbours: int = Field(20, ge=1, description="k of the weighted cosine kNN on frozen features")
    knn_also: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (), description="further k that are reported, as knn200_top1; k is capped by the labels there are"
    )
    knn_temperature: float = Field(0.07, gt=0.0, description="of the kNN's weights exp(cosine / t)")
    knn_every: int = Field(0, ge=0, description="epochs between kNN evaluations; 0: only at the end")
    linear_regularisation: float = Field(
        1e-4, gt=0.0, description="lambda / 2 * ||W||^2 of the logistic regression on frozen features at the end"
    )
    linear_candidates: tuple[Annotated[float, Field(gt=0.0)], ...] = Field(
        (), description="values of linear_regularisation, of which the one with the least loss on validation is taken"
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
            faults.append("probe_sampling: 'balanced' needs one class an image; use probe_class_weight with labels")
        if self.wanted_specificity is not None and not self.positive:
            faults.append("wanted_specificity: needs the classes or the rule that count as positive; set positive")
        if self.training == "supervised" and (self.epochs == 0 or self.evaluation_dataset is not None):
            faults.append("training: 'supervised' needs epochs, and no evaluation_dataset: it learns dataset's labels")
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
        """Return the configuration, or raise BadInputError that lists every fault."""
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            raise BadInputError(*describe_validation(error, known_fields=list(cls.model_fields)).split("\n")) from None

    def pinned(self) -> Self:
        """Return the same with what its initial weights are now, by their digest; BadInputError where they aren't."""
        if self.initial_weights is None:
            return self
        return self.model_copy(update={"initial_weights": str(InitialWeights.parse(self.initial_weights).pinned())})

    def canonical_json(self) -> str:
        """Return the one spelling of this configuration that ids are made of: the fields that aren't at their default.

        A new option that is off by default thus leaves the ids of finished trials as they are. Of initial weights what
        they are counts, not where they lie.
        """
        values = self.model_dump(mode="json", exclude_defaults=True)
        if self.initial_weights is not None:
            weights = InitialWeights.parse(self.initial_weights)
            values["initial_weights"] = weights.id_digits or weights.address
        return json.dumps(values, sort_keys=True, separators=(",", ":"))

    def trial_id(self, fingerprint: str) -> str:
        """Return 12 hex digits that name this configuration on the data with that fingerprint."""
        text = f"{PROTOCOL_VERSION}\n{fingerprint}\n{self.canonical_json()}"
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def labelled_dataset(self) -> str:
        """The data set that everything labelled comes from."""
        return self.evaluation_dataset or self.dataset

    @property
    def small_stem(self) -> bool:
        """Whether the encoder starts with the 3x3 stride 1 stem (reference rule: images up to 32 px)."""
        return self.stem == "small" or (self.stem == "auto" and self.image_size <= 32)


def data_fingerprint(fingerprint: str, evaluation_fingerprint: str | None) -> str:
    """Return what stands for the data in a trial's id: the store's fingerprint, or both stores'."""
    return fingerprint if evaluation_fingerprint is None else f"{fingerprint}+{evaluation_fingerprint}"
