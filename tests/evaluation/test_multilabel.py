"""Several labels an image: metrics against scikit-learn, thresholds, regression, neighbours, and a whole trial."""

from pathlib import Path

import numpy as np
import pytest
import sklearn.metrics as sk
import torch
from numpy.typing import NDArray
from support.small_trials import LABELS, MULTI, changed, files_in, final_metrics
from torch.nn import functional

from trainables.data.store import ImageStore
from trainables.evaluation.features import RankShard
from trainables.evaluation.knn import knn_scores
from trainables.evaluation.logistic_regression import LogisticRegression
from trainables.evaluation.multilabel import (
    average_precisions,
    best_thresholds,
    f1_scores,
    mean_of_known,
    micro_average_precision,
)
from trainables.metrics.names import label_part

Floats = NDArray[np.float64]


def scored(count: int = 80, labels: int = 6, seed: int = 0) -> tuple[Floats, NDArray[np.bool_]]:
    """Return scores with many ties, and truths of which the last label has none."""
    random = np.random.default_rng(seed)
    truth = random.random((count, labels)) < np.linspace(0.05, 0.6, labels)
    truth[:, -1] = False
    scores = np.round(np.clip(random.random((count, labels)) + 0.3 * truth, 0, 1), 1)
    return scores, truth


def test_metrics_of_several_labels_agree_with_scikit_learn() -> None:
    scores, truth = scored()
    known = truth.any(axis=0)
    each = average_precisions(scores, truth)
    assert np.isnan(each[~known]).all()
    expected = sk.average_precision_score(truth[:, known], scores[:, known], average="macro")
    assert mean_of_known(each) == pytest.approx(expected, abs=1e-12)
    assert micro_average_precision(scores, truth) == pytest.approx(
        sk.average_precision_score(truth, scores, average="micro"), abs=1e-12
    )
    thresholds = np.linspace(0.3, 0.8, truth.shape[1])
    f1, micro = f1_scores(scores, truth, thresholds)
    called = scores >= thresholds
    assert mean_of_known(f1) == pytest.approx(sk.f1_score(truth[:, known], called[:, known], average="macro"))
    assert micro == pytest.approx(sk.f1_score(truth, called, average="micro"))


def test_thresholds_of_best_f1_by_trying_all() -> None:
    scores, truth = scored(seed=1)
    for label, threshold in enumerate(best_thresholds(scores, truth)):
        own = truth[:, label]
        if not own.any():
            assert threshold == 0.5
            continue
        tried = {value: sk.f1_score(own, scores[:, label] >= value) for value in np.unique(scores[:, label])}
        assert tried[threshold] == pytest.approx(max(tried.values()))


def test_the_regression_of_labels_is_one_of_each() -> None:
    random = np.random.default_rng(2)
    features = torch.from_numpy(random.normal(size=(60, 5)))
    truth = torch.from_numpy(random.random((60, 3)) < 0.4)
    together = LogisticRegression(RankShard(features, truth, 60), classes=3, regularisation=0.03).logits(features)
    for label in range(3):
        # Two classes of opposite weights: the penalty counts twice, and each label's mean is a third of the loss.
        alone = LogisticRegression(RankShard(features, truth[:, label].long(), 60), classes=2, regularisation=0.18)
        logits = alone.logits(features)
        torch.testing.assert_close(together[:, label], logits[:, 1] - logits[:, 0], rtol=1e-3, atol=1e-3)


def test_neighbours_vote_for_each_label() -> None:
    random = np.random.default_rng(3)
    bank = RankShard(torch.from_numpy(random.normal(size=(30, 4))), torch.from_numpy(random.random((30, 3)) < 0.5), 30)
    held_out = RankShard(torch.from_numpy(random.normal(size=(7, 4))), torch.zeros(7, 3, dtype=torch.bool), 7)
    scores = knn_scores(bank, held_out, classes=3, neighbours=(5,), temperature=0.1)[5]
    for row in range(7):
        cosine = functional.cosine_similarity(held_out.features[row], bank.features)
        nearest = cosine.argsort(descending=True)[:5]
        weights = (cosine[nearest] / 0.1).exp()
        expected = (weights[:, None] * bank.targets[nearest]).sum(0) / weights.sum()
        torch.testing.assert_close(scores[row], expected)


def test_a_trial_of_several_labels_says_where_its_thresholds_come_from(patches: ImageStore, tmp_path: Path) -> None:
    metrics = final_metrics(changed(**MULTI), tmp_path / "a", store=patches)
    for method in ("", "linear_"):
        for name in ("average_precision_macro", "average_precision_micro", "labels_evaluated"):
            assert f"test/{method}{name}" in metrics
        assert f"test/{method}f1_macro_at_val_thresholds" in metrics
    assert "test/knn_average_precision_macro" in metrics
    assert metrics["test/labels_evaluated"] == 3
    assert 0.0 <= metrics["test/linear_average_precision/sea_and_ocean"] <= 1.0
    assert "test/linear_f1_at_val_thresholds/mixed_forest" in metrics
    assert not [name for name in metrics if "top1" in name or "half" in name]
    outputs = files_in(tmp_path / "a").outputs("test")
    assert outputs is not None
    names = patches.info.class_names
    expected = {name: sorted(LABELS[int(name.split("_")[-2]) % 4]) for name in outputs["name"].to_pylist()}
    for name, labels in zip(outputs["name"].to_pylist(), outputs["label"].to_pylist(), strict=True):
        assert sorted(names[label] for label in labels) == expected[name]
    without = changed(**{**MULTI, "validation_fraction": 0.0})
    assert "test/linear_f1_micro_at_half" in final_metrics(without, tmp_path / "b", store=patches)


def test_labels_as_parts_of_metric_names() -> None:
    long = "Land principally occupied by agriculture, with"
    assert label_part(long) == "land_principally_occupied_by_agriculture_with"
    assert label_part("Transitional woodland/shrub") == "transitional_woodland_shrub"
