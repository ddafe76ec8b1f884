"""The report of a real little sweep: one page that needs nothing else, numbers and commands that hold."""

import contextlib
import csv
import errno
import io
import math
import re
import shlex
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import torch

from sweep.compare import load, main
from sweep.comparison.dataset_report import dataset_reports
from sweep.records.sweep_record import SweepRecord
from sweep.records.sweep_storage import SweepStorage
from sweep.report import linked_pages
from sweep.report.linked_pages import write_page
from sweep.statistics.image_metrics import outputs_of
from sweep.statistics.metric_intervals import sampling_interval
from sweep.statistics.threshold_curves import calibration, pareto_front
from sweep.tracking.replay import replay
from sweep.tracking.tracker import SweepTracker
from trainables.config import TrialConfig
from trainables.data.store import ImageStore
from trainables.errors import BadInputError
from trainables.fields.overrides import parse_assignments


@pytest.fixture(scope="module")
def folder(swept: tuple[SweepRecord, SweepStorage], tmp_path_factory: pytest.TempPathFactory) -> Path:
    record, storage = swept
    folder = tmp_path_factory.mktemp("report") / "new"
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        main([record.name], storage=str(storage.storage.root), html=folder)
    assert f"report: {folder / 'report.html'}" in printed.getvalue()
    return folder


def test_the_page_asks_for_nothing_else(folder: Path) -> None:
    page = (folder / "report.html").read_text()
    assert 500_000 < len(page.encode()) < 2_000_000
    own = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    assert not re.findall(r"<(?:script|link|img|iframe)[^>]*(?:src|href)=", own)
    assert not re.findall(r"@import|url\((?!#)", own)
    assert "&lt;b&gt;with&lt;/b&gt;" in own, "what people write is text"
    assert "prefers-color-scheme: dark" in own
    ids = re.findall(r' id="([^"]+)"', own)
    twice = sorted({name for name in ids if ids.count(name) > 1})
    assert not twice, "figures on one page share no names"
    for reference in re.findall(r"url\(#([^)]+)\)|href=\"#([^\"]+)\"", own):
        assert (reference[0] or reference[1]) in ids


