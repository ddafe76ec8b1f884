"""MLflow as a view of the records: found again, never doubled, never in the sweep's way."""

import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch

from sweep.records.paths import DEFAULT_STORAGE, artifacts_folder, tracking_database
from sweep.records.sweep_record import SweepRecord, TrialEntry
from sweep.records.sweep_storage import SweepStorage
from sweep.tracking.mlflow_runs import flattened
from sweep.tracking.server import Server, served_store
from sweep.tracking.store import TrackingStore
from sweep.tracking.tracker import Tracker
from trainables.config import TrialConfig
from trainables.data.catalog import LeakCounts, StoreInfo
from trainables.data.store_format import INFO_FILE
from trainables.errors import BadInputError
from trainables.storage.filesystem import Storage
from trainables.storage.trial_files import TrialFiles
from trainables.storage.trial_records import EpochRecord, FailureRecord, FinalRecord

NAN = float("nan")
CONFIG = TrialConfig(dataset="digits", batch_size=64, positive=("1", "2")).model_dump(mode="json")
FIGURES = {"accuracy.png", "loss.png", "per_class_test.png", "confusion_test.png"}


@pytest.fixture
def storage(tmp_path: Path, mlflow_database: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("SWEEP_DATA", str(tmp_path / "data"))
    shutil.copy(mlflow_database, tracking_database(tmp_path))
    return tmp_path


@pytest.fixture
def digits(storage: Path) -> StoreInfo:
    """A data set that is known here, and another one beside it."""
    info = StoreInfo(
        format_version=2,
        name="digits",
        data_set="digits",
        source="scikit-learn",
        image_size=(8, 8),
        channels=3,
        dtype="uint8",
        class_names=("0", "1"),
        multi_label=False,
        rules={},
        splits={"train": 6, "test": 4},
        class_counts={"train": (3, 3), "test": (2, 2)},
        rule_counts={},
        options={"fraction": 1.0},
        licence="BSD",
        notes=(),
        leaks=LeakCounts(identical=0, near_identical=0, neighbours=0, examples=()),
        corrupt=(),
        made="now",
        fingerprint="0123456789abcdef" * 4,
    )
    for name in ("digits", "other"):
        folder = storage / "data" / name
        folder.mkdir(parents=True)
        (folder / INFO_FILE).write_text(info.model_copy(update={"name": name}).model_dump_json())
    return info


def epoch_record(epoch: int) -> EpochRecord:
    metrics = {
        "train/contrastive_loss": 5.0 / epoch,
        "train/contrastive_accuracy": 0.1 * epoch,
        "train/supervised_loss": 2.0 / epoch,
        "train/supervised_accuracy": 0.2 * epoch,
        "test/top1": 0.25 * epoch,
        "test/roc_auc": NAN,
    }
    return EpochRecord(epoch=epoch, time_ms=1_700_000_000_000 + epoch, seconds=1.0, metrics=metrics)


def trial_files(folder: Path, epochs: int = 3, *, finished: bool = True) -> TrialFiles:
    files = TrialFiles(Storage.at(folder))
    files.write_config(CONFIG, "f" * 64)
    for epoch in range(1, epochs + 1):
        files.write_epoch(epoch_record(epoch))
        files.save_checkpoint(epoch, {"epoch": epoch})
    if finished:
        files.save_model({"encoder": {"weight": torch.ones(2)}})
        logits = pa.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [0.0, 1.0]])
        table = pa.table({"row": [0, 1, 2, 3], "name": list("abcd"), "label": [0, 0, 1, 1], "logits": logits})
        files.write_outputs("test", table)
        files.write_final(final_record(epochs))
    return files


def final_record(epochs: int) -> FinalRecord:
    return FinalRecord(
        time_ms=1_700_000_009_000,
        epochs=epochs,
        seconds=3.0,
        workers=1,
        threads=1,
        device="x86_64",
        host="node",
        versions={},
        train_images=6,
        classes=("0", "1"),
    )


def begin(tracker: Tracker, name: str = "quick") -> None:
    record = SweepRecord(
        name=name,
        digest="d" * 12,
        space="quickstart",
        description="what is best?",
        objective="val/top1",
        direction="max",
        columns=(),
        published=(),
        published_source="",
        caveats=(),
        smoke=True,
        selected_on="test",
        trials=(),
        pending=(),
        command="python -m sweep.run --space quickstart",
        commit="c" * 40,
        versions={"torch": "2.9"},
        time_ms=1_700_000_000_000,
    )
    tracker.start_sweep(record)


