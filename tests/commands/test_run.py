"""The command: every bad input is one clear error before anything starts, and a real sweep goes end to end."""

import json
import os
import shutil
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from support.paths import ROOT

from sweep.cluster import connection, joined_cluster
from sweep.comparison.ranking import compare
from sweep.records.paths import tracking_database
from sweep.records.sweep_storage import SweepStorage
from sweep.records.trial_result import TrialResult, result_of
from sweep.run import main
from sweep.running.run_request import on_end_hook
from trainables.config import TrialConfig
from trainables.data.store import ImageStore
from trainables.errors import BadInputError
from trainables.metrics.names import OF_THE_MACHINE
from trainables.storage.filesystem import Storage
from trainables.storage.trial_files import TrialFiles
from trainables.storage.trial_records import EpochRecord
from trainables.training.trial import train

TINY = (
    *("--set", "epochs=1", "--set", "warmup_epochs=0", "--set", "max_train_images=128", "--set", "max_test_images=64"),
    *("--set", "batch_size=32", "--set", "width_factor=0.125", "--set", "seed=0", "--set", "label_draw=0"),
)

WITHOUT_BASELINES = """
from dataclasses import replace
from search_spaces.quickstart import SPACE as QUICKSTART
SPACE = replace(QUICKSTART, baselines=())
"""


