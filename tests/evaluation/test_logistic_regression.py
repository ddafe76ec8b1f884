"""Logistic regression against scikit-learn and its optimum: penalty, scale of features, convergence."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn import linear_model
from sklearn.metrics import log_loss
from support.feature_clusters import clusters, softmax
from torch import Tensor
from torch.nn import functional

from trainables.evaluation import logistic_regression
from trainables.evaluation.features import RankShard
from trainables.evaluation.logistic_regression import LogisticRegression, best_regression


def test_validation_chooses_the_regularisation_of_least_loss() -> None:
    train, validation = clusters(0, 40, spread=3.0, width=20), clusters(1, 200, spread=3.0, width=20)
    candidates = (1e-6, 1e-2, 1e-1, 1e2)
    losses = [
        log_loss(
            validation.targets.numpy(),
            LogisticRegression(train, classes=4, regularisation=one).logits(validation.features).softmax(1).numpy(),
            labels=range(4),
        )
        for one in candidates
    ]
    model, chosen = best_regression(train, validation, classes=4, candidates=candidates)
    assert chosen == candidates[int(np.argmin(losses))] == 1e-1
    assert model.loss(validation) == pytest.approx(min(losses))


def moments(train: RankShard) -> tuple[Tensor, Tensor]:
    return train.features.mean(0), train.features.std(0, correction=0)


def fitted(train: RankShard, model: LogisticRegression) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return coefficients (K, F) on standardised features and biases (K,), each centred over the classes."""
    mean, scale = moments(train)
    bias = model.logits(mean[None])[0]
    coefficients = (model.logits(mean + torch.diag(scale)) - bias).T
    return coefficients.numpy(), (bias - bias.mean()).numpy()


def stretched(seed: int, count: int, classes: int) -> RankShard:
    """Return clusters whose features differ in mean and scale, as an encoder's do."""
    plain = clusters(seed, count, classes=classes, width=6)
    features = plain.features * torch.tensor([1.0, 10.0, 0.1, 1.0, 3.0, 100.0]) + torch.arange(6.0)
    return RankShard(features, plain.targets, plain.total)


@pytest.mark.parametrize("regularisation", [1e-1, 1e-2, 1e-4])
def test_logistic_regression_finds_scikit_learns_optimum(regularisation: float) -> None:
    train, held_out = stretched(0, 400, 4), stretched(1, 200, 4)
    model = LogisticRegression(train, classes=4, regularisation=regularisation)
    mean, scale = moments(train)
    theirs = linear_model.LogisticRegression(C=1.0 / (400 * regularisation), tol=1e-10, max_iter=5000)
    theirs.fit(((train.features - mean) / scale).numpy(), train.targets.numpy())
    coefficients, bias = fitted(train, model)
    np.testing.assert_allclose(coefficients, theirs.coef_, atol=1e-2)
    np.testing.assert_allclose(bias, theirs.intercept_ - theirs.intercept_.mean(), atol=1e-2)
    said = model.logits(held_out.features).argmax(1).numpy()
    assert (said == theirs.predict(((held_out.features - mean) / scale).numpy())).all()
    assert (said == held_out.targets.numpy()).mean() > 0.4


def test_logistic_regression_of_two_classes_is_the_binary_one_at_half_the_penalty() -> None:
    """lambda / 2 * (|w / 2|^2 + |-w / 2|^2) is lambda / 4 * |w|^2."""
    train = stretched(2, 300, 2)
    coefficients, _ = fitted(train, LogisticRegression(train, classes=2, regularisation=0.02))
    mean, scale = moments(train)
    theirs = linear_model.LogisticRegression(C=2.0 / (300 * 0.02), tol=1e-10, max_iter=5000)
    theirs.fit(((train.features - mean) / scale).numpy(), train.targets.numpy())
    np.testing.assert_allclose(coefficients[1] - coefficients[0], theirs.coef_[0], atol=1e-2)


