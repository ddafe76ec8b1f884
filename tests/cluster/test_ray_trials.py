"""Trials on a real Ray cluster of this process: order, failures, lost processes, warm groups."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.paths import TESTS
from support.ray_parts import hide_private_parts
from support.ray_sweep import ONE, TWO, Diary, Sweep

from sweep.cluster.connection import connect
from sweep.cluster.processes import descendants, runs
from sweep.planning.resources import TrialShape
from sweep.scheduling.task import TrialTask
from trainables.data.preparing.prepare import prepare
from trainables.storage.filesystem import Storage
from trainables.storage.trial_files import TrialFiles
from trainables.storage.trial_records import EpochRecord


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
    diary = sweep.run(sweep.task("hangs", "hangs_once", hang_seconds=3.0), sweep.task("next"))
    assert diary.of("hangs") == [
        ("started", "hangs"),
        ("epoch", "hangs", 1),
        ("retried", "hangs", "hung"),
        ("started", "hangs"),
        ("epoch", "hangs", 2),
        ("finished", "hangs"),
    ]
    assert ("finished", "next") in diary.events


@pytest.mark.parametrize(
    "shape",
    [pytest.param(ONE, marks=pytest.mark.slow), pytest.param(TWO, marks=pytest.mark.long)],
    ids=["one worker", "two"],
)
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
    *epochs, end = diary.of("long")[1:]
    assert epochs == [("epoch", "long", number) for number in range(1, len(epochs) + 1)]
    assert 1 < len(epochs) < 50, "not in the middle of an epoch"
    assert end == ("stopped", "long", "interrupted")
    assert ("started", "never") not in diary.events
    assert [task.name for task in sweep.dispatcher.waiting] == ["long", "never"]

    pauses = [0.3, 0.5]
    with pytest.raises(KeyboardInterrupt):
        sweep.run(sweep.task("longer", "dawdles_longer", epochs=50), listener=Impatient())


@pytest.mark.slow
def test_a_warm_group_runs_trial_after_trial_until_it_breaks(sweep: Sweep) -> None:
    fakes = {
        "a": "counts",
        "b": "counts",
        "c-diverges": "diverges",
        "d": "counts",
        "e-raises": "raises_once",
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
    assert kinds == {"c-diverges": "non_finite_loss"}
    assert diary.retries["e-raises"].message == "LookupError: no such thing"
    kinds = {name: failure.kind for name, failure in diary.retries.items()}
    assert kinds == {"e-raises": "crash", "g-killed": "crash", "i-hangs": "hung"}

    # One group until a rank raises.
    names = ("a", "b", "c-diverges", "d")
    processes = {rank: {process for name in names for process in diary.processes(name, rank)} for rank in (0, 1)}
    assert [len(processes[rank]) for rank in (0, 1)] == [1, 1]
    assert len(processes[0] | processes[1]) == 2
    for name in diary.retries:
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
