"""Ridge regression of a number on frozen features, in closed form over all ranks' rows."""

from collections.abc import Sequence

import torch
from torch import Tensor

from trainables.distributed import sum_over_ranks
from trainables.evaluation.features import RankShard
from trainables.evaluation.logistic_regression import standardisation


class RidgeRegression:
    """Ridge regression on standardised features, in closed form over all ranks' rows.

    Minimises mean squared error + lambda * ||w||^2, the bias free: scikit-learn's Ridge on the same features with
    alpha = lambda * images. In float64.
    """

    def __init__(self, train: RankShard, *, regularisation: float) -> None:
        mean, scale = standardisation(train)
        self._mean, self._scale = mean.double(), scale.double()
        targets = train.targets.double()
        self._bias = sum_over_ranks(targets.sum()) / train.total
        features = self._standardise(train.features)
        gram = sum_over_ranks(features.T @ features) / train.total
        gram.diagonal().add_(regularisation)
        moments = sum_over_ranks(features.T @ (targets - self._bias)) / train.total
        self._weights = torch.linalg.solve(gram, moments)

    def predict(self, features: Tensor) -> Tensor:
        """Return (n, 1) numbers of (n, F) features, float64."""
        predicted: Tensor = self._standardise(features) @ self._weights + self._bias
        return predicted[:, None]

    def loss(self, shard: RankShard) -> float:
        """Return the mean squared error over all ranks' images."""
        errors = (self.predict(shard.features)[:, 0] - shard.targets).square().sum()
        return float(sum_over_ranks(errors)) / max(shard.total, 1)

    def state_dict(self) -> dict[str, Tensor]:
        """Return weight (1, F) and bias (1,) of the linear layer that gives the same of plain features, in float64."""
        weight = (self._weights * self._scale)[None]
        return {"weight": weight.float(), "bias": self._bias[None] - weight @ self._mean}

    def _standardise(self, features: Tensor) -> Tensor:
        standardised: Tensor = (features.double() - self._mean) * self._scale
        return standardised


def best_ridge(
    train: RankShard, validation: RankShard, *, candidates: Sequence[float]
) -> tuple[RidgeRegression, float]:
    """Return the regression with the least error on validation, and its lambda."""
    fitted = [(RidgeRegression(train, regularisation=one), one) for one in candidates]
    return min(fitted, key=lambda pair: pair[0].loss(validation))
