"""Hostile names and texts on their whole way: prepare, run, compare, report, MLflow, export, predict."""

import dataclasses
import io
import json
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from support.hostile_names import NAMES, SHOWN, acting, check_csv, check_output, write_images
from support.paths import ROOT

from sweep.report.text_direction import END, ISOLATE
from trainables.errors import BadInputError
from trainables.printing.printable_text import printable

CLASSES = tuple(sorted(name.strip() for name in NAMES))


def figures() -> Iterator[tuple[str, object]]:
    from sweep.comparison.classifier_curves import TradeOff
    from sweep.figures import classifier_curves, comparison, images, trial
    from sweep.statistics.intervals import ConfidenceInterval

    count = len(NAMES)
    shares = dict(zip(NAMES, np.linspace(0.1, 1.0, count).tolist(), strict=True))
    yield "per class", trial.per_class_accuracy(shares, about="a split")
    yield "per label", trial.per_label_precision({name: (share, 0.1) for name, share in shares.items()})
    yield "confusion", trial.confusion_matrix(np.eye(count, dtype=np.int64), NAMES)
    points = [comparison.MetricPoint(name, 0.5, ConfidenceInterval(0.4, 0.6)) for name in NAMES]
    yield "ranking", comparison.ranking(points, metric="test/top1")
    values = {(name, other): (0.5, None) for name in NAMES[:4] for other in NAMES[4:8]}
    yield "bars", comparison.grouped_bars(values, metric="test/top1", x=NAMES[5], group=NAMES[5])
    yield "cost", comparison.cost_and_quality([(n, 1.0, 0.5) for n in NAMES], metric="m", unit="hours", highest=True)
    trade = [TradeOff(name, 0.5, 0.5, None, None) for name in NAMES]
    yield "trade", classifier_curves.sensitivity_specificity(trade)
    picture = np.zeros((8, 8, 3), np.uint8)
    yield (
        "grid",
        images.picture_grid(
            [images.CaptionedImage(picture, (name, name), True) for name in NAMES], columns=5, title=""
        ),
    )
    groups = {name: np.arange(count) == number for number, name in enumerate(NAMES)}
    yield "map", images.map_of_classes(np.zeros((count, 2)), groups, title="map")


def test_every_figure_is_drawn_and_shows_the_names(tmp_path: Path) -> None:
    from sweep.report.page import _save

    (tmp_path / "figures").mkdir()
    seen = ""
    for name, figure in figures():
        drawn = _save(figure, tmp_path, name, "")  # type: ignore[arg-type]
        text = " ".join(ET.parse(tmp_path / "figures" / f"{name}.svg").getroot().itertext())
        assert acting(text.replace("\n", "")) == []
        assert "<script" not in drawn.svg
        assert "<img" not in drawn.svg
        seen += text
    for shown in SHOWN:
        if len(shown) < 20:
            assert shown in seen
    assert r"$\frac{$" in seen


@pytest.mark.slow
def test_a_map_is_drawn_for_every_name() -> None:
    from sweep.maps.class_preview import ClassPreview
    from sweep.maps.number_preview import NumberPreview
    from sweep.maps.preview import figure

    for name in (NAMES[0], NAMES[5], "x" * 300):
        own = {"pixels": 9, "share": 1.0, "hectares": 1.0, "square_kilometres": 1.0}
        facts = {
            "valid": {"square_kilometres": 1.0},
            "classes": {name: own, "other": own},
            "number": {"mean": 31.5, "least": 0.0, "largest": 63.0},
            "crs": name,
            "scene": name,
            "model": {"trial": name},
        }
        for positive in ("", name):
            fields = {
                "scene": np.zeros((8, 8, 3), np.uint8),
                "probability": np.full((8, 8), 0.5),
                "classes": np.zeros((8, 8), np.uint8),
                "valid": np.ones((8, 8), bool),
                "mapped": np.ones((8, 8), bool),
                "numbers": np.arange(64.0).reshape(8, 8),
                "name": name,
                "learned": (3.0, 60.0),
                "names": ("other", name) if positive else (name, "other"),
                "positive": positive,
                "threshold": 0.5 if positive else None,
                "metres": 10.0,
                "facts": facts,
            }
            for kind in (ClassPreview, NumberPreview):
                known = {field.name for field in dataclasses.fields(kind)}
                buffer = io.BytesIO()
                figure(kind(**{key: value for key, value in fields.items() if key in known})).savefig(buffer)
                assert buffer.tell()


def test_prepare_info_list_show_and_verify(hostile: SimpleNamespace) -> None:
    said = check_output(hostile.said)
    assert "error" not in hostile.said.err
    assert "images verified" in said
    assert hostile.store.info.class_names == CLASSES, "names themselves stay as they are"
    for shown in map(printable, CLASSES):
        if len(shown) < 60:
            assert shown in said
    assert (hostile.folder / "sheet.png").stat().st_size


OWN_ISOLATES = re.compile(f"{ISOLATE}([^{ISOLATE}{END}]*){END}")
"""Isolates that the page puts around right-to-left names, each closed where it began."""


