"""Trials on a real Ray cluster of this process: order, failures, lost processes, warm groups."""

import dataclasses
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sweep.cluster import _descendants, _runs, connect, quiet
from sweep.tasks import TrialShape, TrialTask
from trainables.data.prepare import prepare
from trainables.data.store import ImageStore
from trainables.errors import BadInputError
from trainables.trial_files import EpochRecord, FailureRecord

ONE, TWO = TrialShape(workers=1, threads=1, use_gpu=False), TrialShape(workers=2, threads=1, use_gpu=False)


class Diary:
    """Writes down what it hears."""

    def __init__(self) -> None:
        self.events: list[tuple[Any, ...]] = []
        self.records: dict[str, list[EpochRecord]] = {}
        self.failures: dict[str, FailureRecord] = {}

    def started(self, task: TrialTask) -> None:
        self.events.append(("started", task.name))

    def epoch(self, task: TrialTask, record: EpochRecord) -> None:
        self.events.append(("epoch", task.name, record.epoch))
        self.records.setdefault(task.name, []).append(record)

    def finished(self, task: TrialTask) -> None:
        self.events.append(("finished", task.name))

    def failed(self, task: TrialTask, failure: FailureRecord) -> None:
        self.events.append(("failed", task.name))
        self.failures[task.name] = failure

    def of(self, name: str) -> list[tuple[Any, ...]]:
        """Return what was heard of one trial."""
        return [event for event in self.events if event[1] == name]

    def processes(self, name: str, rank: int = 0) -> list[float]:
        """Return the process id that trained each epoch of a trial."""
        return [record.metrics[f"pid/{rank}"] for record in self.records[name]]


class Sweep:
    """Makes tasks over one tiny store, and runs them."""

    def __init__(self, folder: Path, store: Path) -> None:
        self.folder, self.store = folder, store

    def task(self, name: str, fake: str = "counts", epochs: int = 2) -> TrialTask:
        return TrialTask(
            trial_id=f"id-{name}",
            name=name,
            config={"epochs": epochs, "dataset": "digits"},
            store_address=str(self.store),
            fingerprint=ImageStore(self.store).fingerprint,
            files_address=str(self.folder / "trials" / name),
            entry=f"fake_trainables:{fake}",
        )

    def run(self, *tasks: TrialTask, shape: TrialShape = ONE, max_concurrent: int = 1, listener: Any = None) -> Diary:
        from sweep.tuner import run_trials

        diary = Diary() if listener is None else listener
        run_trials(tasks, shape=shape, max_concurrent=max_concurrent, log_dir=self.folder / "logs", listener=diary)
        return diary


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("stores")
    prepare("digits", root=root, fraction=0.05)
    return root / "digits"


@pytest.fixture(scope="module")
def ray_cluster() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]))
        bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(900)"])
        before = _descendants(os.getpid())
        with connect(None):
            yield
        assert not [process for process in _descendants(os.getpid()) - before if _runs(process)]
        alive = bystander.poll() is None
        bystander.kill()
        bystander.wait()
        assert alive, "a process that Ray didn't start was ended with Ray's"


@pytest.fixture
def sweep(ray_cluster: None, store: Path, tmp_path: Path) -> Sweep:
    return Sweep(tmp_path, store)


def placement_groups() -> list[str]:
    """Return the states of those that hold resources or wait for them."""
    from ray.util import placement_group_table

    return [group["state"] for group in placement_group_table().values() if group["state"] != "REMOVED"]


def test_trials_run_in_order_and_failures_stay_with_their_trial(sweep: Sweep) -> None:
    fakes = {
        "a": "counts",
        "b-raises": "raises",
        "c-diverges": "diverges",
        "d-runs-out": "runs_out",
        "e-bad": "counts",
        "f-killed": "killed_once",
        "g": "counts",
        "h-done": "counts",
    }
    tasks = {name: sweep.task(name, fake) for name, fake in fakes.items()}
    tasks["e-bad"] = dataclasses.replace(tasks["e-bad"], config={"temperature": 0.0})
    tasks["h-done"] = dataclasses.replace(tasks["h-done"], files_address=tasks["a"].files_address)
    diary = sweep.run(*tasks.values())

    assert list(dict.fromkeys(event[1] for event in diary.events if event[0] == "started")) == list(fakes)
    for name in ("a", "g"):
        assert diary.of(name) == [("started", name), ("epoch", name, 1), ("epoch", name, 2), ("finished", name)]
    assert diary.of("h-done") == [("started", "h-done"), ("finished", "h-done")]
    kinds = {name: failure.kind for name, failure in diary.failures.items()}
    assert kinds == {
        "b-raises": "crash",
        "c-diverges": "non_finite_loss",
        "d-runs-out": "out_of_memory",
        "e-bad": "bad_input",
    }
    assert diary.failures["c-diverges"].message == "the loss is nan at step 7"
    assert "temperature" in diary.failures["e-bad"].message
    log = sweep.folder / "logs" / "b-raises.log"
    assert diary.failures["b-raises"].message == f"LookupError: no such thing; log: {log}"
    assert "fake_trainables.py" in log.read_text()

    # Lost with the process that ran the trials before, tried again, resumed.
    assert [record.epoch for record in diary.records["f-killed"]] == [1, 2]
    assert diary.processes("f-killed")[0] == diary.processes("a")[0]
    assert diary.processes("f-killed")[1] == diary.processes("g")[0] != diary.processes("a")[0]


