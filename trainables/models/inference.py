"""Inference model: encoder and classifier in one module, from images as they are read to probabilities."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from trainables.augment.evaluation_view import evaluation_matrices
from trainables.config import TrialConfig
from trainables.errors import BadInputError
from trainables.models.encoder import Encoder, Normalise
from trainables.models.simclr_model import make_encoder

HEADS = {"linear": "logistic regression on frozen features", "probe": "linear probe trained beside the encoder"}


class InferenceModel(nn.Module):
    """Inference model: (N, H, W, C) uint8 or uint16 images to probabilities and features, equal to the evaluation's.

    The view (crop, resize, clip) is two constant matrices, which every runtime supports. Only images of `size` are
    valid, since other sizes have other crops.
    """

    rows: Tensor
    """(image_size, H)."""
    columns: Tensor
    """(image_size, W)."""

    def __init__(
        self, encoder: Encoder, head: nn.Linear, *, size: tuple[int, int], image_size: int, full: float, several: bool
    ) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head
        self._full, self._several = full, several
        rows, columns = evaluation_matrices(size, image_size)
        self.register_buffer("rows", rows.to(torch.float32))
        self.register_buffer("columns", columns.to(torch.float32))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return probabilities (N, K), of classes or of each label, and features (N, F)."""
        pixels = images.permute(0, 3, 1, 2).to(torch.float32) / self._full
        views = (self.rows @ pixels @ self.columns.T).clamp(0.0, 1.0)
        features = self.encoder(views)
        logits = self.head(features.double())  # weight and bias may be large, and cancel
        return (logits.sigmoid() if self._several else functional.softmax(logits, dim=1)).float(), features


def deployed(state: dict[str, Any], *, size: tuple[int, int], bits: int = 8, head: str = "linear") -> InferenceModel:
    """Return the inference model of a trial's final weights, in evaluation mode.

    Args:
        state: Final weights, as `TrialFiles.load_model` returns them.
        size: (H, W) of the images.
        bits: Bits per pixel value, 8 or 16.
        head: linear (logistic regression) or probe.

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
    module = InferenceModel(
        encoder,
        linear,
        size=size,
        image_size=config.image_size,
        full=float(np.iinfo(np.uint16 if bits == 16 else np.uint8).max),
        several=config.target == "labels",
    )
    return module.eval()


def frozen_encoder(state: dict[str, Any]) -> Encoder:
    """Return the encoder of a trial's final weights (`TrialFiles.load_model`), in evaluation mode."""
    config, weights = TrialConfig.parse(state["config"]), dict(state["encoder"])
    normalise = None
    if "normalise.mean" in weights:
        normalise = Normalise(weights["normalise.mean"], weights["normalise.deviation"])
    encoder = make_encoder(config, channels=weights["conv1.weight"].shape[1], normalise=normalise)
    encoder.load_state_dict(weights)
    return encoder.eval()


def exported_state(state: dict[str, Any], size: tuple[int, int]) -> dict[str, Tensor]:
    """Return the tensors that `trainables.load_encoder` reads: weights, and the view and normalisation for `size`.

    Weights have torchvision's names, without `fc`; the other names begin with `view.` and `normalise.`.
    """
    rows, columns = evaluation_matrices(size, TrialConfig.parse(state["config"]).image_size)
    views = {"view.rows": rows.to(torch.float32), "view.columns": columns.to(torch.float32)}
    return {name: tensor.contiguous() for name, tensor in {**state["encoder"], **views}.items()}
