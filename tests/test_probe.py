"""The probe's options: several labels, budgets, weights, sampling, thresholds, and another data set to evaluate on."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn.metrics as sk
import torch
from numpy.typing import NDArray
from process_group import on_ranks
from sample_data import write_bigearthnet, write_eurosat
from torch.nn import functional

from trainables.augment import unit_interval
from trainables.config import SimCLRConfig, data_fingerprint
from trainables.data.prepare import prepare
from trainables.data.store import ImageStore
from trainables.decision import balanced_threshold, metrics_at, specificity_threshold
from trainables.errors import BadInputError
from trainables.evaluation import Share
from trainables.frozen import LogisticRegression, knn_scores
from trainables.multilabel import (
    average_precisions,
    best_thresholds,
    f1_scores,
    mean_of_known,
    micro_average_precision,
    slug,
)
from trainables.pixel_source import PixelSource, split_bytes
from trainables.probe import ProbeWeights, Weights, elements, probe_loss
from trainables.simclr import Trial, train
from trainables.storage import Storage
from trainables.trial_data import TrialData
from trainables.trial_files import TrialFiles

CPU = torch.device("cpu")
SMALL = SimCLRConfig(
    dataset="digits",
    image_size=20,
    encoder="resnet10",
    width_factor=1 / 16,
    projector_layers=2,
    projector_output_width=16,
    batch_size=20,
    epochs=1,
    warmup_epochs=0,
    max_train_images=60,
    max_test_images=60,
    positive=("closed_loop",),
    validation_fraction=0.2,
)
LABELS = [["Sea and ocean"], ["Mixed forest", "Pastures"], ["Pastures"], ["Mixed forest", "Sea and ocean", "Pastures"]]
Floats = NDArray[np.float64]


@pytest.fixture(scope="module")
def patches(tmp_path_factory: pytest.TempPathFactory) -> ImageStore:
    """64 patches, three labels in use."""
    root = tmp_path_factory.mktemp("patches")
    source = write_bigearthnet(root, LABELS * 16)
    prepare("bigearthnet_v1", source=source, root=root / "out", splits="random", image_size=24)
    return ImageStore.open("bigearthnet_v1", root / "out")


def changed(**values: Any) -> SimCLRConfig:
    return SimCLRConfig.parse({**SMALL.model_dump(), **values})


MULTI = {"target": "labels", "positive": (), "max_train_images": None, "batch_size": 12, "validation_fraction": 0.3}


def files_in(folder: Path) -> TrialFiles:
    return TrialFiles(Storage.at(folder))


def final_metrics(config: SimCLRConfig, folder: Path, **stores: ImageStore) -> dict[str, float]:
    (record,) = train(config, **stores, files=files_in(folder), device=CPU)  # type: ignore[arg-type]
    return record.metrics


# Several labels


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
    together = LogisticRegression(Share(features, truth, 60), classes=3, regularisation=0.03).logits(features)
    for label in range(3):
        # Two classes of opposite weights: the penalty counts twice, and each label's mean is a third of the loss.
        alone = LogisticRegression(Share(features, truth[:, label].long(), 60), classes=2, regularisation=0.18)
        logits = alone.logits(features)
        torch.testing.assert_close(together[:, label], logits[:, 1] - logits[:, 0], rtol=1e-3, atol=1e-3)


def test_neighbours_vote_for_each_label() -> None:
    random = np.random.default_rng(3)
    bank = Share(torch.from_numpy(random.normal(size=(30, 4))), torch.from_numpy(random.random((30, 3)) < 0.5), 30)
    held_out = Share(torch.from_numpy(random.normal(size=(7, 4))), torch.zeros(7, 3, dtype=torch.bool), 7)
    scores = knn_scores(bank, held_out, classes=3, neighbours=5, temperature=0.1)
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


def test_slugs_of_label_names() -> None:
    assert slug("Land principally occupied by agriculture, with") == "land_principally_occupied_by_agriculture_with"
    assert slug("Transitional woodland/shrub") == "transitional_woodland_shrub"


# Budgets and weights


def test_a_smaller_label_budget_is_part_of_a_larger_one(store: ImageStore, patches: ImageStore) -> None:
    for data, more in ((store, {"max_train_images": None}), (patches, MULTI)):
        bought = [TrialData(changed(**{**more, "label_fraction": share}), data) for share in (0.01, 0.1, 0.5, 1.0)]
        masks = [trial.labelled for trial in bought]
        for smaller, larger in pairwise(masks):
            assert (smaller <= larger).all()
            assert smaller.sum() < larger.sum()
        assert masks[-1].all()
        least = bought[0].bank.targets.numpy()
        used = bought[-1].train.targets.numpy()
        if least.ndim == 1:
            assert set(least.tolist()) == set(used.tolist())  # every class, however small the budget
            counts = np.bincount(bought[1].bank.targets.numpy()) / np.bincount(used)
            assert np.all((counts >= 0.1) & (counts < 0.12))
        else:
            assert (least.any(axis=0) == used.any(axis=0)).all()
        assert len(bought[0].train) == len(bought[-1].train)  # all are pretrained on


def test_weights_are_none_when_nothing_asks_for_them(store: ImageStore) -> None:
    data = TrialData(SMALL, store)
    weights = ProbeWeights(SMALL, data.train.targets, data.labelled, 10)
    assert not weights.needed
    assert weights.of_step(0, np.arange(20), slice(None), CPU) is None
    assert weights.of_fit() is None


def test_a_weight_of_one_for_each_is_the_plain_loss() -> None:
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(12, 4, generator=random, dtype=torch.float64)
    for targets in (torch.arange(12) % 4, torch.rand(12, 4, generator=random) < 0.3):
        ones = torch.ones(6, dtype=torch.float64) if targets.dim() == 1 else torch.ones(6, 4, dtype=torch.float64)
        plain = probe_loss(logits, targets, None, views=12)
        same = probe_loss(logits, targets, Weights(ones, float(ones.sum())), views=12)
        torch.testing.assert_close(torch.stack(plain).double(), torch.stack(same).double())
        nothing = probe_loss(logits, targets, Weights(ones * 0, 0.0), views=12)
        assert [float(value) for value in nothing] == [0.0, 0.0]


def test_balanced_weights_are_scikit_learns_up_to_a_factor() -> None:
    targets = torch.tensor([0] * 30 + [1] * 6 + [2] * 4)
    config = changed(probe_class_weight="balanced")
    weights = ProbeWeights(config, targets, np.ones(40, dtype=bool), 3).of_fit()
    assert weights is not None
    expected = 40 / (3 * np.bincount(targets))[targets]
    np.testing.assert_allclose(weights / weights.sum(), expected / expected.sum())
    hot = torch.zeros(40, 2, dtype=torch.bool)
    hot[:5, 0], hot[:, 1] = True, torch.arange(40) % 2 == 0
    both = ProbeWeights(config, hot, np.ones(40, dtype=bool), 2).of_fit()
    assert both is not None
    for label in range(2):
        sides = [float(both[:, label][hot[:, label] == side].sum()) for side in (False, True)]
        assert sides[0] == pytest.approx(sides[1])


def test_balanced_sampling_draws_every_labelled_class_alike() -> None:
    targets = torch.tensor([0] * 900 + [1] * 90 + [2] * 10)
    labelled = np.ones(1000, dtype=bool)
    labelled[:450] = False
    weights = ProbeWeights(changed(probe_sampling="balanced"), targets, labelled, 3)
    drawn = weights.of_fit()
    assert drawn is not None
    assert (drawn == drawn.round()).all()
    assert drawn.sum() == 1000
    assert drawn[:450].sum() == 0
    each = [float(drawn[targets == label].sum()) for label in range(3)]
    np.testing.assert_allclose(each, 1000 / 3, atol=4 * np.sqrt(1000 * 2 / 9))
    step = weights.of_step(3, np.arange(880, 920), slice(None), CPU)
    again = weights.of_step(3, np.arange(880, 920), slice(None), CPU)
    other = weights.of_step(4, np.arange(880, 920), slice(None), CPU)
    assert step is not None
    assert again is not None
    assert other is not None
    assert torch.equal(step.own, again.own)
    assert not torch.equal(step.own, other.own)


def test_elements_are_torchs_losses() -> None:
    logits, targets = torch.randn(5, 3), torch.tensor([0, 2, 1, 1, 0])
    loss, correct = elements(logits, targets)
    torch.testing.assert_close(loss.mean(), functional.cross_entropy(logits, targets))
    assert correct.tolist() == (logits.argmax(1) == targets).double().tolist()
    truth = functional.one_hot(targets, 3).bool()
    loss, correct = elements(logits, truth)
    torch.testing.assert_close(loss.mean(), functional.binary_cross_entropy_with_logits(logits, truth.float()))
    assert torch.equal(correct.bool(), (logits.sigmoid() > 0.5) == truth)


def test_options_change_the_probe_and_leave_pretraining_alone(store: ImageStore, tmp_path: Path) -> None:
    plain = final_metrics(SMALL, tmp_path / "plain", store=store)
    options: dict[str, Any] = {"label_fraction": 0.2, "probe_class_weight": "balanced", "probe_sampling": "balanced"}
    for field, value in options.items():
        metrics = final_metrics(changed(**{field: value}), tmp_path / field, store=store)
        assert metrics["train/contrastive_loss"] == plain["train/contrastive_loss"], field
        assert metrics["train/supervised_loss"] != plain["train/supervised_loss"], field
        assert metrics["test/linear_loss"] != plain["test/linear_loss"], field
        assert metrics["test/feature_rank" if "test/feature_rank" in metrics else "val/feature_rank"] > 1


def _first_step(addresses: dict[str, str], config: SimCLRConfig, folder: str) -> None:
    torch.set_default_dtype(torch.float64)
    stores = {name: ImageStore(Path(path)) for name, path in addresses.items()}
    made = Trial(config, **stores, files=files_in(Path(folder)), device=CPU)  # type: ignore[arg-type]
    record = made.run_epoch(1)
    if made.rank == 0:
        torch.save([record.metrics, dict(made.model.probe.named_parameters())], f"{folder}/world-{made.world}.pt")


@pytest.mark.parametrize("kind", ["weights", "labels", "other data"])
def test_one_worker_and_two_agree(kind: str, store: ImageStore, patches: ImageStore, tmp_path: Path) -> None:
    weighted = {"probe_class_weight": "balanced", "label_fraction": 0.5}
    config, stores = {
        "weights": (changed(**weighted, probe_sampling="balanced"), {"store": store}),
        "labels": (changed(**{**MULTI, **weighted}), {"store": patches}),
        "other data": (
            changed(dataset="bigearthnet_v1", evaluation_dataset="digits", max_train_images=None, batch_size=12),
            {"store": patches, "evaluation_store": store},
        ),
    }[kind]
    found = []
    for world in (1, 2):
        addresses = {name: str(each.path) for name, each in stores.items()}
        on_ranks(world, tmp_path, _first_step, addresses, config, str(tmp_path))
        found.append(torch.load(tmp_path / f"world-{world}.pt", weights_only=False))
    (one, probe), (two, probe_of_two) = found
    assert one.keys() == two.keys()
    for name in one.keys() - {"train/images_per_second"}:
        assert one[name] == pytest.approx(two[name], rel=1e-5, abs=1e-6, nan_ok=True), name
    for name, weights in probe.items():
        torch.testing.assert_close(weights, probe_of_two[name], rtol=1e-8, atol=1e-10)


# Thresholds


def test_thresholds_chosen_on_one_split_by_trying_all() -> None:
    random = np.random.default_rng(5)
    truth = random.random(200) < 0.3
    scores = np.round(np.clip(random.normal(0.4 + 0.2 * truth, 0.2), 0, 1), 2)
    candidates = np.append(np.unique(scores), 1.5)
    balanced = {value: metrics_at(value, scores, truth)["balanced_accuracy"] for value in candidates}
    assert balanced[balanced_threshold(scores, truth)] == pytest.approx(max(balanced.values()))
    for wanted in (0.5, 0.9, 0.95, 0.999):
        threshold = specificity_threshold(scores, truth, wanted)
        assert metrics_at(threshold, scores, truth)["specificity"] >= wanted
        lower = candidates[candidates < threshold]
        assert not len(lower) or metrics_at(lower[-1], scores, truth)["specificity"] < wanted
    assert metrics_at(0.5, scores, truth) == {
        "sensitivity": pytest.approx(sk.recall_score(truth, scores >= 0.5)),
        "specificity": pytest.approx(sk.recall_score(~truth, scores < 0.5)),
        "accuracy": pytest.approx(sk.accuracy_score(truth, scores >= 0.5)),
        "balanced_accuracy": pytest.approx(sk.balanced_accuracy_score(truth, scores >= 0.5)),
    }
    assert np.isnan(balanced_threshold(scores, np.ones(200, dtype=bool)))
    assert np.isnan(metrics_at(float("nan"), scores, truth)["accuracy"])


def test_metrics_say_at_which_threshold_they_are(store: ImageStore, tmp_path: Path) -> None:
    metrics = final_metrics(changed(wanted_specificity=0.9), tmp_path / "a", store=store)
    for split in ("val", "test"):
        for method in ("", "linear_"):
            for suffix in ("", "_at_val_balanced", "_at_val_specificity_0.9"):
                for name in ("sensitivity", "specificity", "accuracy", "balanced_accuracy"):
                    assert f"{split}/{method}{name}{suffix}" in metrics
    assert metrics["val/linear_specificity_at_val_specificity_0.9"] >= 0.9
    best, argmax = (metrics[f"val/linear_balanced_accuracy{suffix}"] for suffix in ("_at_val_balanced", ""))
    assert best >= argmax
    unselected = final_metrics(changed(validation_fraction=0.0), tmp_path / "b", store=store)
    assert not [name for name in unselected if "_at_" in name]


# Another data set, its own validation split, and what is refused


def test_pretraining_on_one_data_set_and_evaluating_on_another(
    store: ImageStore, patches: ImageStore, tmp_path: Path
) -> None:
    config = changed(dataset="bigearthnet_v1", evaluation_dataset="digits", max_train_images=None, batch_size=12)
    data = TrialData(config, patches, store)
    assert data.fingerprint == data_fingerprint(patches.fingerprint, store.fingerprint)
    assert len(data.train) == patches.info.splits["train"]
    assert {split.store for split in (data.bank, *data.evaluated.values())} == {store}
    metrics = final_metrics(config, tmp_path, store=patches, evaluation_store=store)
    assert not [name for name in metrics if "supervised" in name or name.endswith("/top1")]
    assert {"test/knn_top1", "test/linear_top1", "val/linear_sensitivity", "val/feature_rank"} <= metrics.keys()
    assert config.trial_id(data.fingerprint) != config.trial_id(patches.fingerprint)
    again = list(train(config, store=patches, evaluation_store=store, files=files_in(tmp_path), device=CPU))
    assert again == []


def test_a_validation_split_of_the_data_sets_own(tmp_path: Path) -> None:
    source = write_eurosat(tmp_path / "in", images=6)
    for split, numbers in (("train", (1, 2, 3)), ("val", (4, 5)), ("test", (6,))):
        for path in source.glob("*/*.jpg"):
            if int(path.stem.split("_")[-1]) in numbers:
                target = tmp_path / "own" / split / path.parent.name / path.name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(path.read_bytes())
    prepare("folder", source=tmp_path / "own", root=tmp_path / "out", store_name="own")
    own = ImageStore.open("own", tmp_path / "out")
    config = changed(dataset="own", positive=(), validation_fraction=0.0, max_train_images=None)
    data = TrialData(config, own)
    assert (len(data.train), data.selection) == (30, "val")
    assert data.validation is not None
    assert len(data.validation) == 20
    with pytest.raises(BadInputError, match="validation_fraction: own has its own validation split; set it to 0"):
        TrialData(config.model_copy(update={"validation_fraction": 0.1}), own)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"target": "labels", "probe_sampling": "balanced"}, "probe_sampling: 'balanced' needs one class an image"),
        ({"positive": (), "wanted_specificity": 0.9}, "wanted_specificity: needs the classes or the rule"),
        ({"wanted_specificity": 1.0}, "wanted_specificity: must be less than 1, got 1.0"),
        ({"label_fraction": 0.0}, "label_fraction: must be greater than 0, got 0.0"),
        ({"evaluation_dataset": "digits"}, "evaluation_dataset: 'digits' is the data set itself; leave it out"),
    ],
)
def test_what_contradicts_itself_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInputError) as caught:
        changed(**values)
    assert message in str(caught.value)


def test_what_the_data_cant_give_is_refused(store: ImageStore, patches: ImageStore) -> None:
    with pytest.raises(BadInputError, match="wanted_specificity: its threshold is chosen on validation"):
        TrialData(changed(wanted_specificity=0.9, validation_fraction=0.0), store)
    with pytest.raises(BadInputError, match="several labels; set target=labels, or target=positive"):
        TrialData(changed(positive=()), patches)


# Reading


def test_images_copied_to_the_device_are_those_of_the_map(store: ImageStore, tmp_path: Path) -> None:
    source = write_bigearthnet(tmp_path, LABELS * 2)
    prepare("bigearthnet_v1", source=source, root=tmp_path / "out", splits="random", pixels="none", image_size=8)
    wide = TrialData(
        changed(**{**MULTI, "validation_fraction": 0.0, "batch_size": 2}),
        ImageStore.open("bigearthnet_v1", tmp_path / "out"),
    )
    for split in (TrialData(SMALL, store).train, wide.train):
        read, copied = PixelSource(split, CPU), PixelSource(split, CPU)
        copied.copy()
        numbers = np.random.default_rng(0).integers(0, len(split), 50)
        assert torch.equal(read.batch(numbers), copied.batch(numbers))
        assert copied.batch(numbers).shape == (50, 3, *split.store.info.image_size)
        assert split_bytes(split) == len(split) * split.pixels(slice(0, 1)).nbytes


def test_sixteen_bits_become_shares_of_their_range(tmp_path: Path) -> None:
    source = write_bigearthnet(tmp_path, LABELS * 8)
    prepare("bigearthnet_v1", source=source, root=tmp_path / "out", splits="random", pixels="none", image_size=24)
    wide = ImageStore.open("bigearthnet_v1", tmp_path / "out")
    config = changed(**MULTI, normalisation="train")
    data = TrialData(config, wide)
    pixels = data.train.pixels(slice(None)).numpy().astype(np.float64) / 65535
    mean, deviation = data.channel_moments(CPU)
    np.testing.assert_allclose(mean, pixels.mean((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(deviation, pixels.std((0, 2, 3)), rtol=1e-9)
    np.testing.assert_allclose(unit_interval(data.train.pixels(slice(None))).numpy(), pixels, rtol=1e-6)
    assert "test/linear_average_precision_macro" in final_metrics(config, tmp_path / "trial", store=wide)