def entry(trial_id: str = "t1", **fields: Any) -> TrialEntry:
    """Return a trial whose files are those of trial t1."""
    return TrialEntry(
        trial_id=trial_id,
        name="digits-b64",
        stage=1,
        baseline=None,
        config={**CONFIG, **fields},
        stands_for={},
        steps=1,
        place="t1",
    )


def project(storage: Path, trial: TrialEntry | None = None, **more: Any) -> int:
    """Show one trial of one sweep, as a program does from start to end; return what is missing."""
    tracker = Tracker.open(None, storage=storage)
    begin(tracker)
    tracker.write_trial(trial or entry(), SweepStorage(storage), **more)
    tracker.finish_sweep()
    return tracker.close(30.0)


def runs(storage: Path) -> dict[str, Any]:
    """Return the runs by name."""
    store = TrackingStore.choose(None, storage=storage, experiment="sweep")
    client = store.client()
    return {run.info.run_name: run for run in client.search_runs([store.experiment_id(client)])}


def rows(storage: Path, table: str) -> int:
    connection = sqlite3.connect(tracking_database(storage))
    try:
        return int(connection.execute(f"select count(*) from {table}").fetchone()[0])
    finally:
        connection.close()


def artifacts(storage: Path, run: Any) -> set[str]:
    client = TrackingStore.choose(None, storage=storage, experiment="sweep").client()
    paths = {entry.path for folder in (None, "figures") for entry in client.list_artifacts(run.info.run_id, folder)}
    return {Path(path).name for path in paths}


# What is shown


def test_a_sweep_and_its_trial_are_shown(storage: Path, digits: StoreInfo) -> None:
    trial_files(storage / "trials" / "t1")
    trial = entry(evaluation_dataset="other")
    assert project(storage, trial) == 0
    found = runs(storage)
    parent, child = found["quick"], found["digits-b64"]
    assert parent.info.status == child.info.status == "FINISHED"
    expected = {
        "sweep.name": "quick",
        "sweep.space": "quickstart",
        "sweep.smoke": "true",
        "mlflow.note.content": "what is best?",
        "mlflow.source.name": "sweep.run",
        "sweep.command": "python -m sweep.run --space quickstart",
        "mlflow.source.git.commit": "c" * 40,
    }
    assert expected.items() <= parent.data.tags.items()
    assert "mlflow.user" in parent.data.tags
    assert artifacts(storage, parent) == {"plan.json"}
    expected = {
        "mlflow.parentRunId": parent.info.run_id,
        "sweep.trial_id": "t1",
        "sweep.status": "finished",
        "sweep.smoke": "true",
        "sweep.selected_on": "test",
        "sweep.checkpoint": f"{storage}/trials/t1/checkpoints/000003.pt",
    }
    assert expected.items() <= child.data.tags.items()
    assert child.data.params == flattened(trial.config)
    assert artifacts(storage, child) == {*FIGURES, "figures", "model.pt"}
    assert child.info.end_time == 1_700_000_009_000
    inputs = {entry.tags[0].value: entry.dataset for entry in child.inputs.dataset_inputs}
    assert inputs.keys() == {"training", "evaluation"}
    assert (inputs["training"].name, inputs["training"].digest) == ("digits", digits.fingerprint[:36])
    assert inputs["evaluation"].name == "other"


def test_metrics_keep_the_records_own_time_and_epoch_and_leave_out_nan(storage: Path) -> None:
    trial_files(storage / "trials" / "t1")
    project(storage)
    client = TrackingStore.choose(None, storage=storage, experiment="sweep").client()
    run = runs(storage)["digits-b64"]
    history = client.get_metric_history(run.info.run_id, "test/top1")
    assert [(entry.step, entry.timestamp, entry.value) for entry in history] == [
        (epoch, 1_700_000_000_000 + epoch, 0.25 * epoch) for epoch in (1, 2, 3)
    ]
    assert "test/roc_auc" not in run.data.metrics


