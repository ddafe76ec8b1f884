"""Weighted kNN of classes, labels or numbers, and nearest class mean, in feature space, and their metrics."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from trainables.config import TrialConfig
from trainables.data.trial_data import TrialData
from trainables.distributed import gather_rows, sum_over_ranks
from trainables.evaluation.classification import decision_metrics
from trainables.evaluation.features import RankShard, gathered_numbers
from trainables.evaluation.number_metrics import number_metrics
from trainables.evaluation.thresholds import precision_metrics
from trainables.heartbeat import beat
from trainables.memory.constants import KNN_CHUNK
from trainables.metrics import names


@torch.no_grad()
def knn_scores(
    train: RankShard, held_out: RankShard, *, classes: int, neighbours: Sequence[int], temperature: float
) -> dict[int, Tensor]:
    """Return for each k the share of weighted votes (n, K) of each class or label, for this rank's images.

    In regression the result is the neighbours' weighted mean (n, 1), float64.

    Neighbours are searched over all ranks' train images and weighted by exp(cosine / temperature) (Wu et al. 2018).
    Neighbours tied at the k-th distance share the remaining votes, so the order of the train images doesn't matter.

    Args:
        train: Train features (n, F) of this rank.
        held_out: Features to classify of this rank.
        classes: Number K of classes or labels; 1 for numbers.
        neighbours: Values of k.
        temperature: Divisor of the cosine similarities.
    """
    parts: dict[int, list[Tensor]] = {k: [] for k in neighbours}
    most = min(max(neighbours), train.total)
    bank = gather_rows(functional.normalize(train.features, dim=1), train.total)
    bank_targets = gather_rows(train.targets, train.total)
    numbers = bank_targets.is_floating_point()
    hot = bank_targets[:, None] if numbers else _hot(bank_targets, classes)
    queries = functional.normalize(held_out.features, dim=1)
    for start in range(0, len(queries), KNN_CHUNK):
        beat()
        everyone = queries[start : start + KNN_CHUNK] @ bank.T
        cosines, nearest = everyone.topk(min(most + 1, train.total), dim=1)
        # Relative to the nearest (topk sorts), so that at any temperature its vote is 1: nothing overflows or vanishes.
        weights = ((cosines - cosines[:, :1]) / temperature).exp()
        for k, found in parts.items():
            own = weights[:, :k].double() if numbers else weights[:, :k]
            # A product, since scattered sums on a GPU come in any order.
            votes = (own.unsqueeze(1) @ hot[nearest[:, :k]].to(own)).squeeze(1) / own.sum(1, keepdim=True)
            if k < train.total and (tied := cosines[:, k - 1] - cosines[:, k] <= _alike(cosines)).any():
                relative = (everyone[tied] - cosines[tied, :1]) / temperature
                shares = (relative.exp() * _shared_votes(everyone[tied], cosines[tied, k - 1 : k], k)).to(own)
                votes[tied] = shares @ hot.to(shares) / shares.sum(1, keepdim=True)
            found.append(votes)
    nothing = (hot if numbers else train.features).new_zeros(0, classes)
    return {k: torch.cat(found) if found else nothing for k, found in parts.items()}


def _alike(cosines: Tensor) -> float:
    """Return the tolerance within which two cosines count as equal, from rounding errors."""
    return 4.0 * torch.finfo(cosines.dtype).eps


def _shared_votes(cosines: Tensor, farthest: Tensor, neighbours: int) -> Tensor:
    """Return the votes (n, N) of the train images: 1 above the k-th cosine (n, 1), a fraction at it, 0 below."""
    nearer = cosines - farthest > _alike(cosines)
    border = (cosines - farthest).abs() <= _alike(cosines)
    left = neighbours - nearer.sum(1, keepdim=True)
    return nearer.to(cosines) + border.to(cosines) * (left / border.sum(1, keepdim=True)).to(cosines)


def _hot(targets: Tensor, classes: int) -> Tensor:
    """Return (N, classes) bool one-hot of classes (N,), or labels unchanged; one_hot would take 8 bytes per value."""
    return targets if targets.dim() == 2 else targets[:, None] == torch.arange(classes, device=targets.device)


@torch.no_grad()
def nearest_centroids(train: RankShard, held_out: RankShard, *, classes: int) -> Tensor:
    """Return the nearest class mean (n,) for this rank's images, by normalised features.

    Classes without a train image are never returned.
    """
    members = functional.one_hot(train.targets, classes).double()
    sums = sum_over_ranks(members.T @ functional.normalize(train.features, dim=1).double())
    counts = sum_over_ranks(members.sum(0))
    means = sums / counts.clamp_min(1.0)[:, None]
    distances = torch.cdist(functional.normalize(held_out.features, dim=1).double(), means)
    return distances.masked_fill(counts == 0, torch.inf).argmin(1)


def knn_metrics(
    config: TrialConfig, data: TrialData, split: str, bank: RankShard, held_out: RankShard
) -> tuple[dict[str, float], Tensor]:
    """Return kNN's metrics for each k, and the votes for this rank's images.

    The votes are those for k = `knn_neighbours`: the class (n, 1), or with several labels the scores (n, K).
    """
    first, classes = config.knn_neighbours, len(data.classes)
    voted = knn_scores(
        bank,
        held_out,
        classes=classes,
        neighbours=(first, *config.knn_also),
        temperature=config.knn_temperature,
    )
    metrics: dict[str, float] = {}
    for neighbours, scores in voted.items():
        method = names.KNN if neighbours == first else f"knn{neighbours}_"
        if data.several_labels:
            found = precision_metrics(scores, held_out)
        else:
            found = decision_metrics(scores.argmax(1), held_out, classes, data.positive)
        metrics |= names.qualified(split, method, found)
    return metrics, voted[first] if data.several_labels else voted[first].argmax(1)[:, None]


def knn_numbers(
    config: TrialConfig, split: str, bank: RankShard, held_out: RankShard
) -> tuple[dict[str, float], Tensor]:
    """Return kNN's regression metrics for each k, and this rank's predictions (n, 1) for k = `knn_neighbours`."""
    first = config.knn_neighbours
    neighbours, temperature = (first, *config.knn_also), config.knn_temperature
    means = knn_scores(bank, held_out, classes=1, neighbours=neighbours, temperature=temperature)
    metrics: dict[str, float] = {}
    for number, predicted in means.items():
        method = names.KNN if number == first else f"knn{number}_"
        metrics |= names.qualified(split, method, number_metrics(*gathered_numbers(predicted, held_out)))
    return metrics, means[first]


def centroid_metrics(data: TrialData, split: str, bank: RankShard, held_out: RankShard) -> dict[str, float]:
    """Return the metrics of the nearest-class-mean classifier; empty for multi-label data."""
    if data.several_labels:
        return {}
    classes = len(data.classes)
    nearest = nearest_centroids(bank, held_out, classes=classes)
    return names.qualified(split, names.CENTROID, decision_metrics(nearest, held_out, classes, data.positive))
