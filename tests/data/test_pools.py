"""Stores without labels and partly labelled: what is kept, counted, trained on and evaluated."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from trainables.config import TrialConfig
from trainables.data.index_table import open_rows, write_batch
from trainables.data.preparing.prepare import prepare
from trainables.data.preparing.verify import verify
from trainables.data.store import UNLABELLED, ImageStore
from trainables.data.store_format import INFO_FILE, ROWS_FILE
from trainables.data.store_info import StoreInfo
from trainables.data.trial_data import TrialData
from trainables.errors import BadInputError
from trainables.metrics.expected import OF_FEATURES, LabelFacts, epoch_metrics, final_metrics
from trainables.metrics.names import OF_THE_MACHINE
from trainables.storage.filesystem import Storage
from trainables.storage.trial_files import TrialFiles
from trainables.training.trial import train

SMALL = {"encoder": "resnet10", "width_factor": 0.125, "image_size": 8, "projector_output_width": 8, "batch_size": 32}
IMAGES = 120


def write_digits(folder: Path, *, labelled: int, others: bool = True) -> Path:
    """Write scans of digits 0 to 2: the first `labelled` in class folders, the others in unlabelled/ if asked for."""
    scans = load_digits(n_class=3)
    for number in range(IMAGES):
        name = str(scans.target[number]) if number < labelled else "unlabelled"
        if number < labelled or others:
            path = folder / name / f"{number:03d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray((scans.images[number] * 15).astype(np.uint8)).save(path)
    return folder


def pool(tmp_path: Path, labelled: int, *, others: bool = True) -> ImageStore:
    name = f"pool{labelled}{'' if others else '-alone'}"
    source = write_digits(tmp_path / "in" / name, labelled=labelled, others=others)
    prepare("folder", source=source, root=tmp_path, store_name=name)
    return ImageStore.open(name, tmp_path)


def trained(store: ImageStore, folder: Path, **settings: Any) -> list[dict[str, float]]:
    config = TrialConfig.parse({**SMALL, "dataset": store.info.name, **settings})
    records = list(train(config, store=store, files=TrialFiles(Storage.at(folder)), device=_cpu()))
    return [record.metrics for record in records]


def _cpu() -> Any:
    import torch

    return torch.device("cpu")


def test_a_partly_labelled_store_says_which_images_have_labels(tmp_path: Path) -> None:
    store = pool(tmp_path, 70)
    everyone = np.arange(IMAGES)
    named = np.array(["unlabelled" not in name for name in store.names(everyone)])
    np.testing.assert_array_equal(store.labelled(everyone), named)
    assert (store.info.labelled_images, sum(store.info.unlabelled.values())) == (70, 50)
    classes = store.labels(everyone).numpy()
    np.testing.assert_array_equal(classes == UNLABELLED, ~named)
    assert [str(one) for one in classes[named]] == [name[0] for name in np.array(store.names(everyone))[named]]
    assert not store.label_matrix(everyone).numpy()[~named].any()
    assert verify(store.info.name, tmp_path).images == IMAGES
    again = prepare("folder", source=tmp_path / "in" / "pool70", root=tmp_path, store_name="pool70")
    assert again.fingerprint == store.fingerprint


def test_labels_count_in_the_fingerprint_and_in_what_is_compared(tmp_path: Path) -> None:
    source = tmp_path / "in" / "pool70"
    pool(tmp_path, 70)
    moved = next((source / "unlabelled").iterdir())
    moved.rename(source / "0" / moved.name)
    with pytest.raises(BadInputError, match="prepared differently"):
        prepare("folder", source=source, root=tmp_path, store_name="pool70")
    info = json.loads((tmp_path / "pool70" / INFO_FILE).read_text())
    info["unlabelled"] = {}
    (tmp_path / "pool70" / INFO_FILE).write_text(json.dumps(info))
    with pytest.raises(BadInputError, match=r"unlabelled in store.json doesn't match its rows"):
        verify("pool70", tmp_path)


def test_an_unlabelled_row_that_hides_a_label_is_damaged(tmp_path: Path) -> None:
    store = pool(tmp_path, 70)
    path = store.path / ROWS_FILE
    rows = open_rows(path)
    labels = rows.column("labels")
    missing = pa.array(~np.asarray(labels.is_valid()) | (np.arange(IMAGES) == 0))
    hiding = pa.ListArray.from_arrays(labels.offsets, labels.values, mask=missing)
    columns = [hiding if field.name == "labels" else rows.column(field.name) for field in rows.schema]
    write_batch(tmp_path / ROWS_FILE, pa.RecordBatch.from_arrays(columns, schema=rows.schema))
    (tmp_path / ROWS_FILE).replace(path)  # which is mapped
    with pytest.raises(BadInputError, match="column labels has empty values"):
        ImageStore.open("pool70", tmp_path)


def test_pretraining_takes_all_images_and_evaluation_the_labelled_ones(tmp_path: Path) -> None:
    store = pool(tmp_path, 70)
    data = TrialData(TrialConfig.parse({**SMALL, "dataset": "pool70"}), store)
    known = store.labelled(store.split("train"))
    assert len(data.train) == store.info.splits["train"]
    np.testing.assert_array_equal(data.labelled, known)
    np.testing.assert_array_equal(data.bank.rows, store.split("train")[known])
    assert len(data.test) == store.info.labelled["test"] < store.info.splits["test"]
    assert len(data.sample) == store.info.splits["test"]
    half = TrialData(TrialConfig.parse({**SMALL, "dataset": "pool70", "label_fraction": 0.5}), store)
    assert set(half.bank.rows) < set(data.bank.rows)
    learned = TrialData(TrialConfig.parse({**SMALL, "dataset": "pool70", "training": "supervised"}), store)
    np.testing.assert_array_equal(learned.train.rows, data.bank.rows)


def test_metrics_with_labels_are_those_of_the_labelled_images_alone(tmp_path: Path) -> None:
    partly, alone = pool(tmp_path, 70), pool(tmp_path, 70, others=False)
    (with_others,) = trained(partly, tmp_path / "a", epochs=0, encoder="pixels")
    (labelled_only,) = trained(alone, tmp_path / "b", epochs=0, encoder="pixels")
    assert with_others == labelled_only
    assert with_others["test/knn_top1"] > 0.5


def test_a_probe_learns_from_the_labelled_images_alone(tmp_path: Path) -> None:
    """The loss of a step is weighted: with unlabelled images it stays finite, and the probe tells the digits apart."""
    settings = {"epochs": 2, "optimiser": "adamw", "base_learning_rate": 0.05, "warmup_epochs": 0.0}
    records = trained(pool(tmp_path, 70), tmp_path / "a", **settings, temperature=0.5)
    assert np.isfinite([value for record in records for value in record.values()]).all()
    assert records[-1]["train/supervised_loss"] < records[0]["train/supervised_loss"]
    labels = LabelFacts(3, validation=False, class_names=("0", "1", "2"))
    config = TrialConfig.parse({**SMALL, "dataset": "pool70", **settings})
    assert set(records[-1]) - set(OF_THE_MACHINE) == final_metrics(config, labels)


def test_a_trial_without_labels_has_the_label_free_metrics_alone(tmp_path: Path) -> None:
    store = pool(tmp_path, 0)
    assert (store.info.class_names, store.info.labelled_images) == ((), 0)
    config = TrialConfig.parse({**SMALL, "dataset": "pool0", "epochs": 2})
    first, last = trained(store, tmp_path / "a", epochs=2)
    labels = LabelFacts(0, validation=False)
    assert set(last) - set(OF_THE_MACHINE) == final_metrics(config, labels)
    assert set(first) - set(OF_THE_MACHINE) == epoch_metrics(config, labels, 1)
    assert {"test/embedding_rank", "train/contrastive_loss"} <= set(last)
    assert not [name for name in last if "top1" in name or "supervised" in name]
    untrained = config.model_copy(update={"epochs": 0})
    (found,) = trained(store, tmp_path / "b", epochs=0)
    assert set(found) == final_metrics(untrained, labels) == {f"test/{name}" for name in OF_FEATURES}
    with pytest.raises(BadInputError, match="'supervised' learns labels, and pool0 has none"):
        TrialData(config.model_copy(update={"training": "supervised"}), store)


def test_labels_in_one_split_alone_are_refused(tmp_path: Path) -> None:
    rows = [f"train/{name}/1.png" for name in "ab"] + ["test/1.png", "test/unlabelled/2.png", "test/a/3.png"]
    for path in rows:
        (tmp_path / "in" / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8), len(path), dtype=np.uint8)).save(tmp_path / "in" / path)
    (tmp_path / "in" / "test" / "a" / "3.png").rename(tmp_path / "in" / "test" / "unlabelled" / "3.png")
    (tmp_path / "in" / "test" / "a").rmdir()
    table = tmp_path / "labels.csv"
    table.write_text("path,label,split\ntrain/a/1.png,a,train\ntrain/b/1.png,b,train\ntest/1.png,,test\n")
    info = prepare("folder", source=tmp_path / "in", root=tmp_path, store_name="half", table=table)
    assert info.unlabelled == {"test": 1}
    config = TrialConfig.parse({**SMALL, "dataset": "half", "batch_size": 2})
    with pytest.raises(BadInputError, match="labels: no image of half's test split has one"):
        TrialData(config, ImageStore.open("half", tmp_path))


def test_more_unlabelled_images_than_a_split_has_are_refused(tmp_path: Path) -> None:
    store = pool(tmp_path, 0)
    fields = json.loads((store.path / INFO_FILE).read_text()) | {"unlabelled": {"train": 10**6}}
    with pytest.raises(BadInputError, match="more than the split has"):
        StoreInfo.parse(json.dumps(fields).encode(), "store.json")
