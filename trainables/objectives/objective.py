"""Protocol of a training objective: its model, its views per image, and its loss."""

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from trainables.augment.parameters import ViewDraws
from trainables.config import TrialConfig
from trainables.distributed import world_size
from trainables.evaluation.probe import BatchWeights
from trainables.models.simclr_model import Classifier, ModelOutputs, SimCLR

SUMMED = 5
"""Numbers that a step's metrics are; the last two are this rank's part of theirs."""


class TrainingObjective(Protocol):
    """A model, the views it is given, and their loss."""

    @property
    def model(self) -> SimCLR | Classifier:
        """Drawn, and on the CPU."""

    def views(self, images: Tensor, draws: tuple[ViewDraws, ViewDraws]) -> Tensor:
        """Return the views of this rank's images (n, C, H, W), one batch."""

    def loss(self, outputs: ModelOutputs, targets: Tensor, weights: BatchWeights | None) -> tuple[Tensor, Tensor]:
        """Return the loss whose gradients sum over ranks to the global one's, and the step's numbers (SUMMED,).

        The first of them is the same on every rank, and not finite where the loss isn't.
        """

    def metrics(self, means: Sequence[float]) -> dict[str, float]:
        """Return an epoch's metrics of the mean numbers of its steps."""


def probe_decay(config: TrialConfig, model: SimCLR | Classifier) -> Tensor:
    """Return the L2 penalty of the probe's weights, this rank's part of it."""
    # Once over all ranks, as the head's kernel is the same on each (reference: add_weight_decay).
    return 0.5 * config.weight_decay * model.probe.weight.square().sum() / world_size()
