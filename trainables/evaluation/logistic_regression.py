"""Logistic regression on frozen features, fitted by L-BFGS over all ranks' rows."""

import logging
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from trainables.distributed import sum_over_ranks
from trainables.evaluation.features import RankShard
from trainables.evaluation.probe import elements
from trainables.heartbeat import beat
from trainables.memory.constants import STANDARDISED_CHUNK

log = logging.getLogger(__name__)
LOGISTIC_ITERATIONS = 500
CONVERGED = 0.01
"""Tolerance: a fit has converged if its loss is at most this fraction above the optimum."""
LEAST_LOSS = 1e-4
"""Lower bound of the loss in the convergence check, since the optimum of separable classes is 0."""
ROUNDING_ERRORS = 8
"""A feature whose deviation is at most this many rounding errors of its mean is constant."""
LEAST_DEVIATION = 1e-30
"""Deviation up to which a feature is constant in any case: its inverse would overflow in float32."""


class LogisticRegression:
    """Logistic regression on standardised features, fitted by L-BFGS over all ranks' rows; multi-label: one per label.

    Minimises (weighted) mean cross-entropy + lambda / 2 * ||W||^2; the bias is not penalised. `excess` is an upper
    bound on the relative distance of the loss from its optimum; a fit that hasn't converged logs a warning.
    """

    def __init__(self, train: RankShard, *, classes: int, regularisation: float) -> None:
        self._mean, self._scale = (moment.to(train.features) for moment in standardisation(train))
        width = train.features.shape[1]
        self._weights = torch.zeros(classes, width, device=train.features.device, dtype=train.features.dtype)
        self._bias = torch.zeros(classes, device=train.features.device, dtype=train.features.dtype)
        self._fit(train, regularisation)

    def logits(self, features: Tensor) -> Tensor:
        """Return the logits (n, classes) of features (n, F)."""
        return functional.linear(self._standardise(features), self._weights, self._bias)

    def state_dict(self) -> dict[str, Tensor]:
        """Return weight (classes, F) and bias (classes,) of the equivalent linear layer on unstandardised features.

        The bias is float64 and matches the rounded weight: for features with a large mean and a small variance, both
        are large and cancel. Compute this layer in float64.
        """
        weight = (self._weights.double() * self._scale.double()).to(self._weights)
        return {"weight": weight, "bias": self._bias.double() - weight.double() @ self._mean.double()}

    def loss(self, shard: RankShard) -> float:
        """Return the mean cross-entropy of all ranks' images, unweighted."""
        even = replace(shard, weights=None)
        return float(sum_over_ranks(_mean_loss(self.logits(shard.features), even, _total_weight(even))[None]))

    def _standardise(self, features: Tensor) -> Tensor:
        return (features - self._mean).mul_(self._scale)

    def _fit(self, train: RankShard, regularisation: float) -> None:
        parameters = [self._weights.requires_grad_(), self._bias.requires_grad_()]
        features = self._standardise(train.features)
        optimiser = torch.optim.LBFGS(
            parameters,
            max_iter=LOGISTIC_ITERATIONS,
            history_size=20,
            line_search_fn="strong_wolfe",
            tolerance_grad=1e-9,
            tolerance_change=1e-11,
        )

        weight = _total_weight(train)

        def closure() -> Tensor:
            beat()
            optimiser.zero_grad()
            logits = functional.linear(features, self._weights, self._bias)
            loss = _mean_loss(logits, train, weight)
            loss.backward()  # type: ignore[no-untyped-call]
            for parameter in parameters:
                assert parameter.grad is not None
                parameter.grad = sum_over_ranks(parameter.grad)
            with torch.no_grad():
                self._weights.grad.add_(self._weights, alpha=regularisation)  # type: ignore[union-attr]
                return sum_over_ranks(loss.detach()) + 0.5 * regularisation * self._weights.square().sum()

        optimiser.step(closure)  # type: ignore[no-untyped-call]
        self.excess = self._excess(float(closure()), parameters, regularisation)
        if self.excess > CONVERGED:
            log.warning(
                "logistic regression at lambda %g: not converged after %d iterations, %s",
                regularisation,
                LOGISTIC_ITERATIONS,
                _distance(self.excess),
            )
        self._weights.requires_grad_(False)
        self._bias.requires_grad_(False)

    def _excess(self, loss: float, parameters: Sequence[Tensor], regularisation: float) -> float:
        """Return the bound on the loss's relative excess over its optimum (convexity): |gradient|^2 / (2 lambda)."""
        if not regularisation:
            return 0.0
        square = sum(float(one.grad.double().square().sum()) for one in parameters if one.grad is not None)
        return square / (2 * regularisation * max(loss, LEAST_LOSS))


def _distance(excess: float) -> str:
    """Return in words how far an unconverged loss may be above its optimum; a bound above 100 % says nothing."""
    if excess > 1:
        return "its loss may be far above the optimum (no useful bound)"
    return f"its loss may be {100 * excess:.1f} % above the optimum"


def best_regression(
    train: RankShard, validation: RankShard, *, classes: int, candidates: Sequence[float]
) -> tuple[LogisticRegression, float]:
    """Return the regression with the least loss on validation, and its lambda."""
    fitted = [(LogisticRegression(train, classes=classes, regularisation=one), one) for one in candidates]
    return min(fitted, key=lambda pair: pair[0].loss(validation))


def _total_weight(train: RankShard) -> float:
    """Return the sum of all ranks' weights."""
    if train.weights is not None:
        return float(sum_over_ranks(train.weights.double().sum()))
    return float(train.total * (1 if train.targets.dim() == 1 else train.targets.shape[1]))


def _mean_loss(logits: Tensor, train: RankShard, weight: float) -> Tensor:
    """Return this rank's part of the mean loss."""
    if train.weights is None and train.targets.dim() == 1:
        return functional.cross_entropy(logits, train.targets, reduction="sum") / train.total
    loss, _ = elements(logits, train.targets)
    return (loss if train.weights is None else loss * train.weights.to(loss)).sum() / weight


def standardisation(train: RankShard) -> tuple[Tensor, Tensor]:
    """Return the features' mean and 1 / std over all ranks, (F,) float64 each; constant features get scale 0.

    As in scikit-learn's StandardScaler, a feature is constant if it varies no more than rounding makes it vary. The
    limit is relative to the feature's mean, so that features of any scale count.
    """
    chunks = train.features.split(STANDARDISED_CHUNK)  # type: ignore[no-untyped-call]  # of no rows one, empty
    sums = torch.stack([chunk.double().sum(0) for chunk in chunks])
    mean = sum_over_ranks(sums.sum(0)) / train.total
    squares = torch.stack([(chunk.double() - mean).square().sum(0) for chunk in chunks])
    deviation = (sum_over_ranks(squares.sum(0)) / train.total).sqrt()
    rounding = ROUNDING_ERRORS * torch.finfo(train.features.dtype).eps * mean.abs()
    varies = deviation > rounding.clamp_min(LEAST_DEVIATION)
    return mean, torch.where(varies, 1.0 / deviation, torch.zeros_like(deviation))
