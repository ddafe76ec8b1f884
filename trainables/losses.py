"""NT-Xent (equation 2.3 of the thesis) and the contrastive task's metrics (reference: objective.py, metrics.py)."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

NORM_FLOOR = 1e-6  # TensorFlow bounds the squared norm by 1e-12
ENTROPY_FLOOR = 1e-8
WHOLE_ROWS = 1024
"""Up to so many embeddings their similarities are one matrix, 4 MiB of float32; beyond, one tile at a time is made."""
TILES = {"cpu": 512, "cuda": 8192}
"""Rows and columns of a tile: on a CPU 1 MiB, which stays in a core's cache; on a GPU 256 MiB, so that few are made."""


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
    both = torch.cat([_normalise(z_a), _normalise(z_b)])
    if len(both) > WHOLE_ROWS:
        return Contrast(*_Tiled.apply(both, temperature))
    return _contrast_at_once(both, temperature)


def _contrast_at_once(both: Tensor, temperature: float) -> Contrast:
    count = len(both) // 2
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


class _Tiled(torch.autograd.Function):
    """The same by tiles of the similarity matrix, in memory that grows with N and not with N^2.

    The matrix is symmetric, so only tiles on and above its diagonal are made, each twice: for the rows' log-sum-exp,
    then for the gradient, which is therefore ready before the backward pass asks for it.
    """

    @staticmethod
    def forward(ctx: Any, both: Tensor, temperature: float) -> tuple[Tensor, Tensor, Tensor]:
        scaled = both / temperature
        partners = both.roll(len(both) // 2, 0)
        own = (scaled * partners).sum(1)
        normaliser, cross, best = _normalisers(both, scaled)
        loss = (normaliser - own).mean()
        gradient, entropy = _gradient(both, scaled, normaliser, cross)
        ctx.save_for_backward(gradient.sub_(partners, alpha=2.0).div_(len(both) * temperature))
        accuracy = (best == torch.arange(len(best), device=best.device)).to(both.dtype).mean()
        ctx.mark_non_differentiable(accuracy, entropy)
        return loss, accuracy, entropy

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return ctx.saved_tensors[0] * gradients[0], None


def _tiles(both: Tensor) -> Iterator[tuple[slice, slice]]:
    """Yield rows and columns of the tiles on and above the diagonal of the (2N, 2N) matrix; none spans both views."""
    count, side = len(both) // 2, TILES[both.device.type]
    parts = [
        slice(view + start, view + min(start + side, count)) for view in (0, count) for start in range(0, count, side)
    ]
    for number, rows in enumerate(parts):
        for columns in parts[number:]:
            yield rows, columns


def _logits(both: Tensor, scaled: Tensor, rows: slice, columns: slice) -> Tensor:
    logits = scaled[rows] @ both[columns].T
    if rows == columns:
        logits.fill_diagonal_(-torch.inf)  # no image is its own partner
    return logits


def _normalisers(both: Tensor, scaled: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return log-sum-exp of every row (2N,), and of view a's rows that over view b and the nearest of b, (N,) each."""
    count = len(both) // 2
    everyone = both.new_full((2 * count,), -torch.inf)
    cross, largest = everyone[:count].clone(), everyone[:count].clone()
    best = torch.zeros(count, dtype=torch.int64, device=both.device)
    for rows, columns in _tiles(both):
        logits = _logits(both, scaled, rows, columns)
        found = logits.logsumexp(1)
        everyone[rows] = torch.logaddexp(everyone[rows], found)
        if rows != columns:
            everyone[columns] = torch.logaddexp(everyone[columns], logits.logsumexp(0))
        if rows.stop <= count <= columns.start:
            cross[rows] = torch.logaddexp(cross[rows], found)
            value, place = logits.max(1)
            better = value > largest[rows]
            best[rows] = torch.where(better, place + columns.start - count, best[rows])
            largest[rows] = torch.maximum(value, largest[rows])
    return everyone, cross, best


def _gradient(both: Tensor, scaled: Tensor, normaliser: Tensor, cross: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gradient of the rows' log-sum-exp, summed and times the temperature, and view a's mean entropy."""
    count = len(both) // 2
    gradient, entropy = torch.zeros_like(both), both.new_zeros(())
    for rows, columns in _tiles(both):
        logits = _logits(both, scaled, rows, columns)
        shares = (logits - normaliser[rows, None]).exp_()
        if rows.stop <= count <= columns.start:
            own = (logits - cross[rows, None]).exp_()
            entropy -= (own * (own + ENTROPY_FLOOR).log_()).sum()
        shares += logits.sub_(normaliser[columns]).exp_()  # those of the columns' softmax, by symmetry
        gradient[rows].addmm_(shares, both[columns])
        if rows != columns:
            gradient[columns].addmm_(shares.T, both[rows])
    return gradient, entropy / count


def _normalise(z: Tensor) -> Tensor:
    return functional.normalize(widen(z), dim=1, eps=NORM_FLOOR)


def widen(values: Tensor) -> Tensor:
    """Return the values in float32, or as they are where they are wider."""
    return values if values.dtype == torch.float64 else values.float()
