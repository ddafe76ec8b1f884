"""Metrics of a split by its neighbours in feature space: the votes of kNN, and the nearest class mean."""

from torch import Tensor

from trainables import metric_names as names
from trainables.config import SimCLRConfig
from trainables.data.trial_data import TrialData
from trainables.evaluation.classification import decision_metrics
from trainables.evaluation.features import RankShard
from trainables.evaluation.knn import knn_scores, nearest_centroids
from trainables.evaluation.thresholds import precision_metrics


def knn_metrics(
    config: SimCLRConfig, data: TrialData, split: str, bank: RankShard, held_out: RankShard
) -> tuple[dict[str, float], Tensor]:
    """Return the metrics of the neighbours' votes, for each k, and the votes for this rank's images.

    The votes are those of `knn_neighbours`: the class (n, 1), or of several labels the scores (n, K).
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


def centroid_metrics(data: TrialData, split: str, bank: RankShard, held_out: RankShard) -> dict[str, float]:
    """Return the metrics of the nearest class mean; nothing of several labels."""
    if data.several_labels:
        return {}
    classes = len(data.classes)
    nearest = nearest_centroids(bank, held_out, classes=classes)
    return names.qualified(split, names.CENTROID, decision_metrics(nearest, held_out, classes, data.positive))