def test_projecting_twice_adds_nothing(storage: Path, digits: StoreInfo) -> None:
    trial_files(storage / "trials" / "t1")
    trial = entry(evaluation_dataset="other")
    tables = ("runs", "metrics", "latest_metrics", "params", "tags", "inputs", "datasets", "experiments")
    project(storage, trial)
    before = {table: rows(storage, table) for table in tables}
    shown = artifacts(storage, runs(storage)["digits-b64"])
    project(storage, trial)
    assert {table: rows(storage, table) for table in tables} == before
    assert before["metrics"] == 3 * 5
    assert artifacts(storage, runs(storage)["digits-b64"]) == shown


def test_live_epochs_and_the_files_are_one(storage: Path) -> None:
    files = trial_files(storage / "trials" / "t1", finished=False)
    tracker = Tracker.open(None, storage=storage)
    begin(tracker)
    tracker.start_trial(entry(), SweepStorage(storage))
    for record in files.epochs():
        tracker.submit_epoch("t1", record)
    files.write_final(final_record(3))
    tracker.finish_trial("t1")
    tracker.finish_sweep()
    assert tracker.close(30.0) == 0
    assert rows(storage, "metrics") == 3 * 5
    assert runs(storage)["digits-b64"].info.status == "FINISHED"


def test_an_epoch_that_was_trained_again_is_shown_once(storage: Path) -> None:
    """Its record was lost: the new one has another time, and the same numbers."""
    files = trial_files(storage / "trials" / "t1", finished=False)
    tracker = Tracker.open(None, storage=storage)
    begin(tracker)
    for first in (1, 2):  # two attempts
        tracker.start_trial(entry(), SweepStorage(storage))
        for record in files.epochs()[first - 1 :]:
            tracker.submit_epoch("t1", record.model_copy(update={"time_ms": record.time_ms + 100 * first}))
    tracker.finish_trial("t1", "interrupted")
    tracker.finish_sweep()
    assert tracker.close(30.0) == 0
    assert rows(storage, "metrics") == 3 * 5
    shutil.rmtree(storage / "trials" / "t1" / "epochs")
    files.write_epoch(epoch_record(1).model_copy(update={"metrics": {"train/contrastive_loss": 7.0}}))
    project(storage)
    assert rows(storage, "metrics") == 3 * 5 + 1, "other numbers are another training, and are shown"


def test_a_failure_is_shown_and_goes_when_it_is_overcome(storage: Path) -> None:
    files = trial_files(storage / "trials" / "t1", finished=False)
    files.write_failure(FailureRecord(time_ms=1_700_000_005_000, kind="out_of_memory", message="take batch 32"))
    project(storage)
    run = runs(storage)["digits-b64"]
    assert run.info.status == "FAILED"
    assert run.data.tags["sweep.failure_kind"] == "out_of_memory"
    assert run.data.tags["sweep.failure_message"] == "take batch 32"
    files.write_final(final_record(3))
    project(storage)
    run = runs(storage)["digits-b64"]
    assert run.info.status == "FINISHED"
    assert "sweep.failure_kind" not in run.data.tags


def test_a_stopped_trial_is_told_so(storage: Path) -> None:
    trial_files(storage / "trials" / "t1", finished=False)
    project(storage, status="stopped")
    run = runs(storage)["digits-b64"]
    assert (run.info.status, run.data.tags["sweep.status"]) == ("KILLED", "stopped")


@pytest.mark.parametrize("finished", [False, True])
def test_trials_in_the_middle_end_with_an_interrupted_sweep(storage: Path, finished: bool) -> None:
    trial_files(storage / "trials" / "t1", finished=finished)
    tracker = Tracker.open(None, storage=storage)
    begin(tracker)
    tracker.start_trial(entry(), SweepStorage(storage))
    tracker.finish_sweep("interrupted")
    assert tracker.close(30.0) == 0
    run = runs(storage)["digits-b64"]
    expected = ("FINISHED", "finished") if finished else ("KILLED", "interrupted")
    assert (run.info.status, run.data.tags["sweep.status"]) == expected
    assert run.data.metrics  # what it had until then


