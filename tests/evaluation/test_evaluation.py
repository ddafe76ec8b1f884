"""Metrics against scikit-learn and torchmetrics, kNN against a slow oracle."""

import math
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn import metrics as sk
from sklearn.neighbors import NearestCentroid
from sklearn.preprocessing import normalize
from support.feature_clusters import clusters, shard, softmax
from torchmetrics.functional import classification as tm

from trainables.evaluation.classification import binary_metrics, classification_metrics
from trainables.evaluation.curves import average_precision, roc_area
from trainables.evaluation.features import RankShard
from trainables.evaluation.knn import knn_scores, nearest_centroids

BINARY = {"sensitivity", "specificity", "accuracy", "balanced_accuracy", "roc_auc", "pr_auc"}


def outputs(seed: int, *, count: int, classes: int, present: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return logits that lean towards the truth, and targets of the first `present` classes."""
    random = np.random.default_rng(seed)
    targets = random.integers(0, present, count)
    logits = random.normal(size=(count, classes))
    logits[np.arange(count), targets] += random.uniform(0, 3)
    return logits, targets


def tied_outputs(seed: int, *, count: int, classes: int, present: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return outputs in which every row of logits serves about four images, and a third of the rows has two maxima."""
    logits, _ = outputs(seed, count=count // 4, classes=classes, present=present)
    random = np.random.default_rng(seed)
    for row in logits[::3]:
        row[random.permutation(classes)[:2]] = row.max() + 1.0
    return logits[random.integers(0, len(logits), count)], random.integers(0, present, count)


def by_scikit_learn(logits: NDArray[Any], targets: NDArray[Any], positive: NDArray[np.bool_]) -> dict[str, float]:
    said, truth = positive[logits.argmax(1)], positive[targets]
    scores = softmax(logits)[:, positive].sum(1)
    expected = {
        "loss": sk.log_loss(targets, softmax(logits), labels=range(logits.shape[1])),
        "top1": sk.accuracy_score(targets, logits.argmax(1)),
        "sensitivity": sk.recall_score(truth, said),
        "specificity": sk.recall_score(truth, said, pos_label=False),
        "accuracy": sk.accuracy_score(truth, said),
        "balanced_accuracy": sk.balanced_accuracy_score(truth, said),
        "roc_auc": sk.roc_auc_score(truth, scores),
        "pr_auc": sk.average_precision_score(truth, scores),
    }
    if logits.shape[1] > 5:
        expected["top5"] = sk.top_k_accuracy_score(targets, logits, k=5, labels=range(logits.shape[1]))
    return expected


def by_torchmetrics(logits: NDArray[Any], targets: NDArray[Any], positive: NDArray[np.bool_]) -> dict[str, float]:
    outputs, labels, count = torch.from_numpy(logits), torch.from_numpy(targets), logits.shape[1]
    said, truth = torch.from_numpy(positive[logits.argmax(1)]).long(), torch.from_numpy(positive[targets]).long()
    # A sum a bit above 1 would be taken for a logit.
    scores = torch.from_numpy(softmax(logits)[:, positive].sum(1).clip(0.0, 1.0))
    expected = {
        "top1": tm.multiclass_accuracy(outputs, labels, count, average="micro"),
        "sensitivity": tm.binary_recall(said, truth),
        "specificity": tm.binary_specificity(said, truth),
        "accuracy": tm.binary_accuracy(said, truth),
        "balanced_accuracy": tm.multiclass_accuracy(said, truth, 2, average="macro"),
        "roc_auc": tm.binary_auroc(scores, truth),
        "pr_auc": tm.binary_average_precision(scores, truth),
    }
    if count > 5:
        expected["top5"] = tm.multiclass_accuracy(outputs, labels, count, average="micro", top_k=5)
    return {name: value.item() for name, value in expected.items()}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("classes", "present"), [(2, 2), (5, 5), (10, 10), (10, 4), (43, 30)])
@pytest.mark.parametrize("drawn", [outputs, tied_outputs])
@pytest.mark.parametrize(("library", "tolerance"), [(by_scikit_learn, 1e-9), (by_torchmetrics, 1e-6)])
def test_metrics_are_the_libraries(
    seed: int, classes: int, present: int, drawn: Callable[..., Any], library: Callable[..., Any], tolerance: float
) -> None:
    """Of equal largest logits all take the first; images of one score enter the curves together.

    torchmetrics computes in float32.
    """
    logits, targets = drawn(seed, count=157, classes=classes, present=present)
    positive = np.zeros(classes, dtype=bool)
    positive[[1, classes - 1]] = True
    found = classification_metrics(torch.from_numpy(logits), shard(logits, targets), torch.from_numpy(positive))
    expected = library(logits, targets, positive)
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=tolerance)


