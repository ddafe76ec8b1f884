"""Who runs a sweep, and steering it, through the storage alone."""

import json
import os
import signal
import subprocess
import sys
import time
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console
from support.paths import ROOT

from sweep.records import lease as lease_module
from sweep.records.lease import LeaseHolder, lease, leases
from sweep.records.present_results import present_results
from sweep.records.status import LiveState, LiveTrial
from sweep.records.stop_requests import EVERYTHING, request_stop, stops
from sweep.records.sweep_storage import SweepStorage
from sweep.running.trials_table import draw_trials, shown_columns
from sweep.status import _headline
from trainables.errors import BadInputError
from trainables.metrics.names import CONTRASTIVE_LOSS, GPU_MEMORY
from trainables.storage.trial_records import EpochRecord, now_ms


@pytest.fixture
def storage(tmp_path: Path) -> SweepStorage:
    return SweepStorage(tmp_path)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_module, "BEAT_SECONDS", 0.05)
    monkeypatch.setattr(lease_module, "WATCH_SECONDS", 0.5)


def wait_until(true: object) -> None:
    deadline = time.monotonic() + 10
    while not true():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.02)


def rewrite(storage: SweepStorage, name: str, **changes: object) -> None:
    path = f"live/{name}.json"
    content = storage.storage.read(path)
    assert content is not None
    storage.storage.write(path, json.dumps({**json.loads(content), **changes}).encode())


def test_a_sweep_that_runs_is_refused_and_one_that_ended_is_not(storage: SweepStorage) -> None:
    with LeaseHolder(storage, "mine"):
        with (
            pytest.raises(BadInputError, match=rf"sweep mine: is running already \(process {os.getpid()} on "),
            LeaseHolder(storage, "mine"),
        ):
            pass
        with LeaseHolder(storage, "other"):
            assert {one.name for one in leases(storage)} == {"mine", "other"}
    assert lease(storage, "mine") is None
    with LeaseHolder(storage, "mine"):
        pass


def test_a_dead_process_or_a_silent_machine_holds_nothing(storage: SweepStorage) -> None:
    code = "import os, sys; from sweep.records.lease import LeaseHolder\n"
    code += "from sweep.records.sweep_storage import SweepStorage\n"
    code += f"LeaseHolder(SweepStorage({str(storage.storage.root)!r}), 'mine').__enter__(); os._exit(1)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=False, timeout=60)
    left = lease(storage, "mine")
    assert left is not None
    assert not left.alive
    rewrite(storage, "mine", host="elsewhere")
    assert lease(storage, "mine").alive  # type: ignore[union-attr]
    rewrite(storage, "mine", host="elsewhere", time_ms=left.time_ms - 31_000)
    with LeaseHolder(storage, "mine"):
        assert lease(storage, "mine").token != left.token  # type: ignore[union-attr]


def test_a_stopped_owner_is_no_dead_one(storage: SweepStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_module, "BEAT_SECONDS", 60.0)  # what is written below stays
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        process.send_signal(signal.SIGSTOP)
        os.waitpid(process.pid, os.WUNTRACED)
        try:
            with LeaseHolder(storage, "mine"):
                rewrite(storage, "mine", process=process.pid, process_start="", time_ms=now_ms() - 40_000)
                held = lease(storage, "mine")
                assert held is not None
                assert (held.alive, held.ended, held.stopped) == (False, False, True)
                said = _headline("mine", None, held, "")
                assert f"process {process.pid} on {held.host} is stopped; kill -CONT {process.pid} (or fg)" in said
                process.send_signal(signal.SIGCONT)
                os.waitpid(process.pid, os.WCONTINUED)
                assert "its process is gone" in _headline("mine", None, held, "")
        finally:
            process.kill()


def test_of_two_that_took_it_the_first_gives_way(storage: SweepStorage) -> None:
    with LeaseHolder(storage, "mine") as first:
        rewrite(storage, "mine", token="another", host="elsewhere", time_ms=time.time_ns() // 1_000_000 + 5000)
        wait_until(lambda: first.taken_over)
        assert "on elsewhere" in first.taken_over
    assert lease(storage, "mine") is not None, "the other one's lease stays"


def test_a_trial_is_trained_by_one_sweep(storage: SweepStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_module, "BEAT_SECONDS", 60.0)  # what is written below stays
    with LeaseHolder(storage, "one") as one, LeaseHolder(storage, "two") as two:
        assert one.claim("trial")
        assert not two.claim("trial")
        assert two.claim("another")
        one.release("trial")
        assert two.claim("trial")
        rewrite(storage, "two", host="elsewhere", time_ms=0)
        assert one.claim("trial"), "a sweep that is silent trains nothing"


def test_a_begun_trial_is_interrupted_unless_a_running_sweep_claims_it(storage: SweepStorage) -> None:
    files = storage.trial("trial")
    record: Any = SimpleNamespace(trials=[SimpleNamespace(trial_id="trial", folder="trial")])
    files.write_epoch(EpochRecord(epoch=1, time_ms=0, seconds=1.0, metrics={}))
    with LeaseHolder(storage, "mine") as mine:
        assert present_results(record, storage)["trial"].status == "interrupted"
        assert mine.claim("trial")
        assert present_results(record, storage)["trial"].status == "running"
    assert present_results(record, storage)["trial"].status == "interrupted"


def test_stops_are_heard_and_forgotten_by_the_next_run(storage: SweepStorage) -> None:
    with LeaseHolder(storage, "mine") as live:
        request_stop(storage, "mine", "abc")
        request_stop(storage, "mine")
        wait_until(lambda: live.asked_to_stop() == {"abc", EVERYTHING})
    with LeaseHolder(storage, "mine") as live:
        assert stops(storage, "mine") == []
        assert live.asked_to_stop() == set()


def test_others_see_how_it_stands(storage: SweepStorage) -> None:
    with LeaseHolder(storage, "mine") as live:
        state = LiveState(counts={"running": 2}, trials=(), device_hours=1.5, left_seconds=None, stopping="")
        live.show(lambda: state)
        wait_until(lambda: lease(storage, "mine").state == state)  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".hidden", "a b"])
def test_a_name_cannot_leave_its_folder(storage: SweepStorage, name: str) -> None:
    with pytest.raises(BadInputError, match="use the letters"):
        storage.sweep(name)


def test_the_table_shows_what_trials_take_of_their_gpus_where_they_have_some() -> None:
    def table(**metrics: float) -> str:
        console = Console(file=StringIO(), width=160)
        trial = LiveTrial(
            trial_id="a",
            name="b64",
            state="running",
            epoch=1,
            epochs=2,
            metrics=metrics,
            attempt=1,
            left_seconds=None,
            note="",
        )
        console.print(draw_trials([trial], {"running": 1}, shown_columns("val/knn_top1"), 90.0))
        return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]

    assert "gpu" not in table(**{CONTRASTIVE_LOSS: 4.5})
    with_gpu = table(**{CONTRASTIVE_LOSS: 4.5, GPU_MEMORY: 11.26})
    assert "memory" in with_gpu
    assert "11.3" in with_gpu
    assert "about 1 min 30 s left" in with_gpu
