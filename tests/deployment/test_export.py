"""An exported winner: weights that torchvision loads, ONNX that agrees, a card from the records, a served model."""

import contextlib
import csv
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import mlflow
import numpy as np
import onnxruntime
import pyarrow.parquet as pq
import pytest
import typer
from PIL import Image
from safetensors.torch import load_file

from sweep.deployment import model_card
from sweep.deployment.trial_choice import choose
from sweep.embed import main as embed
from sweep.export import main
from sweep.predict import main as predict
from sweep.records.sweep_record import SweepRecord
from sweep.records.sweep_storage import SweepStorage
from trainables.config import TrialConfig
from trainables.data.preparing.pixels import fit
from trainables.data.store import ImageStore
from trainables.data.store_info import StoreInfo
from trainables.errors import BadInputError
from trainables.storage.trial_files import MODEL


@pytest.fixture(scope="module")
def first_export(
    swept: tuple[SweepRecord, SweepStorage], store: ImageStore, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "out"
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("SWEEP_DATA", str(store.path.parent))
        patched.delenv("MLFLOW_TRACKING_URI", raising=False)
        main("mine", storage=str(swept[1].storage.root), output=folder)
    return folder


@pytest.fixture
def exported(first_export: Path, store: ImageStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SWEEP_DATA", str(store.path.parent))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return Path(shutil.copytree(first_export, tmp_path / "out"))


def test_onnx_gives_the_probabilities_that_the_trial_evaluated(
    exported: Path, swept: tuple[SweepRecord, SweepStorage], store: ImageStore
) -> None:
    facts = json.loads((exported / "model.json").read_text())
    record, storage = swept
    entry = next(entry for entry in record.trials if entry.trial_id == facts["trial_id"])
    assert entry.config["seed"] == 0, "the first seed, not the luckiest"
    table = storage.trial_of(entry).outputs("test")
    assert table is not None
    session = onnxruntime.InferenceSession(exported / "model.onnx", providers=["CPUExecutionProvider"])
    probabilities, features = session.run(None, {"images": store.images(table["row"].to_numpy()).numpy()})
    logits = np.array(table["linear_logits"].to_pylist())
    expected = np.exp(logits - logits.max(axis=1, keepdims=True))
    np.testing.assert_allclose(probabilities, expected / expected.sum(axis=1, keepdims=True), atol=1e-4)
    assert features.shape == (len(table), 32)
    assert facts["classes"] == [str(digit) for digit in range(10)]
    assert facts["input"] == {"bands": [], "pixels": "", "ranges": [], "metres": None}
    assert (facts["positive_rule"], facts["positive"]) == (["closed_loop"], ["0", "6", "8", "9"])
    assert facts["rules"] == {"closed_loop": ["0", "6", "8", "9"]}


def test_weights_and_card_say_what_they_are(exported: Path, swept: tuple[SweepRecord, SweepStorage]) -> None:
    weights = load_file(exported / "encoder.safetensors")
    assert weights["conv1.weight"].shape == (4, 3, 3, 3)
    assert "layer4.0.bn2.running_var" in weights
    card = (exported / "MODEL_CARD.md").read_text()
    for said in ("pretrained without labels by SimCLR on digits", "starts with a 3 x 3 convolution", "licence"):
        assert said in card
    record, storage = swept
    facts = json.loads((exported / "model.json").read_text())
    entry = next(entry for entry in record.trials if entry.trial_id == facts["trial_id"])
    value = storage.trial_of(entry).epochs()[-1].metrics["test/linear_top1"]
    assert f"| test/linear_top1 | {100 * value:.2f} |" in card
    assert "python -m trainables.simclr --set" in card
    assert "nothing is known of others" in card


def test_the_card_says_where_the_weights_come_from(
    swept: tuple[SweepRecord, SweepStorage], store: ImageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An evaluation pretrains nothing, and fine-tuning learns from labels."""
    monkeypatch.setenv("SWEEP_DATA", str(store.path.parent))
    record, storage = swept
    chosen = choose(storage, record.name, trial=None, best=None, head="linear")
    trained, trial_id = TrialConfig.parse(chosen.config), chosen.trial.entry.trial_id
    images, model = f"{chosen.final.train_images:,} images", storage.trial_of(chosen.trial.entry).storage.address(MODEL)
    assert model_card._origin(chosen, trained, storage) == f"pretrained without labels by SimCLR on digits ({images})"
    for changes, said in (
        ({"epochs": 0, "initial_weights": model}, f"with the weights of trial {trial_id}, pretrained on digits"),
        ({"epochs": 0, "initial_weights": "ssl4eo_moco_resnet50"}, "with the weights of ssl4eo_moco_resnet50"),
        ({"epochs": 0}, "with random weights"),
        (
            {"training": "supervised", "initial_weights": model},
            f"trained with the labels of digits ({images}), from the weights of trial {trial_id}, pretrained on digits",
        ),
    ):
        assert model_card._origin(chosen, trained.model_copy(update=changes), storage) == said


def written(folder: Path, images: np.ndarray) -> Path:
    folder.mkdir()
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{number:03d}.png")
    (folder / "notes.txt").write_text("no image")
    return folder


def test_a_folder_of_images_is_predicted_and_embedded(exported: Path, store: ImageStore, tmp_path: Path) -> None:
    images = store.images(store.split("test")[:70]).numpy()
    folder = written(tmp_path / "images", images)
    predict(exported, folder, tmp_path / "found.parquet")
    table = pq.read_table(tmp_path / "found.parquet")
    session = onnxruntime.InferenceSession(exported / "model.onnx", providers=["CPUExecutionProvider"])
    probabilities, features = session.run(None, {"images": images})
    assert table["path"].to_pylist() == [f"{number:03d}.png" for number in range(70)]
    assert table["label"].to_pylist() == [str(k) for k in probabilities.argmax(axis=1)]
    found = np.stack([table[f"p({k})"].to_numpy() for k in range(10)], axis=1)
    np.testing.assert_allclose(found, probabilities, atol=1e-6)
    predict(exported, folder, tmp_path / "found.csv")
    with (tmp_path / "found.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["label"] for row in rows] == table["label"].to_pylist()
    assert float(rows[7]["p(3)"]) == pytest.approx(found[7, 3])
    embed(exported, folder, tmp_path / "features.parquet")
    table = pq.read_table(tmp_path / "features.parquet")
    np.testing.assert_allclose(np.array(table["features"].to_pylist()), features, atol=1e-5)


def test_images_of_another_size_are_cropped_and_resized_as_they_are_prepared(
    exported: Path, store: ImageStore, tmp_path: Path
) -> None:
    image = np.repeat(np.repeat(store.images(store.split("test")[:1]).numpy()[0], 4, axis=0), 4, axis=1)
    wide = np.concatenate([np.zeros((32, 8, 3), np.uint8), image, np.zeros((32, 8, 3), np.uint8)], axis=1)
    predict(exported, written(tmp_path / "images", wide[None]), tmp_path / "found.csv")
    session = onnxruntime.InferenceSession(exported / "model.onnx", providers=["CPUExecutionProvider"])
    expected = session.run(["probabilities"], {"images": fit(image, 8)[None]})[0][0]
    with (tmp_path / "found.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert [float(row[f"p({k})"]) for k in range(10)] == pytest.approx(expected.tolist(), abs=1e-6)


def test_what_cant_be_predicted_is_said_and_leaves_no_file(exported: Path, tmp_path: Path) -> None:
    output = tmp_path / "found.parquet"
    folder = written(tmp_path / "images", np.zeros((3, 8, 8, 3), np.uint8))
    for arguments, said in (
        ((tmp_path / "none", folder, output), "has no model.json; give a folder that python -m sweep.export wrote"),
        ((exported, tmp_path / "none", output), "no such file or folder"),
        ((exported, Path("digist"), output), "digist: no such file or folder, and no prepared data set; did you mean"),
        ((exported, exported, output), "holds no image"),
        ((exported, folder, Path("/proc/found.csv")), r"--output /proc/found\.csv: can't be written"),
        ((exported, folder, tmp_path / "found.txt"), r"must end in \.parquet, \.csv \(a table of images\) or \.tif"),
        ((exported, folder, tmp_path / "no" / "found.csv"), "no such folder"),
    ):
        with pytest.raises(BadInputError, match=said):
            predict(*arguments)
    for number in range(3):
        (folder / f"{number:03d}.png").write_bytes(b"broken")
    with pytest.raises(BadInputError, match=r"no image can be used: .*000\.png: can't be read as an image") as caught:
        predict(exported, folder, output)
    assert "--" not in str(caught.value)  # no option that predict lacks
    assert not list(tmp_path.glob("found*"))


def test_images_that_are_left_out_are_said_and_change_the_exit_code(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = written(tmp_path / "images", np.zeros((3, 8, 8, 3), np.uint8))
    (folder / "001.png").write_bytes(b"broken")
    Image.fromarray(np.zeros((8, 8), np.uint16)).save(folder / "002.png")
    (folder / "003.heic").write_bytes(b"photo")
    for command, output in ((predict, tmp_path / "found.csv"), (embed, tmp_path / "found.parquet")):
        with pytest.raises(typer.Exit) as caught:
            command(exported, folder, output)
        assert caught.value.exit_code == 1
        assert output.is_file()
        said = capsys.readouterr().err
        assert "3 of 4 images were left out" in said
        assert "001.png: can't be read as an image" in said
        assert "002.png: has 1 channel of uint16, the model takes 3 of uint8" in said
        assert "003.heic: its kind is not supported" in said
        assert "--" not in said
    assert pq.read_table(tmp_path / "found.parquet")["path"].to_pylist() == ["000.png"]


def test_names_that_are_no_utf8_are_named_and_folders_of_such_names_are_read(
    exported: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    foreign = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    foreign.mkdir()
    for command, suffix in ((predict, ".csv"), (embed, ".parquet")):
        folder = written(foreign / f"images{suffix}", np.zeros((2, 8, 8, 3), np.uint8))
        command(exported, folder, foreign / f"found{suffix}")
        assert rf"caf\udce9/found{suffix}" in capfd.readouterr().out
        (folder / "001.png").rename(folder / os.fsdecode(b"\xe9.png"))
        with pytest.raises(BadInputError, match=r"\\udce9\.png: its name isn't UTF-8; rename it") as caught:
            command(exported, folder, tmp_path / f"found{suffix}")
        str(caught.value).encode()
        assert not list(tmp_path.glob("found*"))


def test_a_turned_photo_is_predicted_as_the_upright_one(exported: Path, store: ImageStore, tmp_path: Path) -> None:
    image = store.images(store.split("test")[:1]).numpy()[0]
    folder = written(tmp_path / "images", image[None])
    turned = Image.Exif()
    turned[274] = 6
    Image.fromarray(np.rot90(image).copy()).save(folder / "turned.png", exif=turned)
    for suffix in ("webp", "gif", "bmp"):
        Image.fromarray(image).save(folder / f"kind.{suffix}", **({"lossless": True} if suffix == "webp" else {}))
    predict(exported, folder, tmp_path / "found.parquet")
    table = pq.read_table(tmp_path / "found.parquet").to_pylist()
    assert [row["path"] for row in table] == ["000.png", "kind.bmp", "kind.gif", "kind.webp", "turned.png"]
    for row in (table[1], table[3], table[4]):
        assert [row[f"p({k})"] for k in range(10)] == pytest.approx([table[0][f"p({k})"] for k in range(10)], abs=1e-6)


def test_what_cant_be_exported_is_said(
    swept: tuple[SweepRecord, SweepStorage], store: ImageStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWEEP_DATA", str(store.path.parent))
    record, storage = swept
    place = str(storage.storage.root)
    with pytest.raises(BadInputError, match="--trial nobody: not in sweep 'mine'; its trials: digits-"):
        main("mine", trial="nobody", storage=place)
    pixels = next(entry for entry in record.trials if entry.baseline == "pixels")
    with pytest.raises(BadInputError, match="has no weights to export"):
        main("mine", trial=pixels.name, storage=place)
    with pytest.raises(BadInputError, match="no setting has test/nothing yet"):
        main("mine", best="test/nothing", storage=place)
    with pytest.raises(BadInputError, match="--best train/learning_rate: doesn't say which setting is better"):
        main("mine", best="train/learning_rate", storage=place)
    for options, said in (
        ({"head": "linaer"}, "--head linaer: give linear or probe; did you mean 'linear'"),
        ({"trial": "one", "best": "val/top1"}, "--best val/top1: chooses the trial, but --trial one names it"),
        ({"register": "a/b"}, "--register a/b: a model's name has no '/'"),
        ({"output": Path("/proc/none")}, "--output /proc/none: can't be written"),
        ({"output": Path(place)}, "holds the storage's own records"),
        ({"output": Path(place) / "trials" / "new"}, "holds the storage's own records"),
    ):
        with pytest.raises(BadInputError, match=said):
            main("mine", storage=place, **options)  # type: ignore[arg-type]
    monkeypatch.setenv("SWEEP_DATA", str(tmp_path))
    with pytest.raises(BadInputError, match="data set 'digits': isn't prepared here"):
        main("mine", storage=place)
    info = store.info.model_copy(update={"fingerprint": "0" * 64})
    monkeypatch.setattr(StoreInfo, "read", lambda name: info)
    with pytest.raises(BadInputError, match=r"data set 'digits': isn't the one that digits-.* was evaluated on"):
        main("mine", storage=place)


@pytest.mark.slow
def test_a_registered_model_is_served_and_answers(
    swept: tuple[SweepRecord, SweepStorage],
    store: ImageStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("SWEEP_DATA", str(store.path.parent))
    _, storage = swept
    uri = f"sqlite:///{tmp_path / 'fresh.db'}"
    main(
        "mine", storage=str(storage.storage.root), output=tmp_path / "out", register="digits-encoder", tracking_uri=uri
    )
    assert "registered as models:/digits-encoder@best (version 1)" in capsys.readouterr().out
    client = mlflow.MlflowClient(uri)
    version = client.get_model_version_by_alias("digits-encoder", "best")
    assert version.description == (tmp_path / "out" / "MODEL_CARD.md").read_text()
    assert version.tags["sweep.name"] == "mine"
    assert "is its model card" in client.get_registered_model("digits-encoder").description
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", "models:/digits-encoder@best"]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    log = (tmp_path / "log").open("w")
    server = subprocess.Popen(
        [*command, "--env-manager", "local", "--host", "127.0.0.1", "--port", str(port)],
        env={**os.environ, "MLFLOW_TRACKING_URI": uri, "MLFLOW_DISABLE_TELEMETRY": "true", "PATH": path},
        cwd=tmp_path,  # without this project
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    images = store.images(store.split("test")[:3]).numpy()
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/invocations",
        json.dumps({"inputs": images.tolist()}).encode(),
        {"Content-Type": "application/json"},
    )
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                with urllib.request.urlopen(request, timeout=30) as answer:
                    rows = json.loads(answer.read())["predictions"]
                    break
            except urllib.error.HTTPError as error:
                raise AssertionError(error.read().decode()) from error
            except urllib.error.URLError:
                assert server.poll() is None, (tmp_path / "log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.5)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)
        log.close()
    session = onnxruntime.InferenceSession(tmp_path / "out" / "model.onnx", providers=["CPUExecutionProvider"])
    expected = session.run(["probabilities"], {"images": images})[0]
    assert [row["label"] for row in rows] == [str(k) for k in expected.argmax(axis=1)]
    np.testing.assert_allclose([[row[str(k)] for k in range(10)] for row in rows], expected, atol=1e-6)
