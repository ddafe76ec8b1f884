"""Each kind of record, damaged in each way: every command names the file once and goes on with the rest."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from support.small_sweeps import SMALL_SPACE

from sweep.compare import load
from sweep.compare import main as compare
from sweep.planning.launch import LaunchOptions, plan_of
from sweep.records import lease as lease_module
from sweep.records.end_report import write_end_report
from sweep.records.removal import plan_removal
from sweep.records.status import state_of
from sweep.records.sweep_record import SweepRecord, describe
from sweep.records.sweep_storage import SweepStorage
from sweep.records.trial_result import result_of
from sweep.run import main as run
from sweep.space import written
from sweep.status import main as status
from trainables.config import TrialConfig
from trainables.data.store import ImageStore
from trainables.errors import BadInputError
from trainables.storage import record_files
from trainables.storage.deferred_writes import DeferredWrites
from trainables.storage.trial_records import AttemptRecord, FailureRecord, now_ms
from trainables.training.trial import train

NOBODY = 65534
LEASE = {
    **{"name": "mine", "token": "aa", "host": "elsewhere", "process": 1, "started_ms": 1, "time_ms": 1},
    **{"claims": ["aa"], "state": None},
}


@pytest.fixture(scope="module")
def made(store: ImageStore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SweepStorage]:
    """A sweep with all kinds of records, of which the last setting failed before it began, and another sweep."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SWEEP_DATA", str(store.path.parent))
        launch = LaunchOptions(space="small", written=written(SMALL_SPACE))
        plan = plan_of(launch)
        storage = SweepStorage(folder)
        for name in ("other", "mine"):
            storage.write_sweep(describe(plan, name=name, command="", commit=None, versions={}, launch=launch))
            write_end_report(storage, name, "")
        storage.storage.write("live/mine.json", json.dumps(LEASE).encode())
        record = storage.record("mine")
        settings = [entry for entry in record.trials if entry.baseline is None]
        for entry in record.trials:
            files = storage.trial_of(entry)
            last = entry is settings[-1]
            if not last:
                config = TrialConfig.parse(entry.config)
                list(train(config, store=store, files=files, device=torch.device("cpu")))
            else:
                files.write_failure(FailureRecord(time_ms=now_ms(), kind="crash", message="it fell over"))
            outcome, message = ("crash", "it fell over") if last else ("finished", "")
            times = {"started_ms": now_ms() - 3_600_000, "ended_ms": now_ms()}
            files.write_attempt(AttemptRecord(number=1, sweep="mine", outcome=outcome, message=message, **times))
        storage.write_stopped("mine", settings[-1].trial_id, "asked to stop", backlog := DeferredWrites())
        backlog.flush()
        yield storage


@pytest.fixture
def copied(
    made: SweepStorage, store: ImageStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[SweepRecord, SweepStorage]:
    monkeypatch.setenv("SWEEP_DATA", str(store.path.parent))
    monkeypatch.setattr(lease_module, "WATCH_SECONDS", 0.1)
    monkeypatch.setattr(lease_module, "GLANCE_SECONDS", 0.1)
    shutil.copytree(made.storage.root, tmp_path / "storage")
    storage = SweepStorage(tmp_path / "storage")
    return storage.record("mine"), storage


def empty(path: Path) -> None:
    path.write_bytes(b"")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def noise(path: Path) -> None:
    path.write_bytes(b"\x00\xff\x8b\x1f" * 200)


def no_record(path: Path) -> None:
    path.write_text("[1, 2]")


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "somebody's").touch()


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


DAMAGES = [empty, cut, noise, no_record, folder, pipe]
RECORDS = {
    "last epoch": "trials/{first}/epochs/000002.json",
    "first epoch": "trials/{first}/epochs/000001.json",
    "epoch of a baseline": "trials/{pixels}/epochs/000000.json",
    "config": "trials/{first}/config.json",
    "attempt": "trials/{first}/attempts/000001.json",
    "final": "trials/{first}/final.json",
    "failure": "trials/{last}/failure.json",
    "stop": "sweeps/mine/stopped/{last}.json",
    "end": "sweeps/mine/on_end.json",
    "another sweep": "sweeps/other/sweep.json",
    "lease": "live/mine.json",
    "another lease": "live/other.json",
}


def path_of(kind: str, record: SweepRecord, storage: SweepStorage) -> Path:
    settings = [entry for entry in record.trials if entry.baseline is None]
    pixels = next(entry for entry in record.trials if entry.baseline is not None)
    folders = {"first": settings[0].folder, "last": settings[-1].folder, "pixels": pixels.folder}
    path = Path(storage.storage.root, RECORDS[kind].format(**folders))
    if not path.exists():
        path.write_text(json.dumps(LEASE))
    return path


