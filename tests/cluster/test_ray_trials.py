"""Trials on a real Ray cluster of this process: order, failures, lost processes, warm groups."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.paths import TESTS
from support.ray_parts import hide_private_parts

from sweep.cluster.connection import connect
from sweep.cluster.processes import descendants, runs
from sweep.console.redirect import quiet
from sweep.planning.resources import TrialShape
from sweep.scheduling.dispatcher import Dispatcher, TrialAttempt, TrialLimits
from sweep.scheduling.failure import AttemptFailure
from sweep.scheduling.listener import GO, Permission
from sweep.scheduling.task import TrialTask
from trainables.data.preparing.prepare import prepare
from trainables.data.store import ImageStore
from trainables.errors import BadInputError
from trainables.storage.filesystem import Storage
from trainables.storage.trial_files import TrialFiles
from trainables.storage.trial_records import EpochRecord

ONE, TWO = TrialShape(workers=1, threads=1, use_gpu=False), TrialShape(workers=2, threads=1, use_gpu=False)


class Diary:
    """Writes down what it hears."""

    def __init__(self) -> None:
        self.events: list[tuple[Any, ...]] = []
        self.records: dict[str, list[EpochRecord]] = {}
        self.failures: dict[str, AttemptFailure] = {}

    def may_start(self, task: TrialTask) -> Permission:
        return GO

    def started(self, task: TrialTask) -> None:
        self.events.append(("started", task.name))

    def placed(self, task: TrialTask, hosts: list[str]) -> None:
        assert len(hosts) == task.shape.workers

    def noted(self, task: TrialTask, note: str) -> None:
        self.events.append(("noted", task.name, note))

    def epoch(self, task: TrialTask, record: EpochRecord, durable: bool) -> None:
        self.events.append(("epoch", task.name, record.epoch))
        self.records.setdefault(task.name, []).append(record)

    def finished(self, task: TrialTask) -> None:
        self.events.append(("finished", task.name))

    def retried(self, task: TrialTask, failure: AttemptFailure, pause: float) -> None:
        self.events.append(("retried", task.name, failure.kind))

    def held(self, task: TrialTask, failure: AttemptFailure) -> None:
        self.events.append(("held", task.name, failure.kind))

    def reviewed(self, task: TrialTask, before: AttemptFailure, after: AttemptFailure) -> None:
        self.events.append(("reviewed", task.name, before.kind, after.kind))

    def stopped(self, task: TrialTask, why: str, for_good: bool) -> None:
        self.events.append(("stopped", task.name, why))

    def failed(self, task: TrialTask, failure: AttemptFailure) -> None:
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

    def task(self, name: str, fake: str = "counts", epochs: int = 2, **changes: Any) -> TrialTask:
        fields: dict[str, Any] = {
            "shape": ONE,
            "trial_id": f"id-{name}",
            "name": name,
            "config": {"epochs": epochs, "dataset": "digits"},
            "store_address": str(self.store),
            "fingerprint": ImageStore(self.store).fingerprint,
            "files_address": str(self.folder / "trials" / name),
            "entry": f"support.fake_trainables:{fake}",
        }
        return TrialTask(**{**fields, **changes})

    def run(self, *tasks: TrialTask, listener: Any = None, **rules: Any) -> Diary:
        from sweep.cluster.tune_bridge import run_trials

        diary = Diary() if listener is None else listener
        self.dispatcher = Dispatcher(
            tasks, diary, rules=TrialLimits(**{"max_concurrent": 1, "max_failures": 1, **rules})
        )
        run_trials(self.dispatcher, log_dir=self.folder / "logs")
        return diary


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("stores")
    prepare("digits", root=root, fraction=0.05)
    return root / "digits"


@pytest.fixture(scope="module")
def ray_cluster() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")]))
        bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(900)"])
        before = descendants(os.getpid())
        with connect(None):
            yield
        assert not [process for process in descendants(os.getpid()) - before if runs(process)]
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
    tasks["e-bad"] = sweep.task("e-bad", config={"temperature": 0.0, "epochs": 2})
    tasks["h-done"] = sweep.task("h-done", files_address=tasks["a"].files_address)
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
    assert diary.failures["b-raises"].message == "given up after 2 attempts: LookupError: no such thing"
    assert "fake_trainables.py" in diary.failures["b-raises"].log
    advice = diary.failures["d-runs-out"].message
    assert "Tried to allocate 2 GiB" in advice
    for way in ("--workers 2: ", "--set precision=bf16: ", "--set batch_size=128: "):
        assert way in advice

    # Lost with the process that ran the trials before, tried again, resumed.
    assert [record.epoch for record in diary.records["f-killed"]] == [1, 2]
    assert ("retried", "f-killed", "crash") in diary.events
    assert diary.processes("f-killed")[0] == diary.processes("a")[0]
    assert diary.processes("f-killed")[1] != diary.processes("a")[0]


def test_what_a_dead_actor_holds_is_freed_and_nothing_else(ray_cluster: None) -> None:
    import ray
    from ray.util.placement_group import placement_group, remove_placement_group

    from sweep.cluster.worker_group import free_orphans

    @ray.remote(num_cpus=0)
    class Holder:
        def hold(self) -> str:
            self.group = placement_group([{"trial_driver": 1}])
            assert self.group.wait(30)
            return str(self.group.id.hex())

    dying, living = Holder.remote(), Holder.remote()  # type: ignore[attr-defined]
    orphan, kept = ray.get([dying.hold.remote(), living.hold.remote()])
    own = placement_group([{"trial_driver": 1}])
    assert own.wait(30)
    free_orphans()
    assert placement_groups() == ["CREATED"] * 3
    ray.kill(dying)
    deadline = time.monotonic() + 30
    while len(placement_groups()) == 3 and time.monotonic() < deadline:
        time.sleep(0.1)
        free_orphans()
    from ray.util import placement_group_table

    table = {key: group["state"] for key, group in placement_group_table().items()}
    assert (table[orphan], table[kept], table[own.id.hex()]) == ("REMOVED", "CREATED", "CREATED")
    remove_placement_group(own)
    ray.kill(living)
    while placement_groups() and time.monotonic() < deadline:
        time.sleep(0.1)
        free_orphans()
    assert placement_groups() == []


def test_what_a_listener_raises_comes_out_at_the_end(store: Path, tmp_path: Path) -> None:
    class Clumsy(Diary):
        def started(self, task: TrialTask) -> None:
            raise OSError("disk full")

    diary = Clumsy()
    dispatcher = Dispatcher([Sweep(tmp_path, store).task("a")], diary)
    attempt = dispatcher.next()
    assert isinstance(attempt, TrialAttempt)
    dispatcher.started(attempt)
    dispatcher.ended(attempt)
    assert diary.events == [("finished", "a")]
    assert dispatcher.over
    with pytest.raises(OSError, match="disk full"):
        dispatcher.raise_first_error()


@pytest.mark.parametrize(
    "shape",
    [pytest.param(ONE, marks=pytest.mark.slow), pytest.param(TWO, marks=pytest.mark.long)],
    ids=["one worker", "two"],
)
def test_a_stopped_trial_has_all_that_it_wrote_when_the_stop_is_told(sweep: Sweep, shape: TrialShape) -> None:
    class Strict(Diary):
        def epoch(self, task: TrialTask, record: EpochRecord, durable: bool) -> None:
            super().epoch(task, record, durable)
            if task.name == "late":
                sweep.dispatcher.stop_trial(task.trial_id, "enough")

        def stopped(self, task: TrialTask, why: str, for_good: bool) -> None:
            super().stopped(task, why, for_good)
            assert TrialFiles(Storage.at(task.files_address)).checkpoint_epochs() == [1]

    tasks = [sweep.task("late", "writes_late", epochs=5, shape=shape), sweep.task("next", shape=shape)]
    diary = sweep.run(*tasks, listener=Strict())
    assert diary.of("late") == [("started", "late"), ("epoch", "late", 1), ("stopped", "late", "enough")]
    assert ("finished", "next") in diary.events
    assert diary.processes("next")[0] == diary.processes("late")[0], "the workers live on"


@pytest.mark.slow
def test_a_hung_trial_is_ended_and_tried_again(sweep: Sweep) -> None:
    diary = sweep.run(sweep.task("hangs", "hangs_once", hang_seconds=1.0), sweep.task("next"))
    assert diary.of("hangs") == [
        ("started", "hangs"),
        ("epoch", "hangs", 1),
        ("retried", "hangs", "hung"),
        ("started", "hangs"),
        ("epoch", "hangs", 2),
        ("finished", "hangs"),
    ]
    assert ("finished", "next") in diary.events


@pytest.mark.slow
@pytest.mark.parametrize("shape", [ONE, TWO], ids=["one worker", "two"])
def test_a_ray_without_private_parts_runs_trials(
    sweep: Sweep, shape: TrialShape, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Stopping(Diary):
        def epoch(self, task: TrialTask, record: EpochRecord, durable: bool) -> None:
            super().epoch(task, record, durable)
            if task.name == "stopped":
                sweep.dispatcher.stop_trial(task.trial_id, "enough")

    from sweep.cluster import tune_bridge

    hide_private_parts(monkeypatch)
    monkeypatch.setattr(tune_bridge, "actor_of", lambda trial: None)
    monkeypatch.setattr(tune_bridge, "error_file_of", lambda trial: None)
    tasks = [sweep.task(name, fake, shape=shape) for name, fake in (("killed", "killed_once"), ("stopped", "counts"))]
    diary = sweep.run(*tasks, listener=Stopping())
    assert ("retried", "killed", "crash") in diary.events
    assert ("finished", "killed") in diary.events
    assert diary.of("stopped")[-1] == ("stopped", "stopped", "enough")
    said = [message for message in caplog.messages if "this Ray" in message]
    off = [message.partition(" is off")[0] for message in said]
    waiting = {"finding out who holds what trials wait for", "reading the autoscaler's errors"}  # after ten seconds
    assert set(off) - waiting == {"freeing orphaned placement groups"}
    assert len(set(off)) == len(off), "each is said once"


@pytest.mark.slow
def test_a_frozen_process_is_found_from_outside(sweep: Sweep) -> None:
    diary = sweep.run(sweep.task("freezes", "freezes_once", hang_seconds=4.0))
    assert ("retried", "freezes", "hung") in diary.events
    assert diary.events[-1] == ("finished", "freezes")


@pytest.mark.slow
def test_a_trial_that_always_dies_fails_and_the_next_runs(sweep: Sweep) -> None:
    diary = sweep.run(sweep.task("dies", "always_killed"), sweep.task("next"))
    assert diary.failures["dies"].kind == "crash"
    said = diary.failures["dies"].message
    assert said.startswith("given up after 2 attempts: The actor is dead because its worker process has died")
    assert "common causes" not in said
    assert ("finished", "next") in diary.events


@pytest.mark.slow
def test_ctrl_c_stops_after_the_epoch_and_twice_at_once(sweep: Sweep) -> None:
    class Impatient(Diary):
        def epoch(self, task: TrialTask, record: EpochRecord, durable: bool) -> None:
            super().epoch(task, record, durable)
            if record.epoch == 1:
                for pause in pauses:
                    threading.Timer(pause, os.kill, (os.getpid(), signal.SIGINT)).start()

    pauses = [0.3]
    diary = sweep.run(sweep.task("long", "dawdles", epochs=50), sweep.task("never"), listener=Impatient())
    assert diary.of("long")[-2:] == [("epoch", "long", 2), ("stopped", "long", "interrupted")]
    assert ("started", "never") not in diary.events
    assert [task.name for task in sweep.dispatcher.waiting] == ["long", "never"]

    pauses = [0.3, 0.5]
    with pytest.raises(KeyboardInterrupt):
        sweep.run(sweep.task("longer", "dawdles", epochs=50), listener=Impatient())


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
        "i-hangs": "hangs_once",
    }
    patience = {"i-hangs": 5.0}  # where a machine is slow, the others' groups may take longer to end than that
    tasks = [sweep.task(name, fake, shape=TWO, hang_seconds=patience.get(name, 600.0)) for name, fake in fakes.items()]
    diary = sweep.run(*tasks, max_failures=1)
    ended = [event[1] for event in diary.events if event[0] in ("finished", "failed")]
    assert sorted(ended) == sorted(fakes)
    kinds = {name: failure.kind for name, failure in diary.failures.items()}
    assert kinds == {"c-diverges": "non_finite_loss", "e-raises": "crash"}
    assert diary.failures["e-raises"].message == "given up after 2 attempts: LookupError: no such thing"
    assert ("retried", "g-killed", "crash") in diary.events
    assert ("retried", "i-hangs", "hung") in diary.events

    # One group until a rank raises.
    names = ("a", "b", "c-diverges", "d")
    processes = {rank: {process for name in names for process in diary.processes(name, rank)} for rank in (0, 1)}
    assert [len(processes[rank]) for rank in (0, 1)] == [1, 1]
    assert len(processes[0] | processes[1]) == 2
    for name in ("g-killed", "i-hangs"):
        assert [record.epoch for record in diary.records[name]] == [1, 2]
        first, second = diary.processes(name)
        assert first != second
    assert placement_groups() == []


@pytest.mark.slow
def test_more_trials_than_fit_take_turns(sweep: Sweep) -> None:
    """Two drivers may start at once, the machine has room for one group of two workers."""
    tasks = [sweep.task(f"t{number}", shape=TWO) for number in range(4)]
    diary = sweep.run(*tasks, max_concurrent=2)
    assert sorted(event[1] for event in diary.events if event[0] == "finished") == [task.name for task in tasks]


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
