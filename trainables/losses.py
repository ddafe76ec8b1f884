"""NT-Xent loss (equation 2.3 of the thesis) and the contrastive metrics (reference: objective.py, metrics.py)."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from trainables.memory.constants import TILES, WHOLE_ROWS

NORM_FLOOR = 1e-6  # TensorFlow bounds the squared norm by 1e-12
ENTROPY_FLOOR = 1e-8
LARGEST_EXPONENT = 80.0
"""Largest x for which exp(x) and exp(-x) are normal float32 numbers."""


class ContrastiveResult(NamedTuple):
    """Loss and metrics of one global batch of N pairs, scalars."""

    loss: Tensor
    accuracy: Tensor
    entropy: Tensor


def nt_xent(z_a: Tensor, z_b: Tensor, *, temperature: float) -> Tensor:
    """Return the NT-Xent loss: the mean over 2N anchors of -log softmax of the partner's cosine / temperature.

    Equation 2.3 of the thesis. Computed in float32 or wider; the row maximum is subtracted, so that small temperatures
    don't overflow.

    Args:
        z_a: Embeddings of the first views (N, D), any float dtype, finite. A norm below NORM_FLOOR counts as
            NORM_FLOOR, so that zero vectors are orthogonal to all.
        z_b: Embeddings of the second views (N, D), in the same order.
        temperature: Divisor of the cosine similarities, above 0.

    Returns:
        The loss as a scalar tensor.

    Example:
        >>> equal = torch.ones(4, 8)  # equal embeddings: log(2N - 1)
        >>> round(float(nt_xent(equal, equal, temperature=0.5)), 4)
        1.9459
    """
    return contrast(z_a, z_b, temperature=temperature).loss


def contrast(z_a: Tensor, z_b: Tensor, *, temperature: float) -> ContrastiveResult:
    """Return NT-Xent, and accuracy and entropy of view a's softmax over its similarities to the N views b."""
    both = torch.cat([_normalise(z_a), _normalise(z_b)])
    if len(both) > WHOLE_ROWS:
        return ContrastiveResult(*_Tiled.apply(both, temperature))
    return _contrast_at_once(both, temperature)


def _contrast_at_once(both: Tensor, temperature: float) -> ContrastiveResult:
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
    return ContrastiveResult(loss, accuracy, entropy)


