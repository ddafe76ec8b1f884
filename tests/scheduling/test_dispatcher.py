"""Which trial runs next, and what follows when one ends: no Ray, and a clock of the test's own."""

import pytest
from support.dispatcher_bench import CRASH, Bench, record, task

from sweep.scheduling.dispatcher import FINISHED, TrialAttempt, TrialLimits
from sweep.scheduling.failure import AttemptFailure
from sweep.scheduling.halving import HalvingRungs
from sweep.scheduling.task import TrialTask
from sweep.space import Halving


def test_tasks_come_in_order_as_many_as_may_run() -> None:
    bench = Bench("a", "b", "c", rules=TrialLimits(max_concurrent=2))
    first, second = bench.start(), bench.start()
    assert [first.task.name, second.task.name] == ["a", "b"]
    assert bench.dispatcher.next() is None
    bench.dispatcher.ended(first)
    third = bench.start()
    bench.dispatcher.ended(second)
    bench.dispatcher.ended(third)
    assert bench.dispatcher.next() == FINISHED
    assert [event[:2] for event in bench.heard.events if event[0] == "finished"] == [
        ("finished", "a"),
        ("finished", "b"),
        ("finished", "c"),
    ]


def test_crashes_are_tried_again_with_longer_and_longer_pauses_until_they_are_too_many() -> None:
    bench = Bench("a", rules=TrialLimits(max_failures=3))
    pauses = []
    for _ in range(3):
        bench.dispatcher.died(bench.start(), CRASH)
        pauses.append(bench.heard.events[-1][3])
        assert bench.dispatcher.next() is None
        bench.now += pauses[-1]
    assert pauses == [1.0, 2.0, 4.0]
    bench.dispatcher.died(bench.start(), CRASH)
    kind, _, failure = bench.heard.events[-1]
    assert (kind, failure.message) == ("failed", "given up after 4 attempts: it fell over")
    assert bench.dispatcher.next() == FINISHED


def test_a_lost_node_does_not_count_and_what_cannot_be_mended_is_not_repeated() -> None:
    bench = Bench("a", "b", "c", rules=TrialLimits(max_failures=0))
    for _ in range(20):
        bench.dispatcher.died(bench.start(), AttemptFailure(AttemptFailure.LOST_NODE, "the node is gone"))
        bench.now += 1.0
    assert {event[0] for event in bench.heard.events} == {"started", "placed", "retried"}
    for kind in (AttemptFailure.OUT_OF_MEMORY, AttemptFailure.NON_FINITE, AttemptFailure.BAD_INPUT):
        bench.dispatcher.died(bench.start(), AttemptFailure(kind, "no"))
        assert bench.heard.events[-1][0] == "failed"
    assert bench.dispatcher.over


class Machines:
    """A review that finds the machines of every failure dead once one is known to be."""

    def __init__(self) -> None:
        self.lost = False

    def __call__(self, failure: AttemptFailure) -> AttemptFailure:
        return AttemptFailure(AttemptFailure.LOST_NODE, "lost") if self.lost else failure


PEER = AttemptFailure(AttemptFailure.CRASH, "Connection closed by peer", nodes=("a", "b"))


def test_a_failure_that_a_lost_machine_explains_later_counts_no_more() -> None:
    machines = Machines()
    bench = Bench("a", rules=TrialLimits(max_failures=1), review=machines)
    bench.dispatcher.died(bench.start(), PEER)
    assert bench.heard.events[-1] == ("retried", "a", PEER, 1.0)
    bench.now += 1.0
    bench.start()  # at once, not when Ray has had its time
    bench.now, machines.lost = 40.0, True
    bench.dispatcher.review()
    assert bench.heard.events[-1] == ("reviewed", "a", PEER, AttemptFailure(AttemptFailure.LOST_NODE, "lost"))
    bench.dispatcher.review()
    assert bench.heard.events[-2][0] == "placed", "it is told once"
    machines.lost = False
    bench.dispatcher.died(bench.dispatcher.running[0], CRASH)
    assert bench.heard.events[-1] == ("retried", "a", CRASH, 1.0), "the first that counts"


def test_the_last_failure_is_held_until_a_machine_is_lost_or_time_is_up() -> None:
    machines = Machines()
    bench = Bench("a", "b", rules=TrialLimits(max_failures=0), review=machines)
    bench.dispatcher.died(bench.start(), PEER)
    assert bench.heard.events[-1] == ("held", "a", PEER)
    bench.now = 30.0
    assert bench.start().task.name == "b", "others go on"
    assert bench.dispatcher.next() is None
    machines.lost = True
    bench.dispatcher.review()
    bench.now = 36.0
    again = bench.start()
    assert again.task.name == "a"
    machines.lost = False
    bench.dispatcher.died(again, PEER)
    bench.dispatcher.ended(bench.dispatcher.running[0])
    assert not bench.dispatcher.over
    for bench.now in (60.0, 90.0):
        bench.dispatcher.review()
        assert bench.dispatcher.next() is None
    bench.now = 97.0
    assert bench.dispatcher.next() == FINISHED
    kind, name, failure = bench.heard.events[-1]
    assert (kind, name, failure.message) == ("failed", "a", "given up after 1 attempts: Connection closed by peer")


def test_a_stop_leaves_a_held_trial_for_the_next_run() -> None:
    bench = Bench("a", rules=TrialLimits(max_failures=0), review=Machines())
    bench.dispatcher.died(bench.start(), PEER)
    bench.dispatcher.stop("interrupted")
    assert bench.dispatcher.next() == FINISHED
    assert [waiting.name for waiting in bench.dispatcher.waiting] == ["a"]


