"""A number as target: ridge regression, metrics and trials against scikit-learn and SciPy."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from sklearn.linear_model import Ridge
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error
from sklearn.neighbors import KNeighborsRegressor
from sklearn.preprocessing import StandardScaler
from support.numbers import grey_squares
from torch.nn import functional

from trainables.config import TrialConfig
from trainables.data.store import ImageStore
from trainables.data.trial_data import TrialData
from trainables.errors import BadInputError
from trainables.evaluation import ridge_regression
from trainables.evaluation.features import RankShard
from trainables.evaluation.knn import knn_scores
from trainables.evaluation.number_metrics import NUMBER_METRICS, number_metrics
from trainables.evaluation.ridge_regression import RidgeRegression, best_ridge
from trainables.metrics.expected import LabelFacts, epoch_metrics, final_metrics
from trainables.metrics.names import OF_THE_MACHINE
from trainables.storage.filesystem import Storage
from trainables.storage.trial_files import TrialFiles
from trainables.training.trial import train

SMALL = {"encoder": "resnet10", "width_factor": 0.125, "image_size": 8, "projector_output_width": 8, "batch_size": 16}


def shard(seed: int, count: int, width: int = 6) -> RankShard:
    random = np.random.default_rng(seed)
    features = random.normal(size=(count, width)) * np.arange(1, width + 1) + 3.0
    targets = features @ np.linspace(-1, 2, width) + random.normal(size=count) + 100.0
    return RankShard(torch.from_numpy(features), torch.from_numpy(targets), count)


@pytest.mark.parametrize("regularisation", [1e-4, 0.1, 10.0])
def test_ridge_is_that_of_scikit_learn(regularisation: float) -> None:
    bank, held_out = shard(0, 80), shard(1, 30)
    scaler = StandardScaler().fit(bank.features)
    theirs = Ridge(alpha=regularisation * 80, solver="svd").fit(scaler.transform(bank.features), bank.targets)
    ours = RidgeRegression(bank, regularisation=regularisation)
    expected = theirs.predict(scaler.transform(held_out.features))
    np.testing.assert_allclose(ours.predict(held_out.features)[:, 0], expected, rtol=1e-9)
    assert ours.loss(held_out) == pytest.approx(np.square(expected - held_out.targets.numpy()).mean())
    state = ours.state_dict()
    plain = held_out.features @ state["weight"].T + state["bias"]
    np.testing.assert_allclose(plain, ours.predict(held_out.features), rtol=1e-12)


def test_ridge_has_few_features_in_float64_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    bank, held_out = shard(0, 80), shard(1, 30)
    whole = RidgeRegression(bank, regularisation=0.1).predict(held_out.features)
    monkeypatch.setattr(ridge_regression, "STANDARDISED_CHUNK", 7)
    seen: list[int] = []
    standardise = RidgeRegression._standardise
    monkeypatch.setattr(
        RidgeRegression, "_standardise", lambda self, rows: (seen.append(len(rows)), standardise(self, rows))[1]
    )
    found = RidgeRegression(bank, regularisation=0.1).predict(held_out.features)
    torch.testing.assert_close(found, whole, rtol=1e-12, atol=0)
    assert (max(seen), sum(seen)) == (7, 110)


@pytest.mark.parametrize("neighbours", [1, 7, 80])
def test_neighbours_are_weighted_as_those_of_classes_and_equal_scikit_learns(neighbours: int) -> None:
    bank, held_out = shard(0, 80), shard(1, 30)
    unit = [functional.normalize(own.features, dim=1).numpy() for own in (bank, held_out)]

    def weights(distances: np.ndarray) -> np.ndarray:
        return np.exp((1.0 - distances) / 0.07)

    theirs = KNeighborsRegressor(neighbours, metric="cosine", algorithm="brute", weights=weights)
    expected = theirs.fit(unit[0], bank.targets.numpy()).predict(unit[1])
    found = knn_scores(bank, held_out, classes=1, neighbours=(neighbours,), temperature=0.07)[neighbours]
    np.testing.assert_allclose(found[:, 0], expected, rtol=1e-9)


def test_neighbours_at_one_distance_share_what_is_left() -> None:
    features = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    bank = RankShard(features, torch.tensor([1.0, 2.0, 6.0, 100.0], dtype=torch.float64), 4)
    found = knn_scores(bank, RankShard(features[:1], bank.targets[:1], 1), classes=1, neighbours=(2,), temperature=0.1)
    assert found[2].item() == pytest.approx(3.0)


def test_a_constant_feature_counts_nothing_and_validation_chooses_lambda() -> None:
    bank, validation = shard(0, 40), shard(1, 30)
    bank.features[:, 0] = 5.0
    assert torch.isfinite(RidgeRegression(bank, regularisation=0.1).predict(validation.features)).all()
    candidates = (1e-4, 1e-1, 1e4)
    losses = [RidgeRegression(bank, regularisation=one).loss(validation) for one in candidates]
    assert best_ridge(bank, validation, candidates=candidates)[1] == candidates[int(np.argmin(losses))]


@pytest.mark.parametrize("scale", [1e-25, 1e-7, 1.0, 1e20])
def test_features_of_any_scale_count_and_rounding_errors_dont(scale: float) -> None:
    bank, held_out = shard(0, 80), shard(1, 30)
    ours = RidgeRegression(bank, regularisation=0.1).predict(held_out.features)
    features = [(own.features * scale).float() for own in (bank, held_out)]
    noise = np.random.default_rng(0)
    for own in features:  # 1 or 2 rounding errors of a constant
        own[:, 5] = torch.from_numpy(scale * (7.0 + 4e-7 * noise.integers(0, 3, len(own)))).float()
    less = RidgeRegression(RankShard(bank.features[:, :5], bank.targets, 80), regularisation=0.1)
    found = RidgeRegression(RankShard(features[0], bank.targets, 80), regularisation=0.1).predict(features[1])
    torch.testing.assert_close(found, less.predict(held_out.features[:, :5]), rtol=1e-5, atol=0)
    assert not torch.allclose(found, ours, rtol=1e-3)


def test_a_feature_counts_as_in_scikit_learn_where_its_mean_is_far_from_its_deviation() -> None:
    bank, held_out = shard(0, 80), shard(1, 30)
    features = [(1e-4 * own.features.double() + 100.0).float() for own in (bank, held_out)]
    scaler = StandardScaler().fit(features[0].double())
    theirs = Ridge(alpha=0.1 * 80, solver="svd").fit(scaler.transform(features[0].double()), bank.targets)
    ours = RidgeRegression(RankShard(features[0], bank.targets, 80), regularisation=0.1)
    expected = theirs.predict(scaler.transform(features[1].double()))
    np.testing.assert_allclose(ours.predict(features[1])[:, 0], expected, rtol=1e-9)
    state = ours.state_dict()
    np.testing.assert_allclose((features[1].double() @ state["weight"].T + state["bias"])[:, 0], expected, rtol=1e-9)


@pytest.mark.parametrize("tied", [False, True])
def test_metrics_are_those_of_scikit_learn_and_scipy_also_weighted(tied: bool) -> None:
    random = np.random.default_rng(2)
    truth = random.normal(size=50) * 3 + 7
    predicted = truth + random.normal(size=50)
    if tied:
        truth, predicted = truth.round(), predicted.round()
    counts = random.integers(0, 4, 50)
    for weights in (np.ones(50, dtype=np.int64), counts):
        repeated = np.repeat(truth, weights), np.repeat(predicted, weights)
        expected = {
            "r2": r2_score(*repeated),
            "rmse": root_mean_squared_error(*repeated),
            "mae": mean_absolute_error(*repeated),
            "spearman": spearmanr(*repeated).statistic,
        }
        given = weights[None].astype(np.float64)
        found = {name: float(metric(predicted, truth, given)[0]) for name, metric in NUMBER_METRICS.items()}
        assert found == pytest.approx(expected, rel=1e-9)
    assert np.isnan(number_metrics(predicted, np.ones(50))["r2"])
    assert np.isnan(number_metrics(np.ones(50), truth)["spearman"])


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ImageStore:
    return grey_squares(tmp_path_factory.mktemp("bright"))


def run(store: ImageStore, folder: Path, **fields: Any) -> tuple[TrialConfig, list[dict[str, float]], TrialFiles]:
    config = TrialConfig.parse(
        {**SMALL, "dataset": "grey.level", "target": "number", "validation_fraction": 0.25, **fields}
    )
    files = TrialFiles(Storage.at(folder))
    records = list(train(config, store=store, files=files, device=torch.device("cpu")))
    return config, [record.metrics for record in records], files


def test_frozen_features_give_what_scikit_learn_gives(store: ImageStore, tmp_path: Path) -> None:
    """Raw pixels: the whole way, from a partly labelled store to the metrics and outputs of the test split."""
    config, (metrics,), files = run(store, tmp_path, epochs=0, encoder="pixels", linear_candidates=(1e-4, 1e-2, 1.0))
    data = TrialData(config, store)
    parts = {"train": data.bank, **data.evaluated}
    pixels = {name: part.pixels(slice(None)).numpy().reshape(len(part), -1) / 255 for name, part in parts.items()}
    truth = {name: part.targets.numpy() for name, part in parts.items()}
    assert all((own > 0).all() for own in truth.values())
    scaler = StandardScaler().fit(pixels["train"])
    fits = {
        one: Ridge(alpha=one * len(data.bank)).fit(scaler.transform(pixels["train"]), truth["train"])
        for one in config.linear_candidates
    }
    said = {one: {name: fit.predict(scaler.transform(pixels[name])) for name in pixels} for one, fit in fits.items()}
    best = min(said, key=lambda one: np.square(said[one]["val"] - truth["val"]).mean())
    assert metrics["val/linear_regularisation"] == best
    assert metrics["test/linear_r2"] == pytest.approx(r2_score(truth["test"], said[best]["test"]), abs=1e-4)
    assert metrics["test/linear_rmse"] == pytest.approx(
        root_mean_squared_error(truth["test"], said[best]["test"]), rel=1e-3
    )
    assert metrics["test/linear_r2"] > 0.95
    table = files.outputs("test")
    assert table is not None
    np.testing.assert_allclose(table["label"].to_numpy(), truth["test"])
    np.testing.assert_allclose(
        table["linear_predicted"].combine_chunks().flatten(), said[best]["test"], rtol=1e-3, atol=1e-2
    )
    near = scaled_neighbours(parts, pixels, config)
    assert metrics["test/knn_r2"] == pytest.approx(r2_score(truth["test"], near), abs=1e-4)
    np.testing.assert_allclose(table["knn_predicted"].combine_chunks().flatten(), near, rtol=1e-4)
    assert set(metrics) == final_metrics(config, LabelFacts(0, validation=True, number=True))


def scaled_neighbours(parts: dict[str, Any], pixels: dict[str, np.ndarray], config: TrialConfig) -> np.ndarray:
    def weights(distances: np.ndarray) -> np.ndarray:
        return np.exp((1.0 - distances) / config.knn_temperature)

    regressor = KNeighborsRegressor(config.knn_neighbours, metric="cosine", algorithm="brute", weights=weights)
    return regressor.fit(pixels["train"].astype(np.float64), parts["train"].targets.numpy()).predict(pixels["test"])


@pytest.mark.parametrize("training", ["simclr", "supervised"])
def test_heads_learn_the_number_with_squared_error(training: str, store: ImageStore, tmp_path: Path) -> None:
    settings = {"optimiser": "adamw", "base_learning_rate": 0.1, "warmup_epochs": 0.0, "jitter_probability": 0.0}
    config, records, _ = run(store, tmp_path, epochs=3, training=training, **settings)
    assert records[-1]["train/supervised_loss"] < records[0]["train/supervised_loss"] < 5
    labels = LabelFacts(0, validation=True, number=True)
    assert set(records[-1]) - set(OF_THE_MACHINE) == final_metrics(config, labels)
    assert set(records[0]) - set(OF_THE_MACHINE) == epoch_metrics(config, labels, 1)
    assert {"test/r2", "test/linear_r2", "val/spearman", "test/knn_rmse"} <= set(records[-1])


def test_a_number_of_classes_and_classes_of_numbers_are_refused(store: ImageStore) -> None:
    with pytest.raises(
        BadInputError, match=r"grey\.level has a number per image, label; set target=number, got classes"
    ):
        TrialData(TrialConfig.parse({**SMALL, "dataset": "grey.level"}), store)
    for fields, message in (
        ({"positive": ("a",)}, "positive: target 'number' has no classes"),
        ({"probe_sampling": "balanced"}, "target: 'number' has no classes to balance"),
    ):
        with pytest.raises(BadInputError, match=message):
            TrialConfig.parse({**SMALL, "target": "number", **fields})


def test_r2_of_equal_numbers_is_undefined_whatever_their_mean_rounds_to() -> None:
    truth = np.full(10, 0.1)
    assert np.isnan(number_metrics(truth + np.linspace(0, 1, 10), truth)["r2"])