def commands(address: str) -> dict[str, Callable[[], Any]]:
    return {
        "status": lambda: status("mine", storage=address),
        "status of the latest": lambda: status(storage=address),
        "status --json": lambda: status("mine", storage=address, as_json=True),
        "compare": lambda: compare(["mine"], storage=address, html=None),
        "resume --dry-run": lambda: run(resume="mine", storage=address, dry_run=True),
    }


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("kind", RECORDS)
def test_a_damaged_record_is_named_once_and_the_rest_goes_on(
    copied: tuple[SweepRecord, SweepStorage],
    kind: str,
    damage: Callable[[Path], None],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    record, storage = copied
    damage(path := path_of(kind, record, storage))
    named = 0
    for name, command in commands(storage.storage.root).items():
        monkeypatch.setattr(record_files, "_named", set())
        caplog.clear()
        command()
        lines = [one.getMessage() for one in caplog.records if str(path) in one.getMessage()]
        assert len(lines) <= 1, name
        assert all("\n" not in line for line in lines), name
        named += len(lines)
    assert named or kind in ("config", "another lease"), "no command reads it"


@pytest.mark.parametrize("kind", ["last epoch", "first epoch", "config", "attempt", "failure", "stop"])
def test_what_is_known_elsewhere_is_taken_from_there(copied: tuple[SweepRecord, SweepStorage], kind: str) -> None:
    """An epoch and the data from the checkpoint, a failure and a stop from the attempt; of an attempt nothing is."""
    record, storage = copied
    before, state = load("mine", storage=storage.storage.root), state_of(record, storage)
    empty(path_of(kind, record, storage))
    after = load("mine", storage=storage.storage.root)
    assert before.epochs.equals(after.epochs)
    assert storage.trial_of(record.trials[0]).fingerprint() is not None
    assert state_of(record, storage).counts == state.counts
    lost = 1.0 if kind == "attempt" else 0.0
    assert state_of(record, storage).device_hours == pytest.approx(state.device_hours - lost, abs=1e-3)


def test_a_run_writes_a_torn_epoch_again_and_a_reader_writes_nothing(copied: tuple[SweepRecord, SweepStorage]) -> None:
    record, storage = copied
    path = path_of("last epoch", record, storage)
    whole = path.read_bytes()
    empty(path)
    result_of(storage.trial_of(record.trials[0]))
    assert path.read_bytes() == b""
    mending = SweepStorage(storage.storage.root, mends=True)
    (entry,) = (entry for entry in record.trials if entry.folder in str(path))
    assert mending.trial_of(entry).finished() is not None
    assert path.read_bytes() == whole


@pytest.mark.parametrize(
    ("kind", "damage", "checkpoints"),
    [
        ("final", folder, True),
        ("last epoch", empty, True),
        ("first epoch", folder, True),
        ("first epoch", empty, True),
        ("last epoch", empty, False),
    ],
)
def test_a_trial_goes_on_and_writes_what_is_torn_with_the_same_metrics(
    copied: tuple[SweepRecord, SweepStorage],
    store: ImageStore,
    kind: str,
    damage: Callable[[Path], None],
    checkpoints: bool,
) -> None:
    record, storage = copied
    path = path_of(kind, record, storage)
    (entry,) = (entry for entry in record.trials if entry.folder in str(path))
    files = storage.trial_of(entry)
    metrics = [epoch.metrics for epoch in files.epochs()]
    damage(path)
    final = path_of("final", record, storage)
    if kind == "first epoch":
        final.unlink()
    if not checkpoints:
        shutil.rmtree(path.parents[1] / "checkpoints" if kind != "final" else path.parent / "checkpoints")
    finished = files.finished()
    assert (finished is not None) == (kind == "last epoch" and checkpoints)
    list(train(TrialConfig.parse(entry.config), store=store, files=files, device=torch.device("cpu")))
    assert files.finished() is not None
    repeated = [{k: v for k, v in epoch.metrics.items() if "images_per_second" not in k} for epoch in files.epochs()]
    before = [{k: v for k, v in epoch.items() if "images_per_second" not in k} for epoch in metrics]
    assert str(repeated) == str(before)  # NaN is NaN


def test_a_finished_trial_whose_last_epoch_is_lost_is_no_result(copied: tuple[SweepRecord, SweepStorage]) -> None:
    record, storage = copied
    path = path_of("last epoch", record, storage)
    empty(path)
    shutil.rmtree(path.parents[1] / "checkpoints")
    (entry,) = (entry for entry in record.trials if entry.folder in str(path))
    assert result_of(storage.trial_of(entry)).status == "running"


def test_files_of_other_programs_are_no_records(
    copied: tuple[SweepRecord, SweepStorage], caplog: pytest.LogCaptureFixture
) -> None:
    record, storage = copied
    before = load("mine", storage=storage.storage.root)
    folders = [path for path in Path(storage.storage.root).rglob("*") if path.is_dir()]
    for place in [Path(storage.storage.root), *folders]:
        for name in (".DS_Store", ".nfs00000abc", "Thumbs.db", "000001.json~", "._000001.json", "desktop.ini"):
            (place / name).write_bytes(b"\x00Bud1")
    for command in commands(storage.storage.root).values():
        command()
    assert storage.sweep_names() == ["other", "mine"]
    assert before.epochs.equals(load("mine", storage=storage.storage.root).epochs)
    assert caplog.records == []
    assert plan_removal(storage, record).shared


def test_fields_of_a_later_version_are_kept_and_said_once(
    copied: tuple[SweepRecord, SweepStorage], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, storage = copied
    monkeypatch.setattr(record_files, "_named", set())
    for path in Path(storage.storage.root).rglob("*.json"):
        content = json.loads(path.read_text())
        for one in (content, content.get("launch") or {}, *content.get("trials", ()), content.get("config") or {}):
            one["later"] = {"x": 1}
        for one in content.get("trials", ()):
            one["config"]["later"] = 2
        path.write_text(json.dumps(content))
    for command in commands(storage.storage.root).values():
        command()
    assert len(caplog.records) == 7, "one for each kind of record"
    again = record.keeping(storage.record("mine"))
    kept = json.loads(again.model_dump_json())
    assert kept["later"] == kept["launch"]["later"] == kept["trials"][0]["later"] == {"x": 1}
    assert kept["trials"][0]["config"]["later"] == 2
    files = storage.trial_of(record.trials[0])
    files.write_config(dict(record.trials[0].config), "aa")
    written_again = json.loads((files.storage.read("config.json") or b"").decode())
    assert written_again["later"] == written_again["config"]["later"] == {"x": 1}


def test_a_format_that_this_version_does_not_read_is_named(
    copied: tuple[SweepRecord, SweepStorage], caplog: pytest.LogCaptureFixture
) -> None:
    record, storage = copied
    path = path_of("first epoch", record, storage)
    path.write_text(json.dumps({"epoch": {"number": 1}, "time": "2031-01-01"}))
    status("mine", storage=storage.storage.root)
    assert "isn't a record that this version reads: epoch: must be" in caplog.text


def test_many_faults_of_one_record_are_one_short_line(copied: tuple[SweepRecord, SweepStorage]) -> None:
    _, storage = copied
    path = Path(storage.storage.root) / "sweeps/mine/sweep.json"
    content = json.loads(path.read_text())
    for one in content["trials"]:
        one["stage"] = one["steps"] = -1
    path.write_text(json.dumps(content))
    with pytest.raises(BadInputError, match=r"trials\.0\.stage: must be .*; and \d+ more") as caught:
        storage.record("mine")
    assert len(str(caught.value)) < 500 + len(str(path))


def test_a_torn_sweep_is_named_with_what_to_do_and_its_space_writes_it_again(
    copied: tuple[SweepRecord, SweepStorage],
) -> None:
    _, storage = copied
    cut(Path(storage.storage.root) / "sweeps/mine/sweep.json")
    for command in (lambda: status("mine", storage=storage.storage.root), lambda: storage.record("mine")):
        with pytest.raises(BadInputError, match=r"cut or damaged .* python -m sweep\.run --space SPACE --name mine"):
            command()
    assert storage.whole_sweep("mine") is None


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
def test_a_record_that_this_user_may_not_read_costs_a_line(
    made: SweepStorage, store: ImageStore, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tempfile

    monkeypatch.setenv("SWEEP_DATA", "/nonexistent")
    monkeypatch.setattr(lease_module, "GLANCE_SECONDS", 0.1)
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        shutil.copytree(made.storage.root, root := Path(place, "storage"))
        for path in (root, *root.rglob("*")):
            path.chmod(0o755)
        storage = SweepStorage(root)
        record = storage.record("mine")
        for kind in ("first epoch", "attempt", "final", "another sweep"):
            path_of(kind, record, storage).chmod(0o600)
        hidden = root / "trials" / next(entry.folder for entry in record.trials if entry.baseline is not None)
        hidden.chmod(0o700)
        os.seteuid(NOBODY)
        try:
            for name in ("mine", None):
                status(name, storage=str(root))
            compare(["mine"], storage=str(root))
        finally:
            os.seteuid(0)
    assert caplog.text.count("it can't be read by this user") == 4


def test_a_sweep_of_another_user_is_no_damaged_one(
    swept: tuple[SweepRecord, SweepStorage], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Writing its record again, which helps a damaged one, isn't this user's to do."""
    monkeypatch.setattr(os, "access", lambda *_, **__: False)
    with pytest.raises(BadInputError, match="can't be read by this user; ask its owner for access, or name another -"):
        swept[1].record("mine")


def test_an_entry_without_its_data_set_is_damaged(swept: tuple[SweepRecord, SweepStorage]) -> None:
    entry = swept[0].trials[0]
    with pytest.raises(ValidationError, match=r"config\.dataset: missing"):
        type(entry).model_validate({**entry.model_dump(), "config": {"x": {"y": []}}})
