"""What frozen features are worth: weighted kNN, and a logistic regression fitted after pretraining."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

from trainables.distributed import gather_rows, sum_over_ranks
from trainables.evaluation import Share
from trainables.probe import elements
from trainables.pulse import beat

KNN_CHUNK = 512
LOGISTIC_ITERATIONS = 100


@torch.no_grad()
def knn_predictions(train: Share, held_out: Share, *, classes: int, neighbours: int, temperature: float) -> Tensor:
    """Return the class (n,) that the k nearest train features vote for, of this rank's held-out images.

    Votes weigh exp(cosine / temperature) (Wu et al. 2018); features (n, F) of this rank, the neighbours over all ranks.
    """
    parts = [votes.argmax(1) for votes, _ in _shares(train, held_out, classes, neighbours, temperature)]
    return torch.cat(parts) if parts else held_out.targets[:0]


def share_right(predicted: Tensor, held_out: Share) -> float:
    """Return for which share of all ranks' images this rank's predictions (n,) are their class."""
    right = (predicted == held_out.targets).sum().to(torch.float64)
    return float(sum_over_ranks(right[None])) / held_out.total


@torch.no_grad()
def knn_scores(train: Share, held_out: Share, *, classes: int, neighbours: int, temperature: float) -> Tensor:
    """Return this rank's (n, K) scores in [0, 1]: the share of the weighted votes that each label gets."""
    parts = [votes / total for votes, total in _shares(train, held_out, classes, neighbours, temperature)]
    return torch.cat(parts) if parts else train.features.new_zeros(0, classes)


def _shares(
    train: Share, held_out: Share, classes: int, neighbours: int, temperature: float
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the votes (n, K) of the nearest and their sum (n, 1), for some held-out images at a time."""
    bank = gather_rows(functional.normalize(train.features, dim=1), train.total)
    bank_targets = gather_rows(train.targets, train.total)
    queries = functional.normalize(held_out.features, dim=1)
    for start in range(0, len(queries), KNN_CHUNK):
        beat()
        cosines, nearest = (queries[start : start + KNN_CHUNK] @ bank.T).topk(min(neighbours, len(bank)), dim=1)
        # Relative to the nearest (topk sorts), so that at any temperature its vote is 1: nothing overflows or vanishes.
        weights = ((cosines - cosines[:, :1]) / temperature).exp()
        targets = bank_targets[nearest]
        hot = functional.one_hot(targets, classes) if targets.dim() == 2 else targets
        # A product, since scattered sums on a GPU come in any order.
        yield (weights.unsqueeze(1) @ hot.to(weights)).squeeze(1), weights.sum(1, keepdim=True)


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

    def _standardise(self, features: Tensor) -> Tensor:
        return (features - self._mean) * self._scale

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
    wide = train.features.double()
    mean = sum_over_ranks(wide.sum(0)) / train.total
    variance = sum_over_ranks((wide - mean).square().sum(0)) / train.total
    scale = torch.where(variance > 1e-12, variance.clamp_min(1e-12).rsqrt(), torch.zeros_like(variance))
    return mean.to(train.features), scale.to(train.features)
