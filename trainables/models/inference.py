"""Inference model: encoder and head in one module, from images as they are read to probabilities or a number."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from trainables.augment.evaluation_view import evaluation_matrices
from trainables.config import TrialConfig
from trainables.errors import BadInputError
from trainables.models.encoder import ChannelNormalisation, Encoder
from trainables.models.simclr_model import make_encoder
from trainables.storage.trial_records import NumberRecord

HEADS = {"linear": "logistic regression on frozen features", "probe": "linear probe trained beside the encoder"}
RIDGE = "ridge regression on frozen features"
"""Description of the head `linear` for a predicted number."""


def head_words(head: str, target: str) -> str:
    """Return the description of a head, in words."""
    return RIDGE if (head, target) == ("linear", "number") else HEADS[head]


class InferenceModel(nn.Module):
    """Inference model: (N, H, W, C) uint8 or uint16 images to the evaluation's probabilities or number, and features.

    The view (crop, resize, clip) is two constant matrices, which every runtime supports. Only images of `size` are
    valid, since other sizes have other crops.
    """

    rows: Tensor
    """(image_size, H)."""
    columns: Tensor
    """(image_size, W)."""

    def __init__(
        self, encoder: Encoder, head: nn.Linear, *, size: tuple[int, int], image_size: int, full: float, target: str
    ) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head
        self._full, self._target = full, target
        rows, columns = evaluation_matrices(size, image_size)
        self.register_buffer("rows", rows.to(torch.float32))
        self.register_buffer("columns", columns.to(torch.float32))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the predictions and the features (N, F).

        Predictions are probabilities (N, K), float32, or numbers (N, 1), float64: a number may be large in relation to
        its spread, and float32 rounds 1e9 to multiples of 64.
        """
        pixels = images.permute(0, 3, 1, 2).to(torch.float32) / self._full
        views = (self.rows @ pixels @ self.columns.T).clamp(0.0, 1.0)
        features = self.encoder(views)
        outputs = self.head(features.double())  # weight and bias may be large, and cancel
        if self._target == "number":
            return outputs, features
        probabilities = outputs.sigmoid() if self._target == "labels" else functional.softmax(outputs, dim=1)
        return probabilities.float(), features


def deployed(
    state: dict[str, Any],
    *,
    size: tuple[int, int],
    bits: int = 8,
    head: str = "linear",
    number: NumberRecord | None = None,
) -> InferenceModel:
    """Return the inference model of a trial's final weights, in evaluation mode.

    Args:
        state: Final weights, as `TrialFiles.load_model` returns them.
        size: (H, W) of the images.
        bits: Bits per pixel value, 8 or 16.
        head: linear (logistic or ridge regression) or probe.
        number: Mean and deviation of a regression target; only `probe`, which predicts it standardised, needs them.

    Raises:
        BadInputError: The trial has no such head.
    """
    config = TrialConfig.parse(state["config"])
    if not state.get(head):
        known = ", ".join(name for name in HEADS if state.get(name)) or "none: it was trained before heads were kept"
        raise BadInputError(f"--head {head}: this trial has no such head; it has {known}")
    encoder = frozen_encoder(state)
    classes, features = state[head]["weight"].shape
    linear = nn.Linear(features, classes, dtype=torch.float64)
    linear.load_state_dict(state[head])
    if config.target == "number" and head == "probe":
        _in_its_own_unit(linear, number)
    module = InferenceModel(
        encoder,
        linear,
        size=size,
        image_size=config.image_size,
        full=float(np.iinfo(np.uint16 if bits == 16 else np.uint8).max),
        target=config.target,
    )
    return module.eval()


@torch.no_grad()
def _in_its_own_unit(probe: nn.Linear, number: NumberRecord | None) -> None:
    """Change a probe of the standardised number to one of the number itself."""
    if number is None:
        raise BadInputError(
            "--head probe: its number's mean and deviation weren't kept by earlier versions; use linear"
        )
    probe.weight.mul_(number.deviation)
    probe.bias.mul_(number.deviation).add_(number.mean)


def frozen_encoder(state: dict[str, Any]) -> Encoder:
    """Return the encoder of a trial's final weights (`TrialFiles.load_model`), in evaluation mode."""
    config, weights = TrialConfig.parse(state["config"]), dict(state["encoder"])
    normalise, channels = ChannelNormalisation.of(weights), weights["conv1.weight"].shape[1]
    encoder = make_encoder(config, channels=channels, normalise=normalise)
    encoder.load_state_dict(weights)
    return encoder.eval()


def exported_state(state: dict[str, Any], size: tuple[int, int]) -> dict[str, Tensor]:
    """Return the tensors that `trainables.load_encoder` reads: weights, and the view and normalisation for `size`.

    Weights have torchvision's names, without `fc`; the other names begin with `view.` and `normalise.`.
    """
    rows, columns = evaluation_matrices(size, TrialConfig.parse(state["config"]).image_size)
    views = {"view.rows": rows.to(torch.float32), "view.columns": columns.to(torch.float32)}
    return {name: tensor.contiguous() for name, tensor in {**state["encoder"], **views}.items()}
