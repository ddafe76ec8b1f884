"""What commands write: where a record's names lead, and what is there already."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from search_spaces.quickstart import SPACE
from sweep.api import predict
from sweep.compare import main as compare
from sweep.console.output_files import check_outputs, file_name
from sweep.deployment import exported_model
from sweep.deployment.batch_prediction import apply
from sweep.deployment.exported_model import DeployedModel
from sweep.deployment.exporter import check_folder
from sweep.figures.contact_sheet import draw
from sweep.maps.map_plan import MapOptions
from sweep.maps.scene_map import write_map
from sweep.planning.launch import LaunchOptions, plan_of
from sweep.records.sweep_record import describe
from sweep.records.sweep_storage import SweepStorage
from sweep.space import written
from trainables.data.preparing.prepare import prepare, remove
from trainables.errors import BadInputError

THEIRS = "somebody's only copy"
REFUSED = "exists and (was not written by this command|is not from an export of this trial); choose another"


@pytest.mark.parametrize(
    "name", ["/etc/cron.d/x", "../../x", "..", ".", "", "-rf", ".ssh", "a/b", "a\x00b", "a\nb", "ä" * 500, "x" * 5000]
)
def test_a_name_of_a_record_is_one_part_of_a_path(tmp_path: Path, name: str) -> None:
    path = tmp_path / f"{file_name(name)}_curves.svg"
    path.touch()
    assert path.parent == tmp_path
    assert not path.name.startswith((".", "-"))
    assert file_name("digits-b32-t0.5-e1-s0") == "digits-b32-t0.5-e1-s0"
    assert file_name("x" * 5000) != file_name("x" * 5001)


@pytest.mark.parametrize("is_own", [lambda: False, lambda: json.loads("{")["x"], lambda: {}["x"], lambda: None.x])  # type: ignore[attr-defined]
def test_what_is_not_known_as_ours_is_not_replaced(tmp_path: Path, is_own: Callable[[], Any]) -> None:
    path = tmp_path / "out.csv"
    check_outputs([path], overwrite=False, is_own=is_own)
    path.write_text(THEIRS)
    with pytest.raises(BadInputError, match=REFUSED):
        check_outputs([path], overwrite=False, is_own=is_own)
    check_outputs([path], overwrite=True, is_own=is_own)
    check_outputs([path], overwrite=False, is_own=lambda: True)


def test_a_link_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "out.csv").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BadInputError, match=REFUSED):
        check_outputs([tmp_path / "out.csv"], overwrite=False, is_own=lambda: True)


@pytest.mark.parametrize("suffix", [".tif", ".png", ".json"])
def test_a_map_replaces_neither_picture_nor_notes_of_its_name(tmp_path: Path, suffix: str) -> None:
    pytest.importorskip("rasterio")
    model = tmp_path / "model"
    model.mkdir()
    (model / "model.onnx").touch()
    facts = {"channels": 3, "dtype": "uint8", "image_size": [8, 8], "classes": ["a"]}
    (model / "model.json").write_text(json.dumps(facts))
    theirs = tmp_path / f"field{suffix}"
    theirs.write_text(THEIRS)
    options = MapOptions(scale=255)
    with pytest.raises(BadInputError, match=REFUSED):
        write_map(model, tmp_path / "scene.tif", tmp_path / "field.tif", options)
    assert theirs.read_text() == THEIRS


class Answer(DeployedModel):
    """A model that needs no runtime."""

    def __call__(self, images: Any) -> Any:
        return np.full((len(images), 2), 0.5, np.float32), np.zeros((len(images), 3), np.float32)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_table_is_written_again_over_its_own_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    images, output = tmp_path / "images", tmp_path / f"found{suffix}"
    images.mkdir()
    Image.new("RGB", (8, 8)).save(images / "one.png")
    facts = {"channels": 3, "dtype": "uint8", "image_size": [8, 8], "classes": ["a", "b"], "several_labels": False}
    monkeypatch.setattr(exported_model.DeployedModel, "open", lambda folder: Answer(folder, facts))
    for _ in range(2):
        assert apply(tmp_path, images, output, Answer.prediction).images == 1
    if suffix == ".csv":
        output.write_text("name,marks\n")
    else:
        pq.write_table(pa.table({"name": ["x"]}), output)
    theirs = output.read_bytes()
    with pytest.raises(BadInputError, match=REFUSED):
        apply(tmp_path, images, output, Answer.prediction)
    assert output.read_bytes() == theirs
    assert apply(tmp_path, images, output, Answer.prediction, overwrite=True).images == 1


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_two_commands_may_write_one_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    images, output = tmp_path / "images", tmp_path / f"found{suffix}"
    images.mkdir()
    for name in ("one", "two"):
        Image.new("RGB", (8, 8)).save(images / f"{name}.png")
    facts = {"channels": 3, "dtype": "uint8", "image_size": [8, 8], "classes": ["a", "b"], "several_labels": False}
    monkeypatch.setattr(exported_model.DeployedModel, "open", lambda folder: Answer(folder, facts))
    monkeypatch.setattr("sweep.deployment.batch_prediction.BATCH", 1)
    (tmp_path / f"found{suffix}.partial").symlink_to(theirs := tmp_path / "theirs")
    theirs.write_text(THEIRS)
    calls = []

    def describe(model: Any, names: Any, arrays: Any) -> pa.Table:
        calls.append(names)
        if len(calls) == 2:  # while the first table is being written
            assert apply(tmp_path, images, output, Answer.prediction).images == 2
        return Answer.prediction(model, names, arrays)

    assert apply(tmp_path, images, output, describe).images == 2
    table = pq.read_table(output).to_pandas() if suffix == ".parquet" else pd.read_csv(output)
    assert list(table["path"]) == ["one.png", "two.png"]
    assert theirs.read_text() == THEIRS
    assert not [*tmp_path.glob(".*")]


@pytest.mark.parametrize("name", ["007", "None", "=1+1", "1e5"])
def test_a_returned_table_has_the_names_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    (images := tmp_path / "images").mkdir()
    Image.new("RGB", (8, 8)).save(images / f"{name}.png")
    facts = {"channels": 3, "dtype": "uint8", "image_size": [8, 8], "classes": [name, "b"], "several_labels": False}
    monkeypatch.setattr(exported_model.DeployedModel, "open", lambda folder: Answer(folder, facts))
    for output in (None, tmp_path / "found.csv", tmp_path / "found.parquet"):
        table = predict(tmp_path, images, output)
        assert table[["path", "label"]].to_numpy().tolist() == [[f"{name}.png", name]]
        assert list(table)[2:] == [f"p({name})", "p(b)"]


def test_an_export_is_written_again_over_the_same_trial_alone(tmp_path: Path) -> None:
    from types import SimpleNamespace

    storage = SweepStorage(tmp_path / "sweeps")
    chosen: Any = SimpleNamespace(trial=SimpleNamespace(entry=SimpleNamespace(trial_id="abc")))
    for there in ({"trial_id": "abc"}, {"trial_id": "another"}, ["abc"], {}):
        (tmp_path / "model.json").write_text(json.dumps(there))
        if there == {"trial_id": "abc"}:
            check_folder(tmp_path, chosen, storage, overwrite=False)
            continue
        with pytest.raises(BadInputError, match=REFUSED):
            check_folder(tmp_path, chosen, storage, overwrite=False)
        check_folder(tmp_path, chosen, storage, overwrite=True)


def test_a_report_replaces_reports_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWEEP_DATA", str(tmp_path / "data"))
    prepare("digits", root=tmp_path / "data", fraction=0.2)
    storage, launch = SweepStorage(tmp_path / "storage"), LaunchOptions(written=written(SPACE))
    storage.write_sweep(describe(plan_of(launch), name="one", command="", commit=None, versions={}, launch=launch))
    for name in ("report.html", "tables"):
        folder = tmp_path / name.replace(".", "-")
        folder.mkdir()
        (folder / name).write_text(THEIRS)
        with pytest.raises(BadInputError, match=REFUSED):
            compare(["one"], storage=storage.storage.root, html=folder, pictures=False)
        assert [path.name for path in folder.rglob("*")] == [name]
        assert (folder / name).read_text() == THEIRS
    for _ in range(2):
        compare(["one"], storage=storage.storage.root, html=tmp_path / "report", pictures=False)
    assert (tmp_path / "report" / "report.html").exists()


def test_removing_a_linked_store_leaves_the_real_one(tmp_path: Path) -> None:
    prepare("digits", root=tmp_path / "real", fraction=0.2)
    before = sorted((tmp_path / "real" / "digits").iterdir())
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "digits").symlink_to(tmp_path / "real" / "digits")
    assert remove("digits", tmp_path / "mine") == 0
    assert list((tmp_path / "mine").iterdir()) == []
    assert sorted((tmp_path / "real" / "digits").iterdir()) == before


def test_a_contact_sheet_replaces_its_own_alone(tmp_path: Path) -> None:
    prepare("digits", root=tmp_path, fraction=0.2)
    path = tmp_path / "digits.png"
    Image.new("RGB", (8, 8)).save(path)
    theirs = path.read_bytes()
    with pytest.raises(BadInputError, match=REFUSED):
        draw("digits", path, [], tmp_path)
    assert path.read_bytes() == theirs
    draw("digits", path, [], tmp_path, overwrite=True)
    draw("digits", path, [], tmp_path)
