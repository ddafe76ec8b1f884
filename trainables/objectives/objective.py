"""Protocol of a training objective: its model, its views per image, and its loss."""

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from trainables.augment.parameters import ViewDraws
from trainables.config import TrialConfig
from trainables.distributed import world_size
from trainables.evaluation.probe import BatchWeights
from trainables.metrics import names
from trainables.models.simclr_model import ModelOutputs, SimCLR, SupervisedModel

SUMMED = 5
"""Number of a step's metrics; the last two are this rank's part of a sum over ranks."""


class TrainingObjective(Protocol):
    """Training objective: a model, the views that it is trained on, and their loss."""

    @property
    def model(self) -> SimCLR | SupervisedModel:
        """Initialised model, on the CPU."""

    def views(self, images: Tensor, draws: tuple[ViewDraws, ViewDraws]) -> Tensor:
        """Return the views of this rank's images, one batch.

        `images` are (n, C, H, W), or (2n, C, H, W) with pairs of seasons: those of the first view, then of the second.
        """

    def loss(self, outputs: ModelOutputs, targets: Tensor, weights: BatchWeights | None) -> tuple[Tensor, Tensor]:
        """Return the loss and the step's metrics (SUMMED,).

        The gradients of the ranks' losses sum to the gradient of the global loss. The first metric is the same on every
        rank; it is not finite if the loss isn't.
        """

    def metrics(self, means: Sequence[float]) -> dict[str, float]:
        """Return an epoch's metrics by name, from the means of its steps' metrics."""


def supervised_names(has_numbers: bool) -> tuple[str, ...]:
    """Return the names of the head's training metrics; regression has no accuracy."""
    return (names.SUPERVISED_LOSS,) if has_numbers else (names.SUPERVISED_LOSS, names.SUPERVISED_ACCURACY)


def probe_decay(config: TrialConfig, model: SimCLR | SupervisedModel) -> Tensor:
    """Return this rank's part of the L2 penalty on the probe's weights."""
    # Once over all ranks, as the head's kernel is the same on each (reference: add_weight_decay).
    return 0.5 * config.weight_decay * model.probe.weight.square().sum() / world_size()