@pytest.fixture
def data(store: ImageStore, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SWEEP_DATA", str(store.path.parent))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return store.path.parent


def sweep_run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sweep.run", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"space": "nope"}, r"space 'nope': unknown; known: "),
        ({"assignments": ["foo=1"]}, r"--set foo=1: unknown field 'foo'; known fields: dataset, "),
        ({"assignments": ["temperature"]}, r"--set temperature: must be field=value"),
        ({"assignments": ["epochs=many"]}, r"epochs: must be a valid integer.*'many'"),
        ({"assignments": ["temperature=0"]}, r"temperature: must be greater than 0, got 0"),
        ({"assignments": ["batch_size=4096"]}, r"batch_size: 4096 is larger than the 1211 train images of digits"),
        ({"workers": "65"}, r"batch_size: 32 is less than one image for 65 workers"),
        ({"workers": "2:1"}, r"--workers '2:1': the maximum must be above the minimum"),
        ({"workers": "two"}, r"--workers 'two': give a number, or MINIMUM:MAXIMUM as in 2:8"),
        ({"gpu_hours": 0.0}, r"--gpu-hours: must be above 0, got 0"),
        ({"space": None}, r"--space: name a search space, or --resume a sweep"),
        ({"resume": "nope"}, r"--storage .*: no sweep here"),
        ({"assignments": ["dataset=nothing"]}, r"dataset: 'nothing' is unknown; known: digits, tiny_imagenet"),
        (
            {"assignments": ["dataset=eurosat"]},
            r"'eurosat' is not prepared.*sweep.data prepare eurosat .downloads it",
        ),
        ({"assignments": ["positive=round"]}, r"positive 'round': neither a rule nor a class of digits"),
        ({"storage": "/proc/nowhere"}, r"--storage /proc/nowhere: can't be written"),
        ({"tracking_uri": "http://127.0.0.1:9"}, r"tracking URI 'http://127.0.0.1:9'.*can't be used"),
        ({"workers": "32"}, r"--workers 32: needs 32 cores"),
        ({"assignments": ["precision=tf32"], "device": "cpu"}, r"precision: 'tf32' needs GPUs, the trials run on CPUs"),
        ({"device": "gpu", "workers": "32"}, r"--workers 32: needs 32 GPUs, there are \d+"),
        ({"address": "127.0.0.1:9"}, r"address '127.0.0.1:9': no Ray cluster answers there"),
        ({"name": "a/b"}, r"sweep 'a/b': use the letters"),
        ({"name": "x" * 300}, r"sweep x{20}\.\.\.: has 300 characters, the limit is 160"),
        ({"storage": ""}, r"storage '': is empty .a variable that isn't set"),
        ({"storage": "s3:/sweeps"}, r"storage 's3:/sweeps': a URI begins with s3://"),
        (
            {"gpu_memory": float("inf"), "dry_run": True, "device": "gpu"},
            r"--gpu-memory: must be a finite number of GiB",
        ),
        ({"memory": float("inf"), "dry_run": True}, r"--memory: must be a finite number, got inf"),
    ],
)
def test_bad_input_is_one_clear_error(data: Path, tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        main(**{"space": "quickstart", "storage": str(tmp_path / "storage"), **options})
    assert not list(tmp_path.glob("storage/trials"))


@pytest.mark.parametrize(
    ("resources", "options", "message"),
    [
        ({"CPU": 1.0}, {"workers": "2"}, r"--workers 2: needs 2 cores, there are 1"),
        ({"CPU": 8.0}, {"device": "gpu"}, r"--device gpu: there is no GPU; choose --device cpu"),
        ({"CPU": 8.0}, {"assignments": ["precision=tf32"]}, r"precision: 'tf32' needs GPUs, the trials run on CPUs"),
        ({"CPU": 8.0, "GPU": 1.0}, {"gpu_memory": 0.01}, r"(?s)does not fit: .*0\.01 GiB available.*--memory"),
        ({"CPU": 8.0, "GPU": 1.0}, {"share_gpus": 2}, r"--share-gpus: this machine has no GPU; .*--gpu-memory 80"),
    ],
)
def test_a_cluster_that_is_too_small_is_bad_input_and_nothing_reaches_mlflow(
    data: Path,
    tmp_path: Path,
    mlflow_database: Path,
    monkeypatch: pytest.MonkeyPatch,
    resources: dict[str, float],
    options: dict[str, Any],
    message: str,
) -> None:
    """Its size is known only once it was joined, when MLflow's store is open and the sweep hasn't begun."""
    monkeypatch.setattr(joined_cluster, "check_listening", lambda address: None)
    monkeypatch.setattr(connection, "connect", lambda _, **waiting: nullcontext(resources))
    database = tracking_database(tmp_path / "storage")
    database.parent.mkdir()
    shutil.copy(mlflow_database, database)
    with pytest.raises(BadInputError, match=message):
        main(space="quickstart", storage=str(tmp_path / "storage"), address="127.0.0.1:9", **options)
    assert not list(tmp_path.glob("storage/trials"))
    assert not list(tmp_path.glob("storage/live/*"))


def test_bad_input_exits_with_2_and_without_a_traceback(tmp_path: Path) -> None:
    done = sweep_run(tmp_path, "--space", "quickstart", "--set", "temperature=0", "--set", "epochs=x")
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "error: --set temperature=0: temperature: must be greater than 0, got 0",
        "error: --set epochs=x: epochs: must be a valid integer, unable to parse string as an integer, got 'x'",
    ]
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


def final(storage: SweepStorage, name: str) -> dict[str, TrialResult]:
    record = storage.record(name)
    return {entry.name: result_of(storage.trial(entry.trial_id)) for entry in record.trials}


def assert_alike(ours: list[EpochRecord], theirs: list[EpochRecord]) -> None:
    """Compare to the last bit."""
    for mine, other in zip(ours, theirs, strict=True):
        for name, value in mine.metrics.items():
            if name not in OF_THE_MACHINE:
                assert other.metrics[name] == value, name


