"""Quality without labels: effective rank, alignment and uniformity by closed forms and slow oracles; the alarm."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from trainables.config import TrialConfig
from trainables.data.store import ImageStore
from trainables.evaluation.eigenspectrum import alpha_req
from trainables.evaluation.representation import (
    alignment,
    effective_rank,
    has_collapsed,
    label_free_metrics,
    uniformity,
)
from trainables.storage.filesystem import Storage
from trainables.storage.trial_files import TrialFiles
from trainables.training.trial import TrialTrainer


def rows(seed: int, count: int, width: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(count, width)))


@pytest.mark.parametrize(("count", "width"), [(40, 7), (7, 40), (12, 12)])
def test_effective_rank_is_exp_of_the_entropy_of_the_singular_values(count: int, width: int) -> None:
    matrix = rows(0, count, width) * torch.logspace(0, -3, width, dtype=torch.float64)
    singular = np.linalg.svd(matrix.numpy(), compute_uv=False)
    shares = singular / singular.sum()
    assert effective_rank(matrix) == pytest.approx(math.exp(-(shares * np.log(shares)).sum()), rel=1e-6)


@pytest.mark.parametrize("rank", [1, 3, 8])
def test_effective_rank_of_equal_directions_is_their_number(rank: int) -> None:
    turn = torch.linalg.qr(rows(1, 20, 20)).Q[:, :rank]
    spread = torch.linalg.qr(rows(2, 50, 50)).Q[:, :rank]
    matrix = 7.0 * spread @ turn.T
    assert effective_rank(matrix) == pytest.approx(rank, rel=1e-5)
    assert effective_rank(matrix.float()) == pytest.approx(rank, rel=1e-2)


def test_effective_rank_of_nothing_and_of_not_a_number() -> None:
    assert effective_rank(torch.zeros(4, 3)) == 1.0
    assert math.isnan(effective_rank(torch.full((4, 3), torch.nan)))


def test_alignment_is_the_mean_squared_distance_on_the_sphere() -> None:
    a, b = rows(0, 9, 5), rows(1, 9, 5)
    distances = [
        sum((x / np.linalg.norm(p) - y / np.linalg.norm(q)) ** 2 for x, y in zip(p, q, strict=True))
        for p, q in zip(a.numpy(), b.numpy(), strict=True)
    ]
    assert alignment(a, b) == pytest.approx(np.mean(distances), rel=1e-12)
    assert alignment(a, 5.0 * a) == pytest.approx(0.0, abs=1e-12)
    assert alignment(a, -a) == pytest.approx(4.0)


def test_uniformity_is_over_distinct_pairs() -> None:
    a = rows(0, 9, 5).numpy()
    unit = a / np.linalg.norm(a, axis=1, keepdims=True)
    pairs = [math.exp(-2 * ((unit[i] - unit[j]) ** 2).sum()) for i in range(9) for j in range(i)]
    assert uniformity(torch.from_numpy(a)) == pytest.approx(math.log(np.mean(pairs)), rel=1e-9)
    assert uniformity(torch.ones(6, 4)) == pytest.approx(0.0, abs=1e-12)
    # Corners of a cross: orthogonal pairs are sqrt(2) apart, opposite ones 2.
    cross = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
    assert uniformity(cross) == pytest.approx(math.log((4 * math.exp(-4) + 2 * math.exp(-8)) / 6))


def test_alarm_sees_one_point_a_line_and_a_plane_and_leaves_others_alone() -> None:
    line = rows(0, 60, 1) @ rows(1, 1, 16)
    assert has_collapsed(torch.ones(60, 16))
    assert has_collapsed(torch.zeros(60, 16))
    assert has_collapsed(line + 5.0)
    assert has_collapsed(rows(4, 60, 2) @ rows(5, 2, 16))
    assert not has_collapsed(rows(4, 60, 3))  # a projector of three outputs can't have more
    assert has_collapsed(torch.ones(60, 16) + 1e-7 * rows(2, 60, 16))  # rounding looks like full rank
    assert has_collapsed(torch.full((60, 16), torch.nan))
    assert not has_collapsed(rows(3, 60, 16))
    assert not has_collapsed(20.0 + rows(3, 60, 16))  # the same vector added to all is no collapse


def test_metrics_name_what_they_measure() -> None:
    features, a, b = rows(0, 30, 8), rows(1, 30, 4), rows(2, 30, 4)
    assert label_free_metrics(features, (a, b)) == {
        "feature_rank": effective_rank(features),
        "alpha_req": alpha_req(features),
        "alpha_req_gap": abs(alpha_req(features) - 1),
        "embedding_rank": effective_rank(a),
        "alignment": alignment(a, b),
        "uniformity": uniformity(a),
        "collapsed": 0.0,
    }


@pytest.mark.parametrize("collapsed", [False, True])
def test_a_trial_logs_them_at_each_epoch_with_the_alarm(collapsed: bool, store: ImageStore, tmp_path: Path) -> None:
    """The last batch norm left with one gain that isn't 0 puts all embeddings on one line."""
    config = TrialConfig(
        dataset="digits",
        image_size=16,
        encoder="resnet10",
        width_factor=1 / 8,
        batch_size=50,
        epochs=2,
        warmup_epochs=0,
        max_train_images=150,
        max_test_images=100,
        validation_fraction=0.2,
        base_learning_rate=1e-3,
    )
    trial = TrialTrainer(config, store=store, files=TrialFiles(Storage.at(tmp_path)), device=torch.device("cpu"))
    if collapsed:
        with torch.no_grad():
            trial.model.projector[-1].weight[1:] = 0.0
    for epoch in (1, 2):
        metrics = trial.run_epoch(epoch).metrics
        assert {"val/feature_rank", "val/embedding_rank", "val/alignment", "val/uniformity"} <= set(metrics)
        assert metrics["val/collapsed"] == collapsed


@pytest.mark.parametrize("count", range(1, 8))
def test_few_images_are_no_collapse_unless_they_are_alike(count: int) -> None:
    assert not has_collapsed(rows(7, count, 16))
    assert has_collapsed(torch.ones(count, 16)) == (count > 1)
    assert math.isnan(uniformity(rows(7, count, 16))) == (count == 1)
    assert uniformity(rows(7, count, 16)) != -math.inf
