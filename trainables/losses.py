"""NT-Xent (equation 2.3 of the thesis) and the contrastive task's metrics (reference: objective.py, metrics.py)."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

NORM_FLOOR = 1e-6  # TensorFlow bounds the squared norm by 1e-12
ENTROPY_FLOOR = 1e-8


class Contrast(NamedTuple):
    """Loss and metrics of one global batch of N pairs, scalars."""

    loss: Tensor
    accuracy: Tensor
    entropy: Tensor


def nt_xent(z_a: Tensor, z_b: Tensor, *, temperature: float) -> Tensor:
    """Return equation 2.3, the mean over 2N anchors of -log softmax of the partner's cosine / temperature.

    z_a, z_b: (N, D) embeddings of the two views, any float dtype, any norm that float32 holds (zero vectors count as
    orthogonal to all). float32 or wider inside; the row maximum is subtracted, so small temperatures don't overflow.
    """
    return contrast(z_a, z_b, temperature=temperature).loss


def contrast(z_a: Tensor, z_b: Tensor, *, temperature: float) -> Contrast:
    """Return the loss with the accuracy and entropy of view a's softmax over the N cross-view similarities."""
    a, b = _normalise(z_a), _normalise(z_b)
    count = len(a)
    both = torch.cat([a, b])
    logits = both @ both.T / temperature
    logits = logits.masked_fill(torch.eye(2 * count, dtype=torch.bool, device=logits.device), -torch.inf)
    partners = torch.arange(2 * count, device=logits.device).roll(count)
    loss = functional.cross_entropy(logits, partners)
    with torch.no_grad():
        cross = logits[:count, count:]
        accuracy = (cross.argmax(1) == torch.arange(count, device=cross.device)).to(cross.dtype).mean()
        shares = cross.softmax(1)
        entropy = -(shares * (shares + ENTROPY_FLOOR).log()).sum(1).mean()
    return Contrast(loss, accuracy, entropy)


def _normalise(z: Tensor) -> Tensor:
    return functional.normalize(widen(z), dim=1, eps=NORM_FLOOR)


def widen(values: Tensor) -> Tensor:
    """Return the values in float32, or as they are where they are wider."""
    return values if values.dtype == torch.float64 else values.float()
