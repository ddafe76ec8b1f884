"""Events of trials: in the records first, then on the terminal, then in MLflow; and what a run costs."""

import time
from io import StringIO
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
from support.run_contexts import run_context

from sweep.planning.plan import make_plan
from sweep.planning.resources import TrialShape
from sweep.planning.trial import DataSize
from sweep.records.sweep_record import TrialEntry, describe
from sweep.records.sweep_storage import SweepStorage
from sweep.running import trial_events
from sweep.running.listeners import RecordsListener, TrackerListener
from sweep.running.progress import ProgressDisplay
from sweep.running.trial_events import OpenAttempts, TrialEventHandler
from sweep.running.trial_listener import TrialListener
from sweep.scheduling.failure import AttemptFailure
from sweep.scheduling.listener import DONE, GO, WAIT
from sweep.scheduling.task import TrialTask
from sweep.space import Grid, RankingObjective, SearchSpace, Stage
from trainables.storage.trial_records import AttemptRecord, EpochRecord, FinalRecord

SPACE = SearchSpace(
    name="small",
    description="",
    base={"dataset": "digits", "image_size": 16, "epochs": 2},
    stages=(Stage("grid", (Grid(axes={"temperature": (0.1, 0.2)}),)),),
    objective=RankingObjective("test/top1"),
    baselines=(),
)
FINAL = FinalRecord(
    time_ms=9_000,
    epochs=2,
    seconds=3.0,
    workers=1,
    threads=1,
    device="cpu",
    host="h",
    versions={},
    train_images=1,
    classes=(),
)
CRASH = AttemptFailure(AttemptFailure.CRASH, "it fell over", "Traceback")


class Run:
    """A handler with the listeners of a real run, over a storage and a mock of the tracker."""

    def __init__(self, folder: Path) -> None:
        plan = make_plan(SPACE, assignments={}, size_of=lambda _: DataSize(1000, 100, 10, "aa", "prepared"))
        self.storage, self.screen, self.tracker, self.live = SweepStorage(folder), StringIO(), MagicMock(), MagicMock()
        self.entries = describe(plan, name="mine", command="", commit=None, versions={}).trials
        progress = ProgressDisplay(self.screen, "mine", "test/top1")
        self.live.taken_over = ""
        self.context = run_context(self.storage, progress=progress, tracker=self.tracker, live=self.live)
        self.storage.log_folder("mine").mkdir(parents=True)
        self.follow(RecordsListener(self.context), progress, TrackerListener(self.context))

    def follow(self, *listeners: TrialListener) -> None:
        self.events = TrialEventHandler(self.context, listeners)
        self.events.planned(self.entries)

    def task(self, entry: TrialEntry) -> TrialTask:
        address = self.storage.trial_of(entry).storage.address()
        return TrialTask(entry.trial_id, entry.name, entry.config, "", "", address, TrialShape(2, 1, use_gpu=False))

    def attempts(self, entry: TrialEntry) -> list[tuple[int, str, str]]:
        records = self.storage.trial_of(entry).attempts()
        return [(record.number, record.outcome, record.message) for record in records]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


def epoch(number: int) -> EpochRecord:
    return EpochRecord(epoch=number, time_ms=1_000 * number, seconds=1.0, metrics={"test/top1": 0.5})


def test_a_trial_is_recorded_shown_and_tracked_from_start_to_end(run: Run) -> None:
    entry, task = run.entries[0], run.task(run.entries[0])
    files = run.storage.trial_of(entry)
    files.write_attempt(AttemptRecord(number=1, sweep="another", started_ms=500))
    files.write_epoch(epoch(1))
    assert run.events.may_start(task) == GO
    run.events.started(task)
    run.events.placed(task, ["here", "there"])
    run.events.retried(task, CRASH, 2.0)
    run.events.started(task)
    run.events.epoch(task, epoch(1), True)
    run.events.epoch(task, epoch(2), False)
    run.events.finished(task)
    assert run.attempts(entry) == [
        (1, "interrupted", "its sweep was killed"),
        (2, "crash", "it fell over"),
        (3, "finished", ""),
    ]
    *_, second, third = files.attempts()
    assert (second.hosts, second.devices) == (("here", "there"), 2.0)
    assert (third.first_epoch, third.last_epoch) == (1, 2)
    assert run.context.log_of(task).read_text() == "Traceback\n"
    shown = [line.partition("  ")[2] for line in run.screen.getvalue().splitlines()]
    assert shown[:3] == ["started, attempt 2", "crash: it fell over; tried again in 2 s", "started, attempt 3"]
    assert shown[-1] == "finished"
    calls = [call[0] for call in run.tracker.method_calls]
    assert calls == ["start_trial", "start_trial", "submit_epoch", "finish_trial"], "one epoch wasn't durable"
    assert run.live.release.call_count == 2