def test_an_orderly_stop_ends_at_the_epoch_and_the_last_epoch_is_let_through() -> None:
    bench = Bench("a", "b", "c")
    early, late = bench.start(), bench.start()
    assert not bench.dispatcher.epoch(early, record(1))
    bench.dispatcher.stop("budget reached")
    assert bench.dispatcher.next() is None
    assert bench.dispatcher.epoch(early, record(2))
    bench.dispatcher.ended(early)
    assert bench.heard.events[-1] == ("stopped", "a", "budget reached", False)
    assert not bench.dispatcher.epoch(late, record(9))
    bench.dispatcher.ended(late)
    assert bench.heard.events[-1] == ("finished", "b")
    assert bench.dispatcher.next() == FINISHED
    assert [waiting.name for waiting in bench.dispatcher.waiting] == ["a", "c"]


def test_one_trial_stops_for_good_running_or_waiting() -> None:
    bench = Bench("a", "b")
    running = bench.start()
    bench.dispatcher.stop_trial("a", "asked to stop")
    bench.dispatcher.stop_trial("b", "asked to stop")
    assert bench.heard.events[-1] == ("stopped", "b", "asked to stop", True)
    assert bench.dispatcher.epoch(running, record(1))
    bench.dispatcher.ended(running)
    assert bench.heard.events[-1] == ("stopped", "a", "asked to stop", True)
    assert bench.dispatcher.next() == FINISHED


def test_a_trial_that_another_sweep_trains_waits_and_others_go_first() -> None:
    bench = Bench("a", "b")
    bench.heard.busy = {"a"}
    assert bench.start().task.name == "b"
    assert bench.dispatcher.next() is None
    bench.heard.busy = set()
    bench.now += 10.0
    assert bench.start().task.name == "a"


def test_a_trial_that_another_sweep_finished_is_not_started() -> None:
    bench = Bench("a", "b")
    bench.heard.done = {"a"}
    bench.dispatcher.ended(bench.start())
    assert [event[:2] for event in bench.heard.events][-1] == ("finished", "b")
    assert bench.dispatcher.next() == FINISHED


def test_silence_is_a_hang_only_once_the_workers_stand() -> None:
    bench = Bench("a", "b")
    waiting = bench.dispatcher.next()
    assert isinstance(waiting, TrialAttempt)
    bench.dispatcher.started(waiting)
    placed = bench.start()
    bench.dispatcher.epoch(placed, record(1, seconds=30.0))
    bench.now += 250.0
    assert bench.dispatcher.silent() == []  # ten times its longest epoch is more
    bench.now += 100.0
    assert bench.dispatcher.silent() == [placed]
    assert "350 s" in placed.hung
    assert bench.dispatcher.silent() == []


def test_all_that_ran_is_tried_again_when_the_runner_is_lost() -> None:
    bench = Bench("a", "b", "c", rules=TrialLimits(max_concurrent=2))
    bench.start(), bench.start()
    bench.dispatcher.lost(CRASH)
    bench.now += 1.0
    assert [bench.start().task.name, bench.start().task.name] == ["a", "b"]


def test_halving_ends_the_worse_at_each_rung_and_leaves_required_trials_alone() -> None:
    rungs = HalvingRungs(Halving("val/top1", grace=1, reduction=3), "max", exempt={"required"})
    verdicts = {}
    for number, value in enumerate([0.5, 0.4, 0.3, 0.6, 0.1]):
        verdicts[number] = rungs.verdict(task(str(number)), record(1, value))
    assert {number for number, verdict in verdicts.items() if verdict} == {2, 4}
    assert verdicts[4] == "halving: 4 of 5 trials are better at epoch 1 (val/top1), the best one continues"
    assert rungs.verdict(task("required"), record(1, 0.0)) is None
    assert rungs.verdict(task("x"), record(2, 0.0)) is None  # no rung
    assert rungs.verdict(task("worst"), record(1, float("nan"))) is not None


def test_halving_is_the_same_after_a_resume() -> None:
    """What it knows comes from the records alone."""
    fresh, resumed = (HalvingRungs(Halving("val/top1", grace=1, reduction=2), "min", exempt=()) for _ in range(2))
    for number in range(5):
        fresh.verdict(task(str(number)), record(1, float(number)))
        resumed.learn(str(number), [record(1, float(number)), record(2, 0.0)])
    for value in (-1.0, 1.5, 10.0):
        assert fresh.verdict(task("new"), record(1, value)) == resumed.verdict(task("new"), record(1, value))


@pytest.mark.parametrize(("grace", "reduction"), [(0, 3), (1, 1)])
def test_halving_wants_sense(grace: int, reduction: int) -> None:
    with pytest.raises(ValueError, match=r"Halving: (grace|reduction): must be greater"):
        Halving("val/top1", grace=grace, reduction=reduction)


def test_what_a_listener_raises_comes_out_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    def fail(task: TrialTask) -> None:
        raise OSError("disk full")

    bench = Bench("a")
    bench.heard.started = fail
    bench.dispatcher.ended(bench.start())
    assert [event[0] for event in bench.heard.events] == ["placed", "finished"]
    assert bench.dispatcher.over
    assert "disk full" in caplog.text
    with pytest.raises(OSError, match="disk full"):
        bench.dispatcher.raise_first_error()
