"""The probe's options: budgets, weights, sampling, thresholds, and another data set to evaluate on."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn.metrics as sk
import torch
from support.process_group import on_ranks
from support.sample_data import write_eurosat
from support.small_trials import CPU, MULTI, SMALL, changed, files_in, final_metrics
from torch.nn import functional

from trainables.config import TrialConfig, data_fingerprint
from trainables.data.preparing.prepare import prepare
from trainables.data.store import ImageStore
from trainables.data.trial_data import TrialData
from trainables.errors import BadInputError
from trainables.evaluation.curves import balanced_threshold, metrics_at, specificity_threshold
from trainables.evaluation.probe import BatchWeights, ProbeWeights, elements, probe_loss
from trainables.training.trial import TrialTrainer, train

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
    assert weights.of_step(0, np.arange(20)[None], slice(None), CPU) is None
    assert weights.of_fit() is None


def test_a_weight_of_one_for_each_is_the_plain_loss() -> None:
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(12, 4, generator=random, dtype=torch.float64)
    for targets in (torch.arange(12) % 4, torch.rand(12, 4, generator=random) < 0.3):
        ones = torch.ones(6, dtype=torch.float64) if targets.dim() == 1 else torch.ones(6, 4, dtype=torch.float64)
        plain = probe_loss(logits, targets, None, views=12)
        same = probe_loss(logits, targets, BatchWeights(ones, float(ones.sum())), views=12)
        torch.testing.assert_close(torch.stack(plain).double(), torch.stack(same).double())
        nothing = probe_loss(logits, targets, BatchWeights(ones * 0, 0.0), views=12)
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
    step = weights.of_step(3, np.arange(880, 920)[None], slice(None), CPU)
    again = weights.of_step(3, np.arange(880, 920)[None], slice(None), CPU)
    other = weights.of_step(4, np.arange(880, 920)[None], slice(None), CPU)
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
        assert metrics["val/feature_rank"] == plain["val/feature_rank"], field


def _first_step(addresses: dict[str, str], config: TrialConfig, folder: str) -> None:
    torch.set_default_dtype(torch.float64)
    stores = {name: ImageStore(Path(path)) for name, path in addresses.items()}
    made = TrialTrainer(config, **stores, files=files_in(Path(folder)), device=CPU)  # type: ignore[arg-type]
    record = made.run_epoch(1)
    if made.rank == 0:
        torch.save([record.metrics, dict(made.model.probe.named_parameters())], f"{folder}/world-{made.world}.pt")


@pytest.mark.parametrize(
    "kind",
    ["weights", pytest.param("labels", marks=pytest.mark.slow), pytest.param("other data", marks=pytest.mark.slow)],
)
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


def test_thresholds_of_equal_shares_are_chosen_without_rounding() -> None:
    """In floating point 1 - 5 / 12 is below 7 / 12, and equal sums of two shares differ."""
    scores = np.arange(12.0)
    truth = np.zeros(12, dtype=bool)
    specificity = metrics_at(7.0, np.append(scores, 9.0), np.append(truth, True))["specificity"]
    assert specificity_threshold(np.append(scores, 9.0), np.append(truth, True), specificity) == 7.0
    random = np.random.default_rng(0)
    for _ in range(400):
        scores, truth = random.integers(0, 12, 20).astype(float), random.permutation(20) < 5
        candidates = [np.nextafter(scores.max(), np.inf), *np.unique(scores)[::-1]]
        gained = [5 * int((~truth[scores < one]).sum()) + 15 * int(truth[scores >= one].sum()) for one in candidates]
        assert balanced_threshold(scores, truth) == candidates[gained.index(max(gained))]


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
    assert len(data.evaluated["val"]) == 20
    with pytest.raises(BadInputError, match="validation_fraction: own has its own validation split; set it to 0"):
        TrialData(config.model_copy(update={"validation_fraction": 0.1}), own)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"target": "labels", "probe_sampling": "balanced"}, "probe_sampling: 'balanced' needs one class per image"),
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


def test_the_gradient_of_a_number_is_bounded_however_far_off_it_is() -> None:
    logits = torch.tensor([[0.5], [3.0], [-1e6]], requires_grad=True)
    loss, right = elements(logits, torch.zeros(3))
    torch.testing.assert_close(loss.detach(), torch.tensor([0.125, 2.5, 1e6 - 0.5]))
    assert not right.any(), "a number is never right or wrong"
    loss.sum().backward()
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad[:, 0], torch.tensor([0.5, 1.0, -1.0]))
