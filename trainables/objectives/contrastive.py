"""SimCLR: NT-Xent over two views of each image, with a linear probe behind a stop-gradient."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from trainables.augment.parameters import ViewDraws
from trainables.augment.views import joined_views
from trainables.config import TrialConfig
from trainables.data.trial_data import TrialData
from trainables.distributed import gather_with_gradient
from trainables.evaluation.probe import BatchWeights, probe_loss
from trainables.losses import contrast
from trainables.metrics import names
from trainables.models.simclr_model import ModelOutputs, SimCLR
from trainables.objectives.objective import probe_decay, supervised_names


class ContrastiveObjective:
    """SimCLR: NT-Xent over two views of each image, with a simultaneous linear probe behind a stop-gradient."""

    def __init__(self, config: TrialConfig, data: TrialData, normalise: nn.Module | None) -> None:
        self._config, self._has_probe, self._has_numbers = config, data.has_probe, data.has_numbers
        self.model = SimCLR(config, data.outputs, channels=data.channels, normalise=normalise)

    def views(self, images: Tensor, draws: tuple[ViewDraws, ViewDraws]) -> Tensor:
        """Return (2n, C, s, s): the first view of every image, then the second, of (n or 2n, C, H, W) images."""
        return joined_views(images, draws, image_size=self._config.image_size)

    def loss(self, outputs: ModelOutputs, targets: Tensor, weights: BatchWeights | None) -> tuple[Tensor, Tensor]:
        """Return the loss and the step's metrics: contrastive loss, accuracy, entropy; probe loss and accuracy."""
        config = self._config
        assert outputs.embeddings is not None
        z_a, z_b = (gather_with_gradient(part, config.batch_size) for part in outputs.embeddings.chunk(2))
        contrastive = contrast(z_a, z_b, temperature=config.temperature)
        supervised, correct = self._probe_loss(outputs.logits, targets, weights)
        values = (contrastive.loss, contrastive.accuracy, contrastive.entropy, supervised, correct)
        metrics = torch.stack([value.detach().double() for value in values])
        return config.loss_factor * contrastive.loss + supervised + probe_decay(config, self.model), metrics

    def _probe_loss(self, logits: Tensor, targets: Tensor, weights: BatchWeights | None) -> tuple[Tensor, Tensor]:
        if not self._has_probe:
            return 0.0 * logits.sum(), logits.new_zeros(())  # so that its parameters have gradients on all ranks
        both = targets if len(targets) == len(logits) else torch.cat([targets, targets])
        return probe_loss(logits, both, weights, views=2 * self._config.batch_size)

    def metrics(self, means: Sequence[float]) -> dict[str, float]:
        """Return an epoch's metrics by name (see `TrainingObjective`)."""
        loss, accuracy, entropy, supervised_loss, supervised_accuracy = means
        probe = {names.SUPERVISED_LOSS: supervised_loss, names.SUPERVISED_ACCURACY: supervised_accuracy}
        return {
            names.CONTRASTIVE_LOSS: loss,
            names.CONTRASTIVE_ACCURACY: accuracy,
            names.CONTRASTIVE_ENTROPY: entropy,
            **({name: probe[name] for name in supervised_names(self._has_numbers)} if self._has_probe else {}),
        }