@pytest.mark.parametrize("seed", range(20))
def test_areas_under_curves_are_scikit_learns_to_the_last_digits(seed: int) -> None:
    random = np.random.default_rng(seed)
    truth = random.random(1000) < random.uniform(0.01, 0.99)
    truth[:2] = False, True
    scores = np.round(random.normal(size=1000) + truth, 1 + seed % 3)  # many ties, or few
    assert roc_area(scores, truth) == pytest.approx(sk.roc_auc_score(truth, scores), rel=1e-13)
    assert average_precision(scores, truth) == pytest.approx(sk.average_precision_score(truth, scores), rel=1e-13)
    scores[random.integers(1000)] = np.nan
    for area in (roc_area, average_precision):
        with pytest.raises(ValueError, match="not a number"):
            area(scores, truth)


def test_top5_takes_the_first_classes_of_a_tie_as_top1_does() -> None:
    """Conventions differ: scikit-learn takes the last classes of a tie, torch and torchmetrics whichever come up."""
    random = np.random.default_rng(0)
    logits, targets = random.integers(0, 3, (400, 12)).astype(float), random.integers(0, 12, 400)
    found = classification_metrics(torch.from_numpy(logits), shard(logits, targets), None)
    assert found["top5"] == sk.top_k_accuracy_score(11 - targets, logits[:, ::-1], k=5, labels=range(12))
    equal = torch.zeros(20, 10)
    for label in (0, 4, 5, 9):
        tied = classification_metrics(equal, shard(equal.numpy(), np.full(20, label)), None)
        assert (tied["top1"], tied["top5"]) == (float(label == 0), float(label < 5))


def test_metrics_do_not_depend_on_the_order_of_images() -> None:
    logits, targets = outputs(0, count=80, classes=7, present=7)
    positive = torch.arange(7) < 3
    order = np.random.default_rng(1).permutation(80)
    found = classification_metrics(torch.from_numpy(logits[order]), shard(logits, targets[order]), positive)
    assert found == pytest.approx(classification_metrics(torch.from_numpy(logits), shard(logits, targets), positive))


def test_which_metrics_there_are_follows_classes_and_rule() -> None:
    for classes, positive, names in (
        (5, None, {"loss", "top1"}),
        (6, None, {"loss", "top1", "top5"}),
        (2, torch.tensor([False, True]), {"loss", "top1"} | BINARY),
    ):
        logits, targets = outputs(0, count=20, classes=classes, present=2)
        assert set(classification_metrics(torch.from_numpy(logits), shard(logits, targets), positive)) == names


@pytest.mark.parametrize("side", [0, 1])
def test_one_sided_truth_leaves_the_other_side_undefined(side: int) -> None:
    logits, _ = outputs(0, count=30, classes=6, present=6)
    targets = np.full(30, 5 * side)
    positive = torch.tensor([False, False, False, True, True, True])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = classification_metrics(torch.from_numpy(logits), shard(logits, targets), positive)
    undefined = {"balanced_accuracy", "roc_auc", "pr_auc", "specificity" if side else "sensitivity"}
    assert {name for name, value in found.items() if math.isnan(value)} == undefined


def test_no_images_leave_everything_undefined() -> None:
    none = RankShard(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64), 0)
    found = classification_metrics(torch.zeros(0, 6), none, torch.arange(6) > 2)
    assert all(math.isnan(value) for value in found.values())


def test_binary_metrics_by_hand_and_with_an_empty_side() -> None:
    found = binary_metrics(torch.tensor([[80.0, 20.0], [6.0, 4.0]]))
    expected = {"sensitivity": 0.4, "specificity": 0.8, "accuracy": 84 / 110, "balanced_accuracy": 0.6}
    assert found == pytest.approx(expected)
    no_positives = binary_metrics(torch.tensor([[3.0, 1.0], [0.0, 0.0]]))
    assert math.isnan(no_positives["sensitivity"])
    assert math.isnan(no_positives["balanced_accuracy"])
    assert (no_positives["specificity"], no_positives["accuracy"]) == (0.75, 0.75)
    no_negatives = binary_metrics(torch.tensor([[0.0, 0.0], [1.0, 3.0]]))
    assert math.isnan(no_negatives["specificity"])
    assert no_negatives["sensitivity"] == 0.75


def slow_knn(train: RankShard, held_out: RankShard, *, classes: int, neighbours: int, temperature: float) -> float:
    """Return the share of right votes, neighbour by neighbour."""
    right = 0
    for query, target in zip(held_out.features, held_out.targets.tolist(), strict=True):
        cosines = [float(query @ other / query.norm() / other.norm()) for other in train.features]
        nearest = sorted(range(len(cosines)), key=lambda index: -cosines[index])[:neighbours]
        votes = [0.0] * classes
        for index in nearest:
            # Relative to the nearest: only the votes' ratios count.
            votes[int(train.targets[index])] += math.exp((cosines[index] - cosines[nearest[0]]) / temperature)
        right += votes.index(max(votes)) == target
    return right / len(held_out.targets)


