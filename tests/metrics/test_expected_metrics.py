"""The names of metrics that are known before training, against those that trials record."""

from pathlib import Path
from typing import Any

import pytest
from support.small_trials import CPU, MULTI, changed, files_in
from support.stores import of_noise

from trainables.config import TrialConfig
from trainables.data.store import ImageStore
from trainables.metrics.expected import LabelFacts, epoch_metrics, final_metrics
from trainables.metrics.names import OF_THE_MACHINE
from trainables.training.trial import train


def recorded(config: TrialConfig, store: ImageStore, folder: Path, **stores: ImageStore) -> list[set[str]]:
    records = train(config, store=store, files=files_in(folder), device=CPU, **stores)
    return [set(record.metrics) - set(OF_THE_MACHINE) for record in records]


def labels_of(config: TrialConfig, store: ImageStore) -> LabelFacts:
    names = store.info.class_names
    return LabelFacts(len(names), bool(config.validation_fraction) or "validation" in store.info.splits, names)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"epochs": 2, "knn_every": 1, "knn_also": (3, 5), "positive": ()},
        {"validation_fraction": 0.0, "positive": ()},
        {"target": "positive", "wanted_specificity": 0.9},
        {"training": "supervised", "epochs": 2, "linear_candidates": (1e-3, 1e-2)},
        {"epochs": 0},
        {"epochs": 0, "encoder": "pixels", "validation_fraction": 0.0},
    ],
    ids=lambda fields: ",".join(fields) or "default",
)
def test_a_trial_records_what_is_expected(fields: dict[str, Any], store: ImageStore, tmp_path: Path) -> None:
    config = changed(**fields)
    found = recorded(config, store, tmp_path)
    labels = labels_of(config, store)
    assert found[-1] == final_metrics(config, labels)
    for epoch, names in enumerate(found[:-1], start=1):
        assert names == epoch_metrics(config, labels, epoch)


@pytest.mark.parametrize("validation", [0.0, 0.3])
def test_several_labels(validation: float, patches: ImageStore, tmp_path: Path) -> None:
    config = changed(**{**MULTI, "positive": ("Pastures",), "validation_fraction": validation})
    assert recorded(config, patches, tmp_path) == [final_metrics(config, labels_of(config, patches))]


def test_few_classes_and_another_data_set_to_evaluate_on(store: ImageStore, tmp_path: Path) -> None:
    few = of_noise(tmp_path / "stores")
    own = changed(dataset="noise", positive=(), max_train_images=None, batch_size=8)
    assert recorded(own, few, tmp_path / "a") == [final_metrics(own, labels_of(own, few))]
    other = changed(evaluation_dataset="noise", positive=(), max_test_images=None)
    found = recorded(other, store, tmp_path / "b", evaluation_store=few)
    assert found == [final_metrics(other, labels_of(other, few))]
