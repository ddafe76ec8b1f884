"""The probe's loss over classes or labels, and the weight of each image and label in it."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from trainables.config import TrialConfig
from trainables.distributed import to_device
from trainables.losses import widen
from trainables.randomness.counter_based import RandomStream, uniform

SMALLEST = 1e-300
"""Divisor that replaces a sum of weights of 0."""
SAMPLED_STEP, SAMPLED_FIT = 0, 1
"""Blocks of random numbers: for the steps of pretraining, and for the fit on frozen features."""


def elements(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return the loss of each decision, and 1.0 (float64) for each right decision, else 0.0.

    Classes: logits (n, K) and targets (n,) int64 give (n,): cross-entropy, and argmax as the decision. Labels: targets
    (n, K) bool give (n, K): binary cross-entropy, and a threshold of 0.5 as the decision. Numbers: standardised targets
    (n,) float give (n,): Huber's loss (1964) with a bend at one standard deviation, and no right decision. Its gradient
    is bounded like cross-entropy's; squared error diverges at learning rates that suit pretraining.
    """
    if targets.is_floating_point():
        loss = functional.huber_loss(logits[:, 0], targets.to(logits), reduction="none")
        return loss, torch.zeros_like(loss, dtype=torch.float64)
    if targets.dim() == 1:
        loss = functional.cross_entropy(logits, targets, reduction="none")
        return loss, (logits.argmax(1) == targets).double()
    loss = functional.binary_cross_entropy_with_logits(logits, targets.to(logits), reduction="none")
    return loss, ((logits >= 0) == targets).double()


@dataclass(frozen=True)
class BatchWeights:
    """Weights of a batch's images, and of each of their labels."""

    own: Tensor
    """(n,) or (n, K) float64, of this rank's images."""
    total: float
    """Their sum over all ranks."""


class ProbeWeights:
    """Weights of the train images (and labels) for the probe: label budget, class weights, sampling.

    Args are on the CPU: `targets` of all train images, (N,) int64 or (N, K) bool, and `labelled`, (N,) bool.
    """

    def __init__(self, config: TrialConfig, targets: Tensor, labelled: NDArray[np.bool_], classes: int) -> None:
        self._config, self._targets, self._labelled = config, targets, labelled
        self._class_counts = _counts(targets[torch.from_numpy(labelled)], classes)
        self._per_class = _balanced(self._class_counts, int(labelled.sum())) if self._weighs_classes else None

    @property
    def _weighs_classes(self) -> bool:
        return self._config.probe_class_weight == "balanced"

    @property
    def _samples(self) -> bool:
        return self._config.probe_sampling == "balanced"

    @property
    def needed(self) -> bool:
        """Whether any weight differs from one."""
        return self._weighs_classes or self._samples or not bool(self._labelled.all())

    def of_step(self, step: int, images: NDArray[np.int64], mine: slice, device: torch.device) -> BatchWeights | None:
        """Return the weights of this rank's part of a global batch of train images; None if all are equal.

        They are computed for the whole batch on every rank, so that the result doesn't depend on the number of ranks.

        Args:
            step: Number of the step.
            images: Images (k, batch): those of the first view, then, for pairs of seasons, those of the second.
            mine: Slice of this rank in the batch.
            device: Device of the result.
        """
        if not self.needed:
            return None
        everyone = self._weights(images.ravel(), step, SAMPLED_STEP)
        own = everyone.reshape(*images.shape, *everyone.shape[1:])[:, mine].flatten(0, 1)
        return BatchWeights(to_device(own.contiguous(), device), float(everyone.sum()))

    def of_fit(self) -> Tensor | None:
        """Return the weights of all images for the fit on frozen features, (N,) or (N, K); None if all are equal."""
        return self._weights(np.arange(len(self._targets)), 0, SAMPLED_FIT) if self.needed else None

    def _weights(self, images: NDArray[np.int64], index: int, block: int) -> Tensor:
        each = torch.from_numpy(self._labelled[images].astype(np.float64))
        targets = self._targets[torch.from_numpy(images)]
        if self._samples:
            each = torch.from_numpy(self._drawn(each.numpy(), targets.numpy(), index, block))
        if self._per_class is None:
            return each if targets.dim() == 1 else each[:, None].expand(-1, targets.shape[1])
        if targets.dim() == 1:
            return each * self._per_class[1][targets]
        return each[:, None] * torch.where(targets, self._per_class[1], self._per_class[0])

    def _drawn(
        self, labelled: NDArray[np.float64], targets: NDArray[np.int64], index: int, block: int
    ) -> NDArray[np.float64]:
        """Return how often each image is drawn in N draws with replacement, with equal probability for each class."""
        chances = labelled / np.maximum(self._class_counts.numpy()[targets], 1.0)
        total = chances.sum()
        if total == 0.0:
            return labelled
        numbers = uniform(self._config.seed, RandomStream.PROBE, index, (len(labelled),), block=block)
        drawn = np.searchsorted(np.cumsum(chances) / total, numbers, side="right")
        return np.bincount(np.minimum(drawn, len(labelled) - 1), minlength=len(labelled)).astype(np.float64)


def probe_loss(logits: Tensor, targets: Tensor, weights: BatchWeights | None, *, views: int) -> tuple[Tensor, Tensor]:
    """Return this rank's part of the probe's mean loss and accuracy over the `views` views of all ranks.

    Args:
        logits: Logits (n, K) of the rank's images, one view after the other.
        targets: Targets of the same images, in the same order.
        weights: Weights of images and labels; None: all 1. If all are 0, loss and accuracy are 0.
        views: Number of views over all ranks.
    """
    logits = widen(logits)
    if weights is None and targets.is_floating_point():
        each, correct = elements(logits, targets)
        return each.sum() / views, correct.sum()
    if weights is None and targets.dim() == 1:
        loss = functional.cross_entropy(logits, targets, reduction="sum") / views
        return loss, (logits.argmax(1) == targets).sum() / views
    each, correct = elements(logits, targets)
    if weights is None:
        decisions = views * targets.shape[1]
        return each.sum() / decisions, correct.sum() / decisions
    copies = len(logits) // len(weights.own)
    own = torch.cat([weights.own] * copies) / max(copies * weights.total, SMALLEST)
    return (each * own.to(each)).sum(), (correct * own).sum()


def _counts(targets: Tensor, classes: int) -> Tensor:
    """Return images of each class (K,), or images with each label (K,), float64."""
    if targets.is_floating_point():
        return torch.zeros(classes, dtype=torch.float64)
    counts = torch.bincount(targets, minlength=classes) if targets.dim() == 1 else targets.sum(0)
    return counts.double()


def _balanced(counts: Tensor, images: int) -> tuple[Tensor, Tensor]:
    """Return the weights of absence and presence (K,) that balance the classes, or the two sides of each label.

    The weight of a side with n of N images is N / (2 n); for classes only presence is used. A common factor has no
    effect, since the loss is divided by the sum of the weights.
    """
    absent = images / (2.0 * (images - counts).clamp_min(1.0))
    return absent, images / (2.0 * counts.clamp_min(1.0))