def test_a_deleted_child_is_made_again_while_the_sweep_runs(storage: Path) -> None:
    trial_files(storage / "trials" / "t1")
    tracker = Tracker.open(None, storage=storage)
    begin(tracker)
    tracker.start_trial(entry(), SweepStorage(storage))
    deadline = time.monotonic() + 20.0
    while tracker.missing and time.monotonic() < deadline:
        time.sleep(0.05)
    client = TrackingStore.choose(None, storage=storage, experiment="sweep").client()
    client.delete_run(runs(storage)["digits-b64"].info.run_id)
    tracker.write_trial(entry(), SweepStorage(storage))
    assert tracker.close(30.0) == 0
    assert runs(storage)["digits-b64"].info.status == "FINISHED"


def test_values_become_text() -> None:
    assert flattened({"a": {"b": 1}, "c": (0.5, 1.0), "d": None}) == {"a.b": "1", "c": "[0.5, 1.0]"}


# Which store


def test_the_argument_wins_over_the_environment_and_that_over_the_storage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def chosen(uri: str | None) -> tuple[str, str]:
        store = TrackingStore.choose(uri, storage=tmp_path, experiment="sweep")
        return store.uri, store.why

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://environment:5000/")
    assert chosen("http://argument:5000") == ("http://argument:5000", "from --tracking-uri")
    assert chosen(None) == ("http://environment:5000", "from MLFLOW_TRACKING_URI")
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert chosen(None) == (f"sqlite:///{tmp_path}/mlflow.db", "the default, a file in the storage")


def test_artifacts_lie_beside_the_database_and_a_server_decides_for_itself(tmp_path: Path) -> None:
    def location(uri: str) -> str | None:
        return TrackingStore.choose(uri, storage="elsewhere", experiment="sweep").artifact_location

    assert location(f"sqlite:///{tmp_path}/mlflow.db") == artifacts_folder(tmp_path).as_uri()
    assert location("http://server:5000") is None


def test_an_object_store_holds_no_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    store = TrackingStore.choose(None, storage="mock:///bucket/sweeps", experiment="sweep")
    assert store.database == tracking_database(DEFAULT_STORAGE)
    assert "can't hold a database" in store.why


@pytest.mark.parametrize("uri", ["http://127.0.0.1:{port}", "./mlruns", "strange://place"])
def test_a_store_that_does_not_answer_is_bad_input_at_once(tmp_path: Path, uri: str) -> None:
    with socket.socket() as taken:  # bound but not listening: refused
        taken.bind(("127.0.0.1", 0))
        started = time.monotonic()
        with pytest.raises(BadInputError, match="can't be used"):
            Tracker.open(uri.format(port=taken.getsockname()[1]), storage=tmp_path)
    assert time.monotonic() - started < 10.0


def test_opening_leaves_the_settings_of_the_probe_behind(storage: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "77")
    Tracker.open(None, storage=storage).close(1.0)
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "77"
    assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "1"


def test_a_deleted_experiment_says_how_to_restore_it(storage: Path) -> None:
    Tracker.open(None, storage=storage).close(1.0)
    store = TrackingStore.choose(None, storage=storage, experiment="sweep")
    client = store.client()
    client.delete_experiment(store.experiment_id(client))
    with pytest.raises(BadInputError, match="experiments restore"):
        Tracker.open(None, storage=storage)


def test_the_pages_need_a_store_that_is_there_and_no_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(BadInputError, match="run a sweep first"):
        served_store(None, tmp_path)
    with pytest.raises(BadInputError, match="is a server already"):
        served_store("http://server:5000", tmp_path)


# A real server


