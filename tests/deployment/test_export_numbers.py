"""An exported model that predicts a number: files, card, table of a folder, and the served model."""

import csv
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnxruntime
import pyarrow.parquet as pq
import pytest
from support.card_snippets import run, snippets
from support.numbers import grey_squares, number_sweep
from support.scenes import write_scene

from sweep.export import main
from sweep.predict import main as predict
from sweep.records.sweep_record import SweepRecord
from sweep.records.sweep_storage import SweepStorage
from trainables.data.preparing.prepare import prepare
from trainables.data.store import ImageStore
from trainables.errors import BadInputError
from trainables.models.inference import deployed


@pytest.fixture(scope="module")
def grey(tmp_path_factory: pytest.TempPathFactory) -> ImageStore:
    return grey_squares(tmp_path_factory.mktemp("grey"))


@pytest.fixture(scope="module")
def learned(grey: ImageStore, tmp_path_factory: pytest.TempPathFactory) -> tuple[SweepRecord, SweepStorage]:
    return number_sweep(grey, tmp_path_factory.mktemp("learned"))


@pytest.fixture(scope="module")
def exported(
    learned: tuple[SweepRecord, SweepStorage], grey: ImageStore, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SWEEP_DATA", str(grey.path.parent))
        main("numbers", storage=str(learned[1].storage.root), output=folder)
    return folder


@pytest.fixture(autouse=True)
def _stores(grey: ImageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWEEP_DATA", str(grey.path.parent))


def numbers_of(folder: Path, images: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    found: np.ndarray = session.run(["numbers"], {"images": images})[0]
    assert found.dtype == np.float64
    return found


def test_onnx_gives_the_numbers_that_the_trial_evaluated(
    exported: Path, learned: tuple[SweepRecord, SweepStorage], grey: ImageStore
) -> None:
    record, storage = learned
    table = storage.trial_of(record.trials[0]).outputs("test")
    assert table is not None
    expected = np.array(table["linear_predicted"].to_pylist())
    assert expected.std() > 0
    images = grey.images(table["row"].to_numpy()).numpy()
    np.testing.assert_allclose(numbers_of(exported, images), expected, rtol=1e-4)


def test_a_probe_gives_the_number_in_its_own_unit(learned: tuple[SweepRecord, SweepStorage], grey: ImageStore) -> None:
    files = learned[1].trial_of(learned[0].trials[0])
    table, final = files.outputs("test"), files.final()
    assert table is not None
    assert final is not None
    images = grey.images(table["row"].to_numpy())
    module = deployed(files.load_model(), size=(8, 8), head="probe", number=final.number)
    np.testing.assert_allclose(module(images)[0].detach(), np.array(table["predicted"].to_pylist()), rtol=1e-4)
    with pytest.raises(BadInputError, match=r"--head probe: its number's mean .* weren't kept by earlier .*use linear"):
        deployed(files.load_model(), size=(8, 8), head="probe")


def test_the_card_says_the_number_its_values_and_how_well_it_is_predicted(
    exported: Path, learned: tuple[SweepRecord, SweepStorage], grey: ImageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, storage = learned
    final = storage.trial_of(record.trials[0]).final()
    assert final is not None
    train = grey.split("train")
    held = grey.stable_fractions(train, "validation") < 0.25
    values = grey.numbers(train[~held]).numpy()
    values = values[~np.isnan(values)]
    assert final.number is not None
    spread = {"least": values.min(), "largest": values.max(), "mean": values.mean(), "deviation": values.std()}
    assert final.number.model_dump() == pytest.approx({"name": "label", **spread})
    facts = json.loads((exported / "model.json").read_text())
    assert facts["number"] == pytest.approx({"name": "label", "label_set": "grey.level", **spread})
    card = (exported / "MODEL_CARD.md").read_text()
    ends = f"{values.min():.4g} to {values.max():.4g}"
    assert "a number per image: label (grey.level). Learned from values of " + ends in card
    assert "with a ridge regression on frozen features on top" in card
    value = storage.trial_of(record.trials[0]).epochs()[-1].metrics["test/linear_rmse"]
    (line,) = (line for line in card.splitlines() if line.startswith("| test/linear_rmse"))
    cells = [cell.strip() for cell in line.split("|")[2:4]]
    assert cells[0] == f"{value:#.4g}"
    low, high = map(float, cells[1].split("–"))  # noqa: RUF001
    assert 0 < low < value < high
    assert "Classes" not in card
    assert "knn" not in card.partition("## Training")[0]
    monkeypatch.chdir(exported)
    onnx, torch_form = map(run, snippets(card))
    np.testing.assert_allclose(torch_form["features"], onnx["features"], rtol=1e-4, atol=1e-5)
    assert onnx["numbers"].shape == (1, 1)


def test_a_folder_is_predicted(exported: Path, grey: ImageStore, tmp_path: Path) -> None:
    for suffix in (".csv", ".parquet", ".csv"):  # the last one again, over its own table
        predict(exported, grey.path.parent / "in", tmp_path / f"found{suffix}")
    with (tmp_path / "found.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["path", "predicted"]
    assert [row["path"] for row in rows] == grey.names(np.arange(100))
    found = np.array([float(row["predicted"]) for row in rows])
    np.testing.assert_allclose(pq.read_table(tmp_path / "found.parquet")["predicted"].to_numpy(), found, rtol=1e-6)
    np.testing.assert_allclose(numbers_of(exported, grey.images(np.arange(100)).numpy())[:, 0], found, rtol=1e-4)


def test_a_prepared_data_set_is_predicted_with_its_unlabelled_images(
    exported: Path, grey: ImageStore, tmp_path: Path
) -> None:
    for name in ("grey", "grey.level"):
        predict(exported, Path(name), tmp_path / "found.parquet")
        table = pq.read_table(tmp_path / "found.parquet")
        assert table["path"].to_pylist() == grey.names(np.arange(100))
        expected = numbers_of(exported, grey.images(np.arange(100)).numpy())[:, 0]
        np.testing.assert_allclose(table["predicted"].to_numpy(), expected, rtol=1e-5)
    with pytest.raises(BadInputError, match=r"nobody: no such file or folder"):
        predict(exported, Path("nobody"), tmp_path / "other.csv")


def test_a_data_set_of_other_pixels_is_refused(exported: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(4):
        values = np.random.default_rng(number).integers(0, 9, (16, 16, 4)).astype(np.uint16)
        write_scene(tmp_path / "in" / f"{number}.tif", values)
    prepare("folder", source=tmp_path / "in", store_name="others")
    with pytest.raises(BadInputError) as caught:
        predict(exported, Path("others"), tmp_path / "found.csv")
    said = str(caught.value)
    assert "has the bands" in said
    assert "the model takes red, green, blue; has images of 16 x 16 px, the model takes 8 x 8" in said
    assert "has pixels of uint16, the model takes uint8" in said
    assert said.endswith("prepare it as grey.level was")
    assert not list(tmp_path.glob("found*"))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*type hint")
def test_the_served_model_gives_its_numbers(exported: Path, grey: ImageStore) -> None:
    from sweep.tracking.serving_model import ImageClassifier

    served, images = ImageClassifier(), grey.images(np.arange(4)).numpy()
    files = {"facts": str(exported / "model.json"), "onnx": str(exported / "model.onnx")}
    served.load_context(SimpleNamespace(artifacts=files))
    table = served.predict(None, images)
    assert list(table) == ["predicted"]
    np.testing.assert_allclose(table["predicted"], numbers_of(exported, images)[:, 0], rtol=1e-5)