def test_what_a_listener_raises_comes_out_at_the_end(ray_cluster: None, tmp_path: Path, store: Path) -> None:
    from sweep.relay import Relay

    class Clumsy(Diary):
        def started(self, task: TrialTask) -> None:
            raise OSError("disk full")

    task, diary = Sweep(tmp_path, store).task("a"), Clumsy()
    relay = Relay([task], tmp_path, diary)
    trial: Any = SimpleNamespace(trial_id="1", config={"task": task.to_json()})
    relay.on_trial_start(0, [trial], trial)
    relay.on_trial_complete(1, [trial], trial)
    assert diary.events == [("finished", "a")]
    assert relay.unfinished() == []
    with pytest.raises(OSError, match="disk full"):
        relay.raise_first_error()


@pytest.mark.slow
def test_a_trial_that_always_dies_fails_and_the_next_runs(sweep: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sweep.tuner.MAX_RETRIES", 1)
    diary = sweep.run(sweep.task("dies", "always_killed"), sweep.task("next"))
    assert diary.failures["dies"].kind == "crash"
    assert "given up after 2 attempts" in diary.failures["dies"].message
    assert ("finished", "next") in diary.events


@pytest.mark.slow
def test_ctrl_c_stops_the_trials_and_propagates(sweep: Sweep) -> None:
    class Impatient(Diary):
        def epoch(self, task: TrialTask, record: EpochRecord) -> None:
            super().epoch(task, record)
            if record.epoch == 1:
                threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()

    diary = Impatient()
    with pytest.raises(KeyboardInterrupt):
        sweep.run(sweep.task("long", "dawdles", epochs=50), sweep.task("never"), listener=diary)
    assert ("started", "never") not in diary.events
    assert len(diary.records["long"]) < 5


@pytest.mark.slow
def test_a_warm_group_runs_trial_after_trial_until_it_breaks(sweep: Sweep) -> None:
    fakes = {
        "a": "counts",
        "b": "counts",
        "c-diverges": "diverges",
        "d": "counts",
        "e-raises": "raises",
        "f": "counts",
        "g-killed": "killed_once",
        "h": "counts",
    }
    diary = sweep.run(*(sweep.task(name, fake) for name, fake in fakes.items()), shape=TWO)
    assert [event[1] for event in diary.events if event[0] in ("finished", "failed")] == list(fakes)
    kinds = {name: failure.kind for name, failure in diary.failures.items()}
    assert kinds == {"c-diverges": "non_finite_loss", "e-raises": "crash"}
    assert diary.failures["e-raises"].message.startswith("LookupError: no such thing; log: ")

    # One group until a rank raises, the next until a rank is killed, then a third that resumes.
    groups = [("a", "b", "c-diverges", "d", "e-raises"), ("f",), ("h",)]
    seen: set[float] = set()
    for names in groups:
        processes = {rank: {process for name in names for process in diary.processes(name, rank)} for rank in (0, 1)}
        assert [len(processes[rank]) for rank in (0, 1)] == [1, 1]
        assert len(processes[0] | processes[1]) == 2
        assert not seen & (processes[0] | processes[1])
        seen |= processes[0] | processes[1]
    assert [record.epoch for record in diary.records["g-killed"]] == [1, 2]
    assert diary.processes("g-killed") == diary.processes("f")[:1] + diary.processes("h")[:1]
    assert placement_groups() == []


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("127.0.0.1:1", "no Ray cluster answers there"),
        ("somewhere", "give HOST:PORT"),
        ("ray://127.0.0.1:10001", "Ray's client can't run sweeps"),
    ],
)
def test_an_address_without_a_cluster_is_bad_input(address: str, message: str) -> None:
    with pytest.raises(BadInputError, match=message), connect(address):
        pass


def test_quiet_keeps_noise_off_the_screen(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with quiet(tmp_path / "logs" / "ray.log") as screen:
        os.write(1, b"(raylet) noise\n")
        os.write(2, b"more of it\n")
        screen.write("a table\n")
    os.write(1, b"afterwards\n")
    assert capfd.readouterr() == ("a table\nafterwards\n", "")
    assert (tmp_path / "logs" / "ray.log").read_text() == "(raylet) noise\nmore of it\n"
