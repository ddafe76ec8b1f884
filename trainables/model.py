"""The model of a trial: encoder, projector and the probe behind its stop-gradient (reference: model.py)."""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from trainables.batch_norm import GlobalBatchNorm
from trainables.config import SimCLRConfig
from trainables.encoder import Encoder, initialise_encoder
from trainables.randomness import Stream, normal

DENSE_STD = 0.01
PROJECTOR_BLOCK, PROBE_BLOCK = 1, 2  # the encoder's is 0


class Outputs(NamedTuple):
    """What one pass over a batch of views gives."""

    embeddings: Tensor
    """(N, projector_output_width), not normalised."""
    logits: Tensor
    """(N, classes) of the probe; no gradient reaches the encoder through them."""


class Projector(nn.Sequential):
    """Dense layers without bias, each followed by batch norm, ReLU between them; the last batch norm has no beta."""

    def __init__(self, input_width: int, *, layers: int, hidden_width: int, output_width: int) -> None:
        modules: list[nn.Module] = []
        width = input_width
        for layer in range(1, layers + 1):
            last = layer == layers
            units = output_width if last else hidden_width
            modules += [nn.Linear(width, units, bias=False), GlobalBatchNorm(units, shift=not last)]
            modules += [] if last else [nn.ReLU(inplace=True)]
            width = units
        super().__init__(*modules)


class SimCLR(nn.Module):
    """Encoder, projector and simultaneous linear probe."""

    def __init__(
        self, config: SimCLRConfig, classes: int, *, channels: int = 3, normalise: nn.Module | None = None
    ) -> None:
        super().__init__()
        # torch's layers draw weights as they are made; ours are drawn below, and the global generator stays as it was.
        with torch.random.fork_rng(devices=[]):
            self._build(config, classes, channels, normalise)
        self._initialise(config.seed)

    def _build(self, config: SimCLRConfig, classes: int, channels: int, normalise: nn.Module | None) -> None:
        self.encoder = Encoder(
            config.encoder,
            width_factor=config.width_factor,
            small_stem=config.small_stem,
            channels=channels,
            normalise=normalise,
        )
        features = self.encoder.output_width
        self.projector = Projector(
            features,
            layers=config.projector_layers,
            hidden_width=config.projector_hidden_width or features,
            output_width=config.projector_output_width,
        )
        self.probe = nn.Linear(features, classes)

    def _initialise(self, seed: int) -> None:
        # Each layer of each part has its own block, so that neither the classes nor the projector nor the version of
        # torch change the encoder's weights.
        initialise_encoder(self.encoder, seed)
        dense = [module for module in self.projector if isinstance(module, nn.Linear)]
        for block, layers in ((PROJECTOR_BLOCK, dense), (PROBE_BLOCK, [self.probe])):
            for number, layer in enumerate(layers):
                numbers = normal(seed, Stream.WEIGHTS, number, tuple(layer.weight.shape), block=block)
                layer.weight.data.copy_(torch.from_numpy(DENSE_STD * numbers))
        nn.init.zeros_(self.probe.bias)

    def forward(self, views: Tensor) -> Outputs:
        """Return embeddings and probe logits of (N, C, H, W) views."""
        features = self.encoder(views)
        return Outputs(self.projector(features), self.probe(features.detach()))


def parameter_groups(model: SimCLR, weight_decay: float) -> list[dict[str, Any]]:
    """Split the parameters for LARS: batch norm, biases and the probe are neither adapted nor decayed."""
    adapted: list[nn.Parameter] = []
    excluded = list(model.probe.parameters())
    for part in (model.encoder, model.projector):
        for module in part.modules():
            own = list(module.parameters(recurse=False))
            (excluded if isinstance(module, GlobalBatchNorm) else adapted).extend(own)
    return [
        {"params": adapted, "weight_decay": weight_decay, "adapt": True},
        {"params": excluded, "weight_decay": 0.0, "adapt": False},
    ]
