"""Supervised objective: cross-entropy over the labels (reference: train_mode finetune)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from trainables.augment.parameters import ViewDraws
from trainables.augment.views import one_view
from trainables.config import TrialConfig
from trainables.data.trial_data import TrialData
from trainables.distributed import sum_over_ranks
from trainables.evaluation.probe import BatchWeights, probe_loss
from trainables.metrics import names
from trainables.models.simclr_model import ModelOutputs, SupervisedModel
from trainables.objectives.objective import probe_decay, supervised_names


class SupervisedObjective:
    """Supervised training: one view of each image; encoder and head learn the labels."""

    def __init__(self, config: TrialConfig, data: TrialData, normalise: nn.Module | None) -> None:
        self._config, self._has_numbers = config, data.has_numbers
        self.model = SupervisedModel(config, data.outputs, channels=data.channels, normalise=normalise)

    def views(self, images: Tensor, draws: tuple[ViewDraws, ViewDraws]) -> Tensor:
        """Return (n, C, s, s)."""
        return one_view(images, draws[0], image_size=self._config.image_size)

    def loss(self, outputs: ModelOutputs, targets: Tensor, weights: BatchWeights | None) -> tuple[Tensor, Tensor]:
        """Return the loss and the step's metrics: global loss, two zeros, head loss and accuracy."""
        loss, correct = probe_loss(outputs.logits, targets, weights, views=self._config.batch_size)
        everywhere = sum_over_ranks(loss.detach().double())
        nothing = torch.zeros_like(everywhere)
        metrics = torch.stack([everywhere, nothing, nothing, loss.detach().double(), correct.detach().double()])
        return loss + probe_decay(self._config, self.model), metrics

    def metrics(self, means: Sequence[float]) -> dict[str, float]:
        """Return an epoch's metrics by name (see `TrainingObjective`)."""
        found = {names.SUPERVISED_LOSS: means[3], names.SUPERVISED_ACCURACY: means[4]}
        return {name: found[name] for name in supervised_names(self._has_numbers)}