def test_logistic_regression_ends_where_its_gradient_vanishes_and_ignores_units() -> None:
    train = stretched(3, 200, 4)
    model = LogisticRegression(train, classes=4, regularisation=0.01)
    mean, scale = moments(train)
    coefficients, _ = fitted(train, model)
    excess = softmax(model.logits(train.features).numpy()) - np.eye(4)[train.targets.numpy()]
    standard = ((train.features - mean) / scale).numpy()
    assert np.abs(excess.T @ standard / 200 + 0.01 * coefficients).max() < 1e-4
    assert np.abs(excess.mean(0)).max() < 1e-4
    other = RankShard(train.features * 50.0 - 8.0, train.targets, train.total)
    again = LogisticRegression(other, classes=4, regularisation=0.01)
    torch.testing.assert_close(again.logits(other.features), model.logits(train.features), rtol=1e-3, atol=1e-3)


def test_features_are_standardised_alike_in_chunks_of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    train = stretched(5, 200, 4)
    single = RankShard(
        train.features.float() + 1e4, train.targets, train.total
    )  # float32 sums would lose the deviation
    wide = single.features.double()
    for size in (1, 7, 200, 5000):
        monkeypatch.setattr(logistic_regression, "STANDARDISED_CHUNK", size)
        mean, scale = logistic_regression.standardisation(single)
        torch.testing.assert_close(mean, wide.mean(0), rtol=1e-12, atol=0)
        torch.testing.assert_close(scale, 1 / wide.std(0, correction=0), rtol=1e-9, atol=0)


def test_logistic_regression_ignores_a_constant_feature() -> None:
    train = stretched(4, 100, 3)
    constant = torch.full((100, 1), 5.0, dtype=torch.float64)
    wider = RankShard(torch.cat([train.features, constant], dim=1), train.targets, 100)
    found = LogisticRegression(wider, classes=3, regularisation=0.01).logits(wider.features)
    expected = LogisticRegression(train, classes=3, regularisation=0.01).logits(train.features)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


def test_the_layer_of_a_regression_gives_its_logits_of_features_that_hardly_vary() -> None:
    random = torch.Generator().manual_seed(0)
    features = (5.0 + 1e-5 * torch.randn(300, 64, generator=random)).float()
    targets = ((features.double() - 5.0) @ torch.randn(64, 3, generator=random).double()).argmax(1)
    model = LogisticRegression(RankShard(features, targets, 300), classes=3, regularisation=1e-3)
    state = model.state_dict()
    layer = functional.linear(features.double(), state["weight"].double(), state["bias"].double())
    torch.testing.assert_close(layer, model.logits(features).double(), rtol=1e-4, atol=1e-4)


def test_a_regression_converges_or_says_so(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    train = stretched(0, 300, 4)
    assert LogisticRegression(train, classes=4, regularisation=1e-6).excess <= logistic_regression.CONVERGED
    assert not caplog.records
    monkeypatch.setattr(logistic_regression, "LOGISTIC_ITERATIONS", 3)
    assert LogisticRegression(train, classes=4, regularisation=1e-6).excess > logistic_regression.CONVERGED
    assert "not converged after 3 iterations, its loss may be" in caplog.text


@pytest.mark.parametrize(
    ("excess", "said"),
    [(0.02, "its loss may be 2.0 % above the optimum"), (4115.1, "its loss may be far above the optimum")],
)
def test_a_bound_above_the_loss_itself_is_said_without_its_number(
    excess: float, said: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(LogisticRegression, "_excess", lambda *_: excess)
    LogisticRegression(stretched(0, 50, 4), classes=4, regularisation=1e-6)
    assert said in caplog.text
    assert "411510" not in caplog.text


def test_a_regression_converges_on_thousands_of_correlated_features() -> None:
    """As on raw pixels: 4,096 features of 32 factors, more features than images."""
    random = torch.Generator().manual_seed(0)
    features = torch.randn(400, 32, generator=random) @ torch.randn(32, 4096, generator=random)
    features += 0.3 * torch.randn(400, 4096, generator=random)
    train = RankShard(features, torch.randint(0, 4, (400,), generator=random), 400)
    fitted = LogisticRegression(train, classes=4, regularisation=1e-4)
    assert fitted.excess <= logistic_regression.CONVERGED
    assert (fitted.logits(features).argmax(1) == train.targets).all(), "more features than images separate any labels"