class _Tiled(torch.autograd.Function):
    """NT-Xent by tiles of the similarity matrix, with memory that grows with N instead of N^2.

    The matrix is symmetric, so only tiles on and above its diagonal are computed, each twice: for the rows'
    log-sum-exp, then for the gradient, which is computed in the forward pass already.
    """

    @staticmethod
    def forward(ctx: Any, both: Tensor, temperature: float) -> tuple[Tensor, Tensor, Tensor]:
        partners = both.roll(len(both) // 2, 0)
        own = (both * partners).sum(1) / temperature
        normaliser, cross, found = _normalisers(both, temperature)
        loss = (normaliser - own).mean()
        gradient, entropy = _gradient(both, temperature, normaliser, cross)
        ctx.save_for_backward(gradient.sub_(partners, alpha=2.0).div_(len(both) * temperature))
        accuracy = found.to(both.dtype).mean()
        ctx.mark_non_differentiable(accuracy, entropy)
        return loss, accuracy, entropy

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return ctx.saved_tensors[0] * gradients[0], None


class _Tile(NamedTuple):
    """Similarities over the temperature of some rows and columns of the (2N, 2N) matrix."""

    rows: slice
    columns: slice
    logits: Tensor
    crosses: bool
    """Whether the rows are view a's and the columns view b's."""

    @property
    def on_diagonal(self) -> bool:
        return self.rows == self.columns


def _tiles(both: Tensor, temperature: float) -> Iterator[_Tile]:
    """Yield the tiles on and above the diagonal; none spans both views."""
    count, side = len(both) // 2, TILES[both.device.type]
    parts = [
        slice(view + start, view + min(start + side, count)) for view in (0, count) for start in range(0, count, side)
    ]
    scaled = both / temperature
    for number, rows in enumerate(parts):
        for columns in parts[number:]:
            logits = scaled[rows] @ both[columns].T
            if rows == columns:
                logits.fill_diagonal_(-torch.inf)  # no image is its own partner
            yield _Tile(rows, columns, logits, rows.stop <= count <= columns.start)


def _shift(temperature: float) -> float | None:
    """Return the largest possible logit as a shift, if no exponential relative to it can underflow; else None."""
    return 1.0 / temperature if 2.0 / temperature <= LARGEST_EXPONENT else None


def _normalisers(both: Tensor, temperature: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return log-sum-exp of all rows (2N,); of view a (N,) that over view b, and whether its partner is nearest.

    If several are equally near, the first counts, as in argmax.
    """
    count, shift = len(both) // 2, _shift(temperature)
    everyone = both.new_full((2 * count,), -torch.inf)
    cross, largest = everyone[:count].clone(), everyone[:count].clone()
    found = torch.zeros(count, dtype=torch.bool, device=both.device)
    for tile in _tiles(both, temperature):
        rows, columns = tile.rows, tile.columns
        if tile.crosses:
            # Where the largest lies is asked of one tile in a row of them: that takes many times as long as how large.
            if columns.start - count == rows.start:
                value, place = tile.logits.max(1)
                found[rows] = (place == torch.arange(len(place), device=place.device)) & (value > largest[rows])
            else:
                value = tile.logits.amax(1)
                found[rows] &= value <= largest[rows]
            largest[rows] = torch.maximum(value, largest[rows])
        of_rows, of_columns = _log_sums(tile.logits, shift)
        everyone[rows] = torch.logaddexp(everyone[rows], of_rows)
        if not tile.on_diagonal:
            everyone[columns] = torch.logaddexp(everyone[columns], of_columns)
        if tile.crosses:
            cross[rows] = torch.logaddexp(cross[rows], of_rows)
    return everyone, cross, found


def _log_sums(logits: Tensor, shift: float | None) -> tuple[Tensor, Tensor]:
    """Return log-sum-exp of each row and each column of a tile; the tile is overwritten."""
    if shift is None:
        return logits.logsumexp(1), logits.logsumexp(0)
    exponentials = logits.sub_(shift).exp_()
    return exponentials.sum(1).log_() + shift, exponentials.sum(0).log_() + shift


def _gradient(both: Tensor, temperature: float, normaliser: Tensor, cross: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gradient of the summed log-sum-exp times the temperature, and view a's mean entropy."""
    gradient, entropy, shift = torch.zeros_like(both), both.new_zeros(()), _shift(temperature)
    for tile in _tiles(both, temperature):
        rows, columns, logits = tile.rows, tile.columns, tile.logits
        of_rows, of_columns, of_cross = normaliser[rows, None], normaliser[columns], cross[rows, None]
        if shift is None:
            own = (logits - of_cross).exp_() if tile.crosses else None
            shares = (logits - of_rows).exp_().add_(logits.sub_(of_columns).exp_())
        else:  # one exponential for all of them
            relative = logits.sub_(shift).exp_()
            own = relative * (shift - of_cross).exp() if tile.crosses else None
            shares = relative.mul_((shift - of_rows).exp() + (shift - of_columns).exp())
        if own is not None:
            entropy -= torch.dot(own.flatten(), (own + ENTROPY_FLOOR).log_().flatten())
        # The softmax of the rows and, by symmetry, of the columns.
        gradient[rows].addmm_(shares, both[columns])
        if not tile.on_diagonal:
            gradient[columns].addmm_(shares.T, both[rows])
    return gradient, entropy / len(cross)


def _normalise(z: Tensor) -> Tensor:
    """Return rows scaled to norm 1 (less if below NORM_FLOOR); large rows are scaled first against overflow."""
    z = widen(z)
    largest = torch.linalg.vector_norm(z.detach(), torch.inf, dim=1, keepdim=True)
    safe = torch.finfo(z.dtype).max ** 0.25
    return functional.normalize(z / torch.where(largest > safe, largest, 1.0), dim=1, eps=NORM_FLOOR)


def widen(values: Tensor) -> Tensor:
    """Return the values in float32, or unchanged if they are wider."""
    return values if values.dtype == torch.float64 else values.float()
