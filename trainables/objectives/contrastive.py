"""What a trial's steps minimise: SimCLR's loss with a probe behind a stop-gradient, or the labels' own."""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from trainables import metric_names as names
from trainables.augment.parameters import ViewDraws
from trainables.augment.views import joined_views, one_view
from trainables.config import SimCLRConfig
from trainables.data.trial_data import TrialData
from trainables.distributed import gather_with_gradient, sum_over_ranks, world_size
from trainables.evaluation.probe import Weights, probe_loss
from trainables.losses import contrast
from trainables.models.simclr_model import Classifier, Outputs, SimCLR

SUMMED = 5
"""Numbers that a step's metrics are; the last two are this rank's share of theirs."""


class Objective(Protocol):
    """A model, the views it is given, and their loss."""

    @property
    def model(self) -> SimCLR | Classifier:
        """Drawn, and on the CPU."""

    def views(self, images: Tensor, draws: tuple[ViewDraws, ViewDraws]) -> Tensor:
        """Return the views of this rank's images (n, C, H, W), one batch."""

    def loss(self, outputs: Outputs, targets: Tensor, weights: Weights | None) -> tuple[Tensor, Tensor]:
        """Return the loss whose gradients sum over ranks to the global one's, and the step's numbers (SUMMED,).

        The first of them is the same on every rank, and not finite where the loss isn't.
        """

    def metrics(self, means: Sequence[float]) -> dict[str, float]:
        """Return an epoch's metrics of the mean numbers of its steps."""


class Contrastive:
    """Two views of each image, found again among all others', and a probe that learns alongside."""

    def __init__(self, config: SimCLRConfig, data: TrialData, normalise: nn.Module | None) -> None:
        self._config, self._has_probe = config, data.has_probe
        self.model = SimCLR(config, len(data.classes), channels=data.channels, normalise=normalise)

    def views(self, images: Tensor, draws: tuple[ViewDraws, ViewDraws]) -> Tensor:
        """Return (2n, C, s, s): the first view of every image, then the second."""
        return joined_views(images, draws, image_size=self._config.image_size)

    def loss(self, outputs: Outputs, targets: Tensor, weights: Weights | None) -> tuple[Tensor, Tensor]:
        """Return as `Objective`: contrastive loss, accuracy and entropy, the probe's loss and accuracy."""
        config = self._config
        assert outputs.embeddings is not None
        z_a, z_b = (gather_with_gradient(part, config.batch_size) for part in outputs.embeddings.chunk(2))
        contrastive = contrast(z_a, z_b, temperature=config.temperature)
        supervised, correct = self._probe_loss(outputs.logits, targets, weights)
        values = (contrastive.loss, contrastive.accuracy, contrastive.entropy, supervised, correct)
        metrics = torch.stack([value.detach().double() for value in values])
        return config.loss_factor * contrastive.loss + supervised + _decay(config, self.model), metrics

    def _probe_loss(self, logits: Tensor, targets: Tensor, weights: Weights | None) -> tuple[Tensor, Tensor]:
        if not self._has_probe:
            return 0.0 * logits.sum(), logits.new_zeros(())  # so that its parameters have gradients on all ranks
        return probe_loss(logits, torch.cat([targets, targets]), weights, views=2 * self._config.batch_size)

    def metrics(self, means: Sequence[float]) -> dict[str, float]:
        """Return as `Objective`."""
        loss, accuracy, entropy, supervised_loss, supervised_accuracy = means
        probe = {names.SUPERVISED_LOSS: supervised_loss, names.SUPERVISED_ACCURACY: supervised_accuracy}
        return {
            names.CONTRASTIVE_LOSS: loss,
            names.CONTRASTIVE_ACCURACY: accuracy,
            names.CONTRASTIVE_ENTROPY: entropy,
            **(probe if self._has_probe else {}),
        }


class Supervised:
    """One view of each image and its labels; the encoder learns with the head (reference: train_mode finetune)."""

    def __init__(self, config: SimCLRConfig, data: TrialData, normalise: nn.Module | None) -> None:
        self._config = config
        self.model = Classifier(config, len(data.classes), channels=data.channels, normalise=normalise)

    def views(self, images: Tensor, draws: tuple[ViewDraws, ViewDraws]) -> Tensor:
        """Return (n, C, s, s)."""
        return one_view(images, draws[0], image_size=self._config.image_size)

    def loss(self, outputs: Outputs, targets: Tensor, weights: Weights | None) -> tuple[Tensor, Tensor]:
        """Return as `Objective`: the global loss, twice nothing, loss and accuracy."""
        loss, correct = probe_loss(outputs.logits, targets, weights, views=self._config.batch_size)
        everywhere = sum_over_ranks(loss.detach().double())
        nothing = torch.zeros_like(everywhere)
        metrics = torch.stack([everywhere, nothing, nothing, loss.detach().double(), correct.detach().double()])
        return loss + _decay(self._config, self.model), metrics

    def metrics(self, means: Sequence[float]) -> dict[str, float]:
        """Return as `Objective`."""
        return {names.SUPERVISED_LOSS: means[3], names.SUPERVISED_ACCURACY: means[4]}


def objective_of(config: SimCLRConfig, data: TrialData, normalise: nn.Module | None) -> Objective:
    """Return what a configuration trains; its model is drawn and on the CPU."""
    kind = Supervised if config.training == "supervised" else Contrastive
    return kind(config, data, normalise)


def _decay(config: SimCLRConfig, model: SimCLR | Classifier) -> Tensor:
    # Once over all ranks, as the head's kernel is the same on each (reference: add_weight_decay).
    return 0.5 * config.weight_decay * model.probe.weight.square().sum() / world_size()
