"""Ridge regression of a number on frozen features, in closed form over all ranks' rows."""

from collections.abc import Sequence

import torch
from torch import Tensor

from trainables.distributed import sum_over_ranks
from trainables.evaluation.features import RankShard
from trainables.evaluation.logistic_regression import standardisation
from trainables.memory.constants import STANDARDISED_CHUNK


class RidgeRegression:
    """Ridge regression on standardised features, in closed form over all ranks' rows.

    Minimises mean squared error + lambda * ||w||^2; the bias is not penalised. In float64 the result equals
    scikit-learn's Ridge on the same features with alpha = lambda * images.
    """

    def __init__(self, train: RankShard, *, regularisation: float) -> None:
        self._mean, self._scale = standardisation(train)
        targets = train.targets.double()
        self._bias = sum_over_ranks(targets.sum()) / train.total
        products, moments = self._sums(train.features, targets - self._bias)
        gram = sum_over_ranks(products) / train.total
        gram.diagonal().add_(regularisation)
        moments = sum_over_ranks(moments) / train.total
        self._weights = torch.linalg.solve(gram, moments)

    def predict(self, features: Tensor) -> Tensor:
        """Return the predicted numbers (n, 1), float64, from features (n, F)."""
        parts = [self._standardise(chunk) @ self._weights + self._bias for chunk in _chunks(features)]
        return torch.cat(parts)[:, None]

    def loss(self, shard: RankShard) -> float:
        """Return the mean squared error over all ranks' images."""
        errors = (self.predict(shard.features)[:, 0] - shard.targets).square().sum()
        return float(sum_over_ranks(errors)) / max(shard.total, 1)

    def state_dict(self) -> dict[str, Tensor]:
        """Return weight (1, F) and bias (1,), float64, of the equivalent linear layer on unstandardised features."""
        weight = (self._weights * self._scale)[None]
        return {"weight": weight, "bias": self._bias[None] - weight @ self._mean}

    def _sums(self, features: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the products of standardised features (F, F) and with centred targets (F,), of this rank's rows.

        Chunk by chunk, so that the features are never all in float64.
        """
        width = features.shape[1]
        products, moments = targets.new_zeros(width, width), targets.new_zeros(width)
        for chunk, own in zip(_chunks(features), _chunks(targets), strict=True):
            standardised = self._standardise(chunk)
            products.addmm_(standardised.T, standardised)
            moments.addmv_(standardised.T, own)
        return products, moments

    def _standardise(self, features: Tensor) -> Tensor:
        standardised: Tensor = (features.double() - self._mean) * self._scale
        return standardised


def _chunks(rows: Tensor) -> Sequence[Tensor]:
    return rows.split(STANDARDISED_CHUNK)  # type: ignore[no-any-return, no-untyped-call]  # of no rows one, empty


def best_ridge(
    train: RankShard, validation: RankShard, *, candidates: Sequence[float]
) -> tuple[RidgeRegression, float]:
    """Return the regression with the least error on validation, and its lambda."""
    fitted = [(RidgeRegression(train, regularisation=one), one) for one in candidates]
    return min(fitted, key=lambda pair: pair[0].loss(validation))