@pytest.mark.slow
def test_a_real_sweep_from_space_to_comparison_and_again(data: Path, tmp_path: Path) -> None:
    first = sweep_run(tmp_path, "--space", "quickstart", *TINY, "--max-concurrent", "1")
    assert first.returncode == 0, first.stderr
    storage = SweepStorage(tmp_path / ".sweep")
    results = final(storage, "quickstart")
    assert len(results) == 4
    assert {result.status for result in results.values()} == {"finished"}
    (table,) = compare(storage.record("quickstart"), lambda entry: result_of(storage.trial_of(entry)))
    assert table.axes == ("temperature",)
    assert {row.label for row in table.baselines} == {"untrained encoder", "raw pixels"}
    assert "raw pixels" in first.stdout
    assert "sqlite:///" in first.stdout
    entry = next(entry for entry in storage.record("quickstart").trials if entry.baseline is None)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    files = TrialFiles(Storage.at(tmp_path / "alone"))
    config = TrialConfig.parse(entry.config)
    assert_alike(
        storage.trial_of(entry).epochs(),
        list(train(config, store=ImageStore.open("digits"), files=files, device=torch.device("cpu"))),
    )
    torch.set_num_threads(threads)

    again = sweep_run(tmp_path, "--space", "quickstart", *TINY)
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("finished before, not trained again") == 4
    assert final(storage, "quickstart") == results

    taken = sweep_run(tmp_path, "--space", "quickstart", *TINY, "--set", "temperature=0.1")
    assert taken.returncode == 2
    old, new = (entry.name for entry in storage.record("quickstart").trials if entry.baseline is None), "t0.1"
    for line in (
        *(f"error: - {name} (" for name in old),
        f"error: + digits-b32-{new}-",
        "--resume quickstart --extend",
    ):
        assert line in taken.stderr


def assignments_of(config: dict[str, Any]) -> list[str]:
    """Spell a recorded configuration as a person would type it."""
    texts = []
    for name, value in config.items():
        if value is not None and value != []:
            texts += ["--set", f"{name}={','.join(map(str, value)) if isinstance(value, list) else value}"]
    return texts


@pytest.mark.slow
def test_ray_and_torchrun_give_the_same_metrics(data: Path, tmp_path: Path) -> None:
    """A trial of two workers on Ray and under torchrun: same id, same numbers to the last bit."""
    (tmp_path / "space.py").write_text(WITHOUT_BASELINES)
    done = sweep_run(tmp_path, "--space", "space.py", *TINY, "--set", "temperature=0.5", "--workers", "2")
    assert done.returncode == 0, done.stderr
    storage = SweepStorage(tmp_path / ".sweep")
    (entry,) = storage.record("quickstart").trials
    program = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m"]
    for _ in range(2):  # once more where PyTorch's own threads abort a process: see process_group.on_ranks
        alone = subprocess.run(
            [*program, "trainables.simclr", "--threads", "1", "--output", "alone", *assignments_of(entry.config)],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        if "SIGABRT" not in alone.stderr:
            break
    assert alone.returncode == 0, alone.stderr
    theirs = TrialFiles(Storage.at(tmp_path / "alone" / entry.trial_id)).epochs()
    assert_alike(storage.trial(entry.trial_id).epochs(), theirs)


@pytest.mark.parametrize("address", ["ftp://host/x", "https:/host/x", " s3://bucket/x"])
def test_an_address_that_is_no_url_of_the_web_is_not_run_as_a_command(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWEEP_ON_END", address)
    for typed in (address, None):
        with pytest.raises(BadInputError, match=r"--on-end: a URL begins with http:// or https://"):
            on_end_hook(typed)
    for receiver in ("HTTPS://host/x", "/bin/cat > x", "mail -s http://x me@host"):
        assert on_end_hook(receiver) == receiver


def test_a_plan_is_also_json(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(space="quickstart", dry_run=True, as_json=True)
    plan = json.loads(capsys.readouterr().out)
    settings = [trial for trial in plan["trials"] if trial["baseline"] is None]
    assert (plan["space"], len(settings), plan["to_come"]) == ("quickstart", 8, {"trials": 0, "baselines": 0})
    assert {trial["config"]["temperature"] for trial in settings} == {0.25, 0.5}
    assert all(trial["steps"] > 0 and trial["gib"] > 0 for trial in settings)
    assert plan["summary"][0].startswith("8 trials and 8 baselines: ")
