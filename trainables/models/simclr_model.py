"""Model of a trial: encoder, projector and a linear probe behind a stop-gradient (reference: model.py)."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from trainables.config import TrialConfig
from trainables.models.batch_norm import GlobalBatchNorm
from trainables.models.encoder import Encoder, initialise_encoder
from trainables.randomness.counter_based import RandomStream, normal

DENSE_STD = 0.01
PROJECTOR_BLOCK, PROBE_BLOCK = 1, 2  # the encoder's is 0


class ModelOutputs(NamedTuple):
    """Outputs of one forward pass over a batch of views."""

    embeddings: Tensor | None
    """(N, projector_output_width), not normalised; None without a projector."""
    logits: Tensor
    """(N, classes) of the probe or head."""


class Projector(nn.Sequential):
    """Projector (projection head): dense layers without bias, batch norm after each, ReLU between; last beta absent."""

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
    """SimCLR model: encoder, projector and a linear probe, whose gradient doesn't reach the encoder."""

    def __init__(
        self, config: TrialConfig, classes: int, *, channels: int = 3, normalise: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.encoder, probe = _encoder_and_probe(config, classes, channels, normalise)
        self.projector = _projector(config, self.encoder.output_width)
        self.probe = probe  # after the projector, since optimisers take parameters in the order of modules

    def forward(self, views: Tensor) -> ModelOutputs:
        """Return embeddings and probe logits of (N, C, H, W) views."""
        features = self.encoder(views)
        return ModelOutputs(self.projector(features), self.probe(features.detach()))


class SupervisedModel(nn.Module):
    """Supervised model: encoder and linear head, initialised like SimCLR's encoder and probe."""

    def __init__(
        self, config: TrialConfig, classes: int, *, channels: int = 3, normalise: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.encoder, self.probe = _encoder_and_probe(config, classes, channels, normalise)

    def forward(self, views: Tensor) -> ModelOutputs:
        """Return logits of (N, C, H, W) views."""
        return ModelOutputs(None, self.probe(self.encoder(views)))


def make_encoder(config: TrialConfig, *, channels: int = 3, normalise: nn.Module | None = None) -> Encoder:
    """Return a configuration's encoder, with torch's own initial weights."""
    return Encoder(
        config.encoder,
        width_factor=config.width_factor,
        small_stem=config.small_stem,
        channels=channels,
        normalise=normalise,
    )


def _encoder_and_probe(
    config: TrialConfig, classes: int, channels: int, normalise: nn.Module | None
) -> tuple[Encoder, nn.Linear]:
    """Return a configuration's encoder and linear head, initialised."""
    with _kept_generator():
        encoder = make_encoder(config, channels=channels, normalise=normalise)
        probe = nn.Linear(encoder.output_width, classes)
    initialise_encoder(encoder, config.seed)
    _initialise_dense([probe], config.seed, PROBE_BLOCK)
    return encoder, probe


def _projector(config: TrialConfig, features: int) -> Projector:
    """Return a configuration's projector of (N, features), initialised."""
    with _kept_generator():
        projector = Projector(
            features,
            layers=config.projector_layers,
            hidden_width=config.projector_hidden_width or features,
            output_width=config.projector_output_width,
        )
    dense = [module for module in projector if isinstance(module, nn.Linear)]
    _initialise_dense(dense, config.seed, PROJECTOR_BLOCK)
    return projector


def _kept_generator() -> AbstractContextManager[None]:
    """Preserve the global generator's state, since torch's layers draw weights that ours replace."""
    return torch.random.fork_rng(devices=[])


def _initialise_dense(layers: Sequence[nn.Linear], seed: int, block: int) -> None:
    # Each layer of each part has its own block, so that neither the classes nor the projector nor the version of
    # torch change the encoder's weights.
    for number, layer in enumerate(layers):
        numbers = normal(seed, RandomStream.WEIGHTS, number, tuple(layer.weight.shape), block=block)
        layer.weight.data.copy_(torch.from_numpy(DENSE_STD * numbers))
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def parameter_groups(model: SimCLR | SupervisedModel, weight_decay: float) -> list[dict[str, Any]]:
    """Split the parameters for LARS: batch norm, biases and the probe are neither adapted nor decayed."""
    adapted: list[nn.Parameter] = []
    excluded = list(model.probe.parameters())
    for part in (model.encoder, *([model.projector] if isinstance(model, SimCLR) else [])):
        for module in part.modules():
            own = list(module.parameters(recurse=False))
            (excluded if isinstance(module, GlobalBatchNorm) else adapted).extend(own)
    return [
        {"params": adapted, "weight_decay": weight_decay, "adapt": True},
        {"params": excluded, "weight_decay": 0.0, "adapt": False},
    ]