def share_right_by_votes(
    train: RankShard, held_out: RankShard, *, classes: int, neighbours: int, temperature: float
) -> float:
    votes = knn_scores(train, held_out, classes=classes, neighbours=(neighbours,), temperature=temperature)[neighbours]
    return float((votes.argmax(1) == held_out.targets).double().mean())


@pytest.mark.parametrize(("neighbours", "temperature"), [(1, 0.07), (5, 0.07), (20, 0.07), (20, 1.0), (500, 0.5)])
def test_knn_equals_the_slow_oracle(neighbours: int, temperature: float) -> None:
    train, held_out = clusters(0, 90), clusters(1, 60)
    options: dict[str, Any] = {"classes": 4, "neighbours": neighbours, "temperature": temperature}
    expected = slow_knn(train, held_out, **options)
    assert 0.3 < expected < 1.0
    assert share_right_by_votes(train, held_out, **options) == pytest.approx(expected)
    scaled = RankShard(held_out.features * 7.0, held_out.targets, held_out.total)
    assert share_right_by_votes(train, scaled, **options) == pytest.approx(expected)


def test_knn_finds_the_images_themselves() -> None:
    train = clusters(0, 50)
    assert share_right_by_votes(train, train, classes=4, neighbours=1, temperature=0.07) == 1.0


def test_knn_at_a_small_temperature_still_votes() -> None:
    """Votes count relative to the nearest neighbour, whose own weight must not vanish."""
    train, held_out = clusters(0, 90), clusters(1, 60)
    small = [RankShard(part.features.float(), part.targets, part.total) for part in (train, held_out)]
    options: dict[str, Any] = {"classes": 4, "neighbours": 20, "temperature": 0.0005}
    assert share_right_by_votes(small[0], small[1], **options) == pytest.approx(slow_knn(train, held_out, **options))


def test_several_k_are_what_each_gives_alone() -> None:
    train, held_out = clusters(0, 90), clusters(1, 60)
    together = knn_scores(train, held_out, classes=4, neighbours=(20, 3, 500), temperature=0.07)
    for neighbours, scores in together.items():
        alone = knn_scores(train, held_out, classes=4, neighbours=(neighbours,), temperature=0.07)[neighbours]
        torch.testing.assert_close(scores, alone)
        torch.testing.assert_close(scores.sum(1), torch.ones(60, dtype=torch.float64))
    assert not torch.allclose(together[3], together[20])


def test_the_nearest_mean_equals_sklearns() -> None:
    train, held_out = clusters(0, 90, spread=1.5), clusters(1, 60, spread=1.5)
    unit = [normalize(part.features.numpy()) for part in (train, held_out)]
    expected = NearestCentroid().fit(unit[0], train.targets.numpy()).predict(unit[1])
    found = nearest_centroids(train, held_out, classes=6).numpy()  # two classes have no train image
    np.testing.assert_array_equal(found, expected)
    assert 0.3 < (found == held_out.targets.numpy()).mean() < 1.0


def test_neighbours_as_near_as_the_kth_share_its_votes_in_any_order_of_the_bank() -> None:
    """Of an encoder that collapsed all are equally near: then every class has its share of the bank."""
    alike = torch.ones(40, 3, dtype=torch.float64) + 1e-17
    near = torch.tensor([[1.0, 1.0, 0.9]] * 2, dtype=torch.float64)
    features = torch.cat([alike, near])
    targets = torch.cat([torch.arange(40) % 4 // 3, torch.tensor([1, 1])])  # a quarter of those alike are of class 1
    query = RankShard(torch.ones(1, 3, dtype=torch.float64), torch.zeros(1, dtype=torch.int64), 1)
    for seed in range(4):
        order = torch.randperm(42, generator=torch.Generator().manual_seed(seed))
        bank = RankShard(features[order].float(), targets[order], 42)
        votes = knn_scores(
            bank, replace(query, features=query.features.float()), classes=2, neighbours=(5,), temperature=0.07
        )
        torch.testing.assert_close(votes[5], torch.tensor([[0.75, 0.25]]))
    exact = knn_scores(RankShard(features, targets, 42), query, classes=2, neighbours=(42, 3), temperature=0.07)
    torch.testing.assert_close(exact[3], torch.tensor([[0.75, 0.25]], dtype=torch.float64))


def test_areas_rank_where_probabilities_are_all_one() -> None:
    gaps = torch.tensor([50.0, 60.0, 70.0, 80.0])
    logits = torch.stack([torch.zeros(4), gaps], dim=1)
    shard = RankShard(logits, torch.tensor([0, 0, 1, 1]), 4)
    found = classification_metrics(logits, shard, torch.tensor([False, True]))
    assert found["roc_auc"] == found["pr_auc"] == 1.0
