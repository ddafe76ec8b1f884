"""What frozen features are worth: weighted kNN, nearest class mean, and a logistic regression fitted on them."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from trainables.distributed import gather_rows, sum_over_ranks
from trainables.evaluation.classification import Share
from trainables.evaluation.probe import elements
from trainables.heartbeat import beat

KNN_CHUNK = 512
STANDARDISED_CHUNK = 4096
"""Rows at once, so that features are never in float64 as a whole."""
LOGISTIC_ITERATIONS = 100


@torch.no_grad()
def knn_scores(
    train: Share, held_out: Share, *, classes: int, neighbours: Sequence[int], temperature: float
) -> dict[int, Tensor]:
    """Return, for each k, the (n, K) shares of the weighted votes that each class or label gets, of this rank's images.

    Votes weigh exp(cosine / temperature) (Wu et al. 2018); features (n, F) of this rank, the neighbours over all ranks.
    """
    parts: dict[int, list[Tensor]] = {k: [] for k in neighbours}
    most = min(max(neighbours), train.total)
    bank = gather_rows(functional.normalize(train.features, dim=1), train.total)
    bank_targets = gather_rows(train.targets, train.total)
    hot = _hot(bank_targets, classes)
    queries = functional.normalize(held_out.features, dim=1)
    for start in range(0, len(queries), KNN_CHUNK):
        beat()
        cosines, nearest = (queries[start : start + KNN_CHUNK] @ bank.T).topk(most, dim=1)
        # Relative to the nearest (topk sorts), so that at any temperature its vote is 1: nothing overflows or vanishes.
        weights = ((cosines - cosines[:, :1]) / temperature).exp()
        for k, found in parts.items():
            own = weights[:, :k]
            # A product, since scattered sums on a GPU come in any order.
            found.append((own.unsqueeze(1) @ hot[nearest[:, :k]].to(own)).squeeze(1) / own.sum(1, keepdim=True))
    nothing = train.features.new_zeros(0, classes)
    return {k: torch.cat(found) if found else nothing for k, found in parts.items()}


def _hot(targets: Tensor, classes: int) -> Tensor:
    """Return (N, classes) bool of classes (N,), or labels as they are; a byte each, where one_hot has eight."""
    return targets if targets.dim() == 2 else targets[:, None] == torch.arange(classes, device=targets.device)


@torch.no_grad()
def nearest_centroids(train: Share, held_out: Share, *, classes: int) -> Tensor:
    """Return the class (n,) whose mean of normalised train features is nearest to an image's, of this rank's images.

    Classes without a train image are never nearest.
    """
    members = functional.one_hot(train.targets, classes).double()
    sums = sum_over_ranks(members.T @ functional.normalize(train.features, dim=1).double())
    counts = sum_over_ranks(members.sum(0))
    means = sums / counts.clamp_min(1.0)[:, None]
    distances = torch.cdist(functional.normalize(held_out.features, dim=1).double(), means)
    return distances.masked_fill(counts == 0, torch.inf).argmin(1)


class LogisticRegression:
    """Logistic regression on standardised features, fitted by L-BFGS over all ranks' rows; of labels, one each.

    Minimises mean cross-entropy + lambda / 2 * ||W||^2, the mean weighted where there are weights; the bias is free.
    """

    def __init__(self, train: Share, *, classes: int, regularisation: float) -> None:
        self._mean, self._scale = _standardisation(train)
        width = train.features.shape[1]
        self._weights = torch.zeros(classes, width, device=train.features.device, dtype=train.features.dtype)
        self._bias = torch.zeros(classes, device=train.features.device, dtype=train.features.dtype)
        self._fit(train, regularisation)

    def logits(self, features: Tensor) -> Tensor:
        """Return (n, classes) of (n, F) features."""
        return functional.linear(self._standardise(features), self._weights, self._bias)

    def state_dict(self) -> dict[str, Tensor]:
        """Return weight (classes, F) and bias (classes,) of the linear layer that gives the same of plain features."""
        weight = self._weights * self._scale
        return {"weight": weight, "bias": self._bias - weight @ self._mean}

    def loss(self, share: Share) -> float:
        """Return the mean cross-entropy of all ranks' images, unweighted."""
        even = replace(share, weights=None)
        return float(sum_over_ranks(_mean_loss(self.logits(share.features), even, _total_weight(even))[None]))

    def _standardise(self, features: Tensor) -> Tensor:
        return (features - self._mean).mul_(self._scale)

    def _fit(self, train: Share, regularisation: float) -> None:
        parameters = [self._weights.requires_grad_(), self._bias.requires_grad_()]
        features = self._standardise(train.features)
        optimiser = torch.optim.LBFGS(
            parameters, max_iter=LOGISTIC_ITERATIONS, history_size=20, line_search_fn="strong_wolfe"
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
        self._weights.requires_grad_(False)
        self._bias.requires_grad_(False)


def best_regression(
    train: Share, validation: Share, *, classes: int, candidates: Sequence[float]
) -> tuple[LogisticRegression, float]:
    """Return the regression with the least loss on validation, and its lambda."""
    fitted = [(LogisticRegression(train, classes=classes, regularisation=one), one) for one in candidates]
    return min(fitted, key=lambda pair: pair[0].loss(validation))


def _total_weight(train: Share) -> float:
    """Return the sum of all ranks' weights."""
    if train.weights is not None:
        return float(sum_over_ranks(train.weights.double().sum()))
    return float(train.total * (1 if train.targets.dim() == 1 else train.targets.shape[1]))


def _mean_loss(logits: Tensor, train: Share, weight: float) -> Tensor:
    """Return this rank's part of the mean loss."""
    if train.weights is None and train.targets.dim() == 1:
        return functional.cross_entropy(logits, train.targets, reduction="sum") / train.total
    loss, _ = elements(logits, train.targets)
    return (loss if train.weights is None else loss * train.weights.to(loss)).sum() / weight


def _standardisation(train: Share) -> tuple[Tensor, Tensor]:
    """Return the features' mean and 1 / std over all ranks, (F,) each; constant features get scale 0."""
    chunks = train.features.split(STANDARDISED_CHUNK)  # type: ignore[no-untyped-call]  # of no rows one, empty
    sums = torch.stack([chunk.double().sum(0) for chunk in chunks])
    mean = sum_over_ranks(sums.sum(0)) / train.total
    squares = torch.stack([(chunk.double() - mean).square().sum(0) for chunk in chunks])
    variance = sum_over_ranks(squares.sum(0)) / train.total
    scale = torch.where(variance > 1e-12, variance.clamp_min(1e-12).rsqrt(), torch.zeros_like(variance))
    return mean.to(train.features), scale.to(train.features)