def test_its_numbers_are_the_records(folder: Path, swept: tuple[SweepRecord, SweepStorage]) -> None:
    record, storage = swept
    with (folder / "tables" / "comparison.csv").open() as file:
        rows = {row["setting"]: row for row in csv.DictReader(file)}
    assert rows.keys() == {"temperature 0.2", "temperature 0.5", "raw pixels"}
    whole = [e for e in record.trials if e.baseline is None and e.config["temperature"] == 0.2]
    values = [storage.trial_of(entry).epochs()[-1].metrics["val/knn_top1"] for entry in whole]
    assert float(rows["temperature 0.2"]["val/knn_top1"]) == pytest.approx(sum(values) / 2)
    assert rows["temperature 0.2"]["finished"] == "2"
    assert rows["temperature 0.5"]["finished"] == "1"
    assert rows["temperature 0.5"]["val/knn_top1 seeds low"] == ""
    seeds = []
    for entry in whole:
        table, final = storage.trial_of(entry).outputs("test"), storage.trial_of(entry).final()
        assert table is not None
        assert final is not None
        seeds.append(outputs_of(table, final.classes, final.positive, "test/linear_sensitivity"))
    interval = sampling_interval("test/linear_sensitivity", [one for one in seeds if one])
    assert interval is not None
    assert float(rows["temperature 0.2"]["test/linear_sensitivity images low"]) == pytest.approx(interval.low)
    with (folder / "tables" / "epochs.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 3 * 2 + 1
    page = (folder / "report.html").read_text()
    assert f"{100 * sum(values) / 2:.2f}" in page
    assert "1 of 2" in page
    assert "settings have from 1 to 2 finished seeds" in page


def test_every_trial_tells_how_to_train_it_again(folder: Path, swept: tuple[SweepRecord, SweepStorage]) -> None:
    record, _ = swept
    page = (folder / "report.html").read_text()
    commands = [
        line.replace("&#39;", "'").replace("&#34;", '"').replace("&amp;", "&")
        for line in re.findall(r"<pre><code>(python -m trainables.simclr .*?)</code>", page)
    ]
    assert len(commands) == len(record.trials)
    configs = []
    for command in commands:
        words = shlex.split(command)
        assert words[:3] == ["python", "-m", "trainables.simclr"]
        chosen = parse_assignments(words[4::2])
        configs.append(TrialConfig.parse({name: values[0] for name, values in chosen.items()}))
    assert sorted(config.model_dump_json() for config in configs) == sorted(
        TrialConfig.parse(entry.config).model_dump_json() for entry in record.trials
    )


def test_figures_lie_beside_in_two_formats(folder: Path) -> None:
    figures = {path.name for path in (folder / "figures").iterdir()}
    for name in ("ranking", "bars_temperature", "sensitivity_linear", "roc_linear", "precision_recall_linear"):
        assert {f"{name}.svg", f"{name}.png"} <= figures
        ET.parse(folder / "figures" / f"{name}.svg")
    assert any(name.endswith("_confusion_test.svg") for name in figures)


def test_notebooks_get_data_frames(swept: tuple[SweepRecord, SweepStorage]) -> None:
    record, storage = swept
    for frames in (load("mine", storage=storage.storage.root), load(storage=storage.storage.root)):
        assert frames.settings["setting"].tolist()[-1] == "raw pixels"
        assert set(frames.trials["trial"]) == {entry.name for entry in record.trials}
        assert frames.trials.set_index("trial")["status"].value_counts().to_dict() == {"finished": 4, "waiting": 1}
        assert set(frames.settings["sweep"]) == set(frames.epochs["sweep"]) == {"mine"}
        last = frames.epochs.groupby("trial")["val/knn_top1"].last()
        finished = frames.trials[frames.trials["status"] == "finished"].set_index("trial")["val/knn_top1"]
        assert last.sort_index().tolist() == finished.sort_index().tolist()
    with pytest.raises(BadInputError, match="sweep 'other': not in"):
        load("other", storage=storage.storage.root)


@pytest.mark.slow
def test_mlflow_shows_it_at_the_sweeps_run(
    swept: tuple[SweepRecord, SweepStorage],
    store: ImageStore,
    mlflow_database: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import mlflow

    monkeypatch.setenv("SWEEP_DATA", str(store.path.parent))
    record, storage = swept
    uri = f"sqlite:///{shutil.copy(mlflow_database, tmp_path)}"
    tracker = SweepTracker.open(uri, storage=tmp_path)
    waiting = replay(record, storage, tracker)
    assert tracker.close(120.0) == 0
    client = mlflow.MlflowClient(uri)
    (experiment,) = client.search_experiments(filter_string="name = 'sweep'")
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert runs.keys() == {"mine"} | {entry.name for entry in record.trials} - set(waiting)
    files = {file.path for file in client.list_artifacts(runs["mine"].info.run_id, "comparison")}
    assert {"comparison/comparison.csv", "comparison/ranking.png", "comparison/roc_linear.png"} <= files
    tags = {
        (run.data.tags["sweep.setting"], run.data.tags["sweep.best"]) for name, run in runs.items() if name != "mine"
    }
    assert tags > {("raw pixels", "baseline")}
    assert {setting for setting, _ in tags} == {"temperature 0.2", "temperature 0.5", "raw pixels"}
    assert "best" in {word for _, word in tags}


def test_the_front_is_what_nothing_cheaper_beats() -> None:
    points = [(1.0, 0.5), (2.0, 0.4), (2.0, 0.7), (3.0, 0.7), (4.0, 0.9)]
    assert pareto_front(points, highest=True) == [0, 2, 4]
    assert pareto_front([(1.0, 0.5), (2.0, 0.4)], highest=False) == [0, 1]


def test_calibration_is_over_equally_many_images() -> None:
    scores = torch.linspace(0, 1, 100).double().numpy()
    predicted, observed = calibration(scores, scores > 0.5)
    assert len(predicted) == 10
    assert predicted[0] == pytest.approx(scores[:10].mean())
    assert observed.tolist() == [0.0] * 5 + [1.0] * 5
    assert not math.isnan(calibration(scores[:3], scores[:3] > 0)[0].sum())


@pytest.mark.slow
def test_a_collapsed_trial_is_said_beside_the_table(
    swept: tuple[SweepRecord, SweepStorage], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweep.records.trial_result.TrialResult.collapsed", True)
    page = write_page(dataset_reports(*swept), swept[1], tmp_path / "page").read_text(encoding="utf-8")
    first = swept[0].trials[-1].name
    assert f'<p class="warn">{first} collapsed: its embeddings differ in fewer than three directions' in page
    assert ", COLLAPSED" in page


def test_a_full_disk_names_the_report_that_is_incomplete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> Path:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(linked_pages, "write_report", full)
    with pytest.raises(BadInputError, match=f"--html {tmp_path}: incomplete, .*No space left on device.; make room"):
        linked_pages.write_page([], SweepStorage(tmp_path), tmp_path)