def test_compare_writes_terminal_page_and_tables(
    hostile: SimpleNamespace, capsys: pytest.CaptureFixture[str], tmp_path: Path, colourless: None
) -> None:
    from sweep.compare import main

    root = str(hostile.storage.storage.root)
    main(["mine"], storage=root, html=tmp_path / "page")
    said = check_output(capsys.readouterr())
    assert printable(NAMES[0]) in said
    assert "[/b]" in said
    for table in (tmp_path / "page" / "tables").iterdir():
        check_csv(table)
    page = (tmp_path / "page" / "report.html").read_text(encoding="utf-8")
    body = OWN_ISOLATES.sub(r"\1", page[page.rindex("<body>") :])
    assert acting(body) == []
    assert "&lt;img src=x onerror" in body
    assert "<img" not in body
    assert "javascript:" not in [part for part in body.split('href="')[1:] if part.startswith("javascript:")]
    assert "49" not in body[body.index("{{ 7") : body.index("{{ 7") + 12]


def test_status_draws_it(hostile: SimpleNamespace, capsys: pytest.CaptureFixture[str], colourless: None) -> None:
    from sweep.status import main

    root = str(hostile.storage.storage.root)
    for as_json in (False, True):
        main("mine", storage=root, watch=False, as_json=as_json)
        check_output(capsys.readouterr())


@pytest.mark.slow
def test_mlflow_takes_every_text(hostile: SimpleNamespace, mlflow_database: Path, tmp_path: Path) -> None:
    import mlflow

    from sweep.tracking.replay import replay
    from sweep.tracking.tracker import SweepTracker

    uri = f"sqlite:///{shutil.copy(mlflow_database, tmp_path)}"
    tracker = SweepTracker.open(uri, storage=tmp_path)
    replay(hostile.record, hostile.storage, tracker)
    assert tracker.close(120.0) == 0
    client = mlflow.MlflowClient(uri)
    (experiment,) = client.search_experiments(filter_string="name = 'sweep'")
    runs = client.search_runs([experiment.experiment_id])
    assert {run.info.run_name for run in runs} == {"mine", *(entry.name for entry in hostile.record.trials)}
    for run in runs:
        for text in (*run.data.tags.items(), *run.data.params.items()):
            if "history" not in text[0] and "dataset" not in text[0]:
                assert acting("".join(text).replace("\n", "")) == []
        note = run.data.tags.get("mlflow.note.content", "")
        assert "\\<img" in note or not note
    (whole,) = [run for run in runs if run.info.run_name == "mine"]
    table = client.download_artifacts(whole.info.run_id, "comparison/comparison.csv")
    check_csv(Path(table))


@pytest.mark.slow
def test_export_writes_a_card_and_predict_a_table(
    hostile: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from sweep.export import main as export
    from sweep.predict import main as predict

    export("mine", storage=str(hostile.storage.storage.root), output=tmp_path / "model")
    card = (tmp_path / "model" / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert acting(card) == []
    text = "\n".join(line for line in card.splitlines() if not line.startswith("    "))
    for mark in ("<img", "</script", "[click](", "![x]", "| a | b |"):
        assert mark not in text.replace(f"\\{mark}", "")
    assert not [line for line in card.splitlines() if line.startswith("# heading")]
    assert json.loads((tmp_path / "model" / "model.json").read_text())["classes"] == list(CLASSES)

    predict(tmp_path / "model", hostile.folder / "images", output=tmp_path / "table.csv")
    header, *rows = check_csv(tmp_path / "table.csv")
    assert len(rows) == 5 * len(NAMES)
    assert [printable(f"p({name})") for name in CLASSES] == header[2:]
    predict(tmp_path / "model", hostile.folder / "images", output=tmp_path / "table.parquet")
    check_output(capsys.readouterr())


def test_files_whose_names_are_no_text_are_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from trainables.data.preparing.prepare import prepare

    good = write_images(tmp_path, each=1).parent / "images"
    with (Path(str(good)) / "x\udcff\x1b.png").open("wb") as file:
        file.write((good / "Pastures0.png").read_bytes())
    with pytest.raises(BadInputError, match="UTF-8") as refused:
        prepare("folder", source=good, root=tmp_path / "data", store_name="odd")
    assert "\n" not in str(refused.value)
    assert acting(str(refused.value)) == []


SPACE = """
from sweep.space import Grid, RankingObjective, SearchSpace, Stage
from support.hostile_names import NAMES

SPACE = SearchSpace(
    name="small",
    description="; ".join(NAMES),
    base={"dataset": "hostile", "image_size": 16, "encoder": "resnet10", "width_factor": 1 / 16, "batch_size": 16,
          "epochs": 1, "warmup_epochs": 0, "positive": (NAMES[5],)},
    stages=(Stage("grid", (Grid(axes={"temperature": (0.2, 0.5)}),)),),
    objective=RankingObjective("test/knn_top1"),
    caveats=NAMES,
)
"""


@pytest.mark.slow
def test_a_real_run_prints_nothing_that_acts(hostile: SimpleNamespace, tmp_path: Path) -> None:
    (tmp_path / "small.py").write_text(SPACE)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "tests"))),
        "SWEEP_DATA": str(hostile.folder / "data"),
        "NO_COLOR": "1",
    }
    environment.pop("MLFLOW_TRACKING_URI", None)
    for more in ([], ["--json"], ["--dry-run"]):
        done = subprocess.run(
            [sys.executable, "-m", "sweep.run", "--space", str(tmp_path / "small.py"), "--max-concurrent", "1", *more],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        check_output(SimpleNamespace(out=done.stdout, err=done.stderr))  # type: ignore[arg-type]
        assert "Traceback" not in done.stderr