@pytest.mark.slow
def test_a_server_shows_it_and_its_death_costs_nothing(storage: Path, caplog: pytest.LogCaptureFixture) -> None:
    Tracker.open(None, storage=storage).close(1.0)
    trial_files(storage / "trials" / "t1")
    with Server(served_store(None, storage)) as server:
        tracker = Tracker.open(server.url, storage=storage)
        begin(tracker)
        tracker.write_trial(entry(), SweepStorage(storage))
        deadline = time.monotonic() + 60.0
        while tracker.missing and time.monotonic() < deadline:
            time.sleep(0.1)
        assert tracker.missing == 0
        assert rows(storage, "metrics") == 3 * 5
    started = time.monotonic()
    tracker.start_trial(entry("t2"), SweepStorage(storage))
    tracker.submit_epoch("t2", epoch_record(1))
    tracker.finish_trial("t2")
    tracker.finish_sweep()
    assert time.monotonic() - started < 1.0
    assert tracker.close(30.0) == 4
    assert "4 writes to MLflow" in caplog.text
    assert "Connection refused" in caplog.text.partition("4 writes to MLflow")[2], "with the reason"
    # Later, from the files:
    tracker = Tracker.open(None, storage=storage)
    begin(tracker)
    tracker.write_trial(entry(), SweepStorage(storage))
    tracker.write_trial(entry("t2"), SweepStorage(storage))
    tracker.finish_sweep()
    assert tracker.close(60.0) == 0
    assert rows(storage, "metrics") == 2 * 3 * 5
    assert rows(storage, "runs") == 3


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL])
def test_the_pages_end_without_leaving_a_process(storage: Path, number: signal.Signals) -> None:
    program = subprocess.Popen(
        [sys.executable, "-m", "sweep.ui", "--storage", str(storage)], stdout=subprocess.PIPE, text=True
    )
    assert program.stdout is not None
    with program.stdout:
        assert program.stdout.readline().startswith("http://127.0.0.1:")
        servers = processes_with(f"sqlite:///{tracking_database(storage)}")
        assert servers
        program.send_signal(number)
        assert program.wait(30.0) == (-number if number == signal.SIGKILL else 0)
    deadline = time.monotonic() + (10.0 if number == signal.SIGKILL else 0.0)
    while left := [server for server in servers if Path(f"/proc/{server}").exists()]:
        assert time.monotonic() < deadline, left
        time.sleep(0.1)
    assert not processes_with(str(tracking_database(storage)))


@pytest.mark.slow
def test_the_pages_are_their_own_whoever_listens_and_whatever_proxy_is_set(storage: Path) -> None:
    """With a real second server at the port, on this address and on all, and a proxy that answers nothing."""
    with socket.socket() as dead:
        dead.bind(("127.0.0.1", 0))
        proxy = f"http://127.0.0.1:{dead.getsockname()[1]}"
    names = ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY")
    environment = {**os.environ, **dict.fromkeys(names, proxy), "no_proxy": ""}
    command = [sys.executable, "-m", "sweep.ui", "--storage", str(storage)]
    for address in ("127.0.0.1", "0.0.0.0"):
        other = ThreadingHTTPServer((address, 0), SimpleHTTPRequestHandler)
        threading.Thread(target=other.serve_forever, daemon=True).start()
        try:
            taken = str(other.server_port)
            done = subprocess.run(
                [*command, "--port", taken], env=environment, capture_output=True, text=True, timeout=60, check=False
            )
        finally:
            other.shutdown()
            other.server_close()
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(f"error: --port {taken}: can't be used")
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        assert program.stdout.readline().startswith("http://127.0.0.1:")
        program.terminate()
        assert program.wait(30.0) == 0


@pytest.mark.slow
def test_several_programs_may_open_a_fresh_file_at_once(tmp_path: Path) -> None:
    code = "import sys; from sweep.tracking.tracker import Tracker; Tracker.open(None, storage=sys.argv[1]).close(1.0)"
    environment = {key: value for key, value in os.environ.items() if key != "MLFLOW_TRACKING_URI"}
    command = [sys.executable, "-c", code, str(tmp_path)]
    programs = [subprocess.Popen(command, env=environment) for _ in range(4)]
    assert [program.wait(120.0) for program in programs] == [0, 0, 0, 0]


def processes_with(text: str) -> list[int]:
    """Return the processes that have a text in their command line or environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            content = (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()
        except OSError:
            continue
        if text.encode() in content:
            found.append(int(folder.name))
    return found


def test_metrics_that_mlflow_refuses_are_named_and_the_others_of_their_batch_written(
    storage: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = trial_files(storage / "trials" / "t1", epochs=0, finished=False)
    many = {f"test/metric{number}": number / 10 for number in range(9)}
    refused = {"test/ends/": 0.5, "test/a?b": 0.5}
    record = EpochRecord(epoch=1, time_ms=1_700_000_000_001, seconds=1.0, metrics={**many, **refused})
    files.write_epoch(record)
    assert project(storage) == 0, "nothing is tried again"
    run = runs(storage)["digits-b64"]
    assert many.items() <= run.data.metrics.items()
    assert not refused.keys() & run.data.metrics.keys()
    said = sorted(one.getMessage() for one in caplog.records if "refused by MLflow" in one.getMessage())
    assert said == [f"metric {name} of digits-b64 refused by MLflow" for name in sorted(refused)]