def test_what_another_sweep_trains_waits_and_what_it_finished_is_reused(run: Run) -> None:
    entry, task = run.entries[0], run.task(run.entries[0])
    run.live.claim.return_value = False
    assert run.events.may_start(task) == WAIT
    run.live.claim.return_value = True
    files = run.storage.trial_of(entry)
    files.write_attempt(AttemptRecord(number=1, sweep="another", started_ms=1, ended_ms=2, outcome="finished"))
    files.write_epoch(EpochRecord(epoch=FINAL.epochs, time_ms=2, seconds=1.0, metrics={}))
    files.write_final(FINAL)
    assert run.events.may_start(task) == DONE
    assert run.screen.getvalue().endswith("finished in sweep another, not trained again (3.0 s saved)\n")
    run.tracker.write_trial.assert_called_once_with(entry, run.storage)
    run.live.release.assert_called_once_with(entry.trial_id)


def test_a_failure_names_its_log_and_a_stop_for_good_is_kept(run: Run) -> None:
    (first, second), tasks = run.entries, [run.task(entry) for entry in run.entries]
    run.events.started(tasks[0])
    run.tracker.__contains__.return_value = True
    run.events.failed(tasks[0], CRASH)
    failure = run.storage.trial_of(first).failure()
    assert failure is not None
    assert failure.message == f"it fell over; log: {run.context.log_of(tasks[0])}"
    assert run.attempts(first) == [(1, "crash", "it fell over")]
    run.events.stopped(tasks[1], "asked to stop", True)
    assert run.storage.stopped("mine") == {second.trial_id: "asked to stop"}
    assert run.attempts(second) == [], "it hadn't begun"
    assert run.tracker.finish_trial.call_args_list[-1].args == (second.trial_id, "stopped")


def test_a_lost_machine_corrects_the_record_of_the_attempt_it_ended(run: Run) -> None:
    entry, task = run.entries[0], run.task(run.entries[0])
    peer = AttemptFailure(AttemptFailure.CRASH, "Connection closed by peer", nodes=("a", "b"))
    lost = AttemptFailure(AttemptFailure.LOST_NODE, "a machine of it was lost: Connection closed by peer")
    for tell in (lambda: run.events.retried(task, peer, 1.0), lambda: run.events.held(task, peer)):
        run.events.started(task)
        tell()
    run.events.reviewed(task, peer, lost)
    assert [outcome for _, outcome, _ in run.attempts(entry)] == ["lost_node", "crash"]
    run.events.started(task)
    run.events.reviewed(task, peer, lost)
    run.events.reviewed(task, peer, lost)
    assert run.attempts(entry) == [(1, "lost_node", lost.message), (2, "lost_node", lost.message), (3, "running", "")]
    shown = [line.partition("  ")[2] for line in run.screen.getvalue().splitlines()]
    assert shown[1:5:2] == [
        "crash: Connection closed by peer; tried again in 1 s",
        "crash: Connection closed by peer; tried again only if a machine of it turns out to be lost",
    ]
    assert shown[-1] == "lost_node: a machine of attempt 2 was lost, it doesn't count"


def test_listeners_are_told_in_their_order_and_one_that_raises_keeps_it_from_those_behind(run: Run) -> None:
    told: list[Any] = []

    class Told(TrialListener):
        def __init__(self, name: str, *, raises: bool = False) -> None:
            self.name, self.raises = name, raises

        def finished(self, task: TrialTask) -> None:
            told.append(self.name)
            if self.raises:
                raise RuntimeError("no room")

    run.follow(Told("first"), TrialListener(), Told("second", raises=True), Told("third"))
    with pytest.raises(RuntimeError, match="no room"):
        run.events.finished(run.task(run.entries[0]))
    assert told == ["first", "second"]


def test_a_run_costs_what_has_ended_and_what_is_under_way(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0]
    monkeypatch.setattr(trial_events, "steady_ms", lambda: now[0])
    attempts, tasks = OpenAttempts("mine"), [run.task(entry) for entry in run.entries]
    for task in tasks:
        attempts.begin(task, [])
    now[0] = 3_600_000
    assert attempts.device_hours() == 4.0
    attempts.change(tasks[0].trial_id, ended_ms=now[0])
    attempts.close(tasks[0].trial_id)
    now[0] *= 2
    assert tasks[0].trial_id not in attempts
    assert attempts.device_hours() == 6.0


def test_a_clock_that_is_set_costs_no_hours(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    task = run.task(run.entries[0])
    attempts = OpenAttempts("mine")
    attempts.begin(task, [])
    for days in (400, -400):
        at = time.time_ns() + days * 86_400 * 10**9
        monkeypatch.setattr(time, "time_ns", lambda at=at: at)
        attempts.count_epoch(task.trial_id, 1)
        assert attempts.device_hours() < 0.01
