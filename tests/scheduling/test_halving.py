"""Halving judges settings: their seeds wait for each other, and go on or end together, also after a resume."""

from typing import Any

import numpy as np
import pytest
from support.dispatcher_bench import CRASH, Bench, record, task

from benchmarks.rows.halving_bias import TRUTH, simulated
from sweep.scheduling.dispatcher import FINISHED, TrialLimits
from sweep.scheduling.halving import HalvingRungs
from sweep.scheduling.verdict import WAITING, WAITS
from sweep.space import Halving


def rungs_of(*settings: str, seeds: int = 2) -> HalvingRungs:
    rungs = HalvingRungs(Halving("val/top1", grace=1, reduction=2), "max", exempt=())
    for setting in settings:
        for seed in range(seeds):
            rungs.join(setting, f"{setting}{seed}")
    return rungs


def test_the_seeds_of_a_setting_wait_for_each_other_and_end_together_on_their_mean() -> None:
    rungs = rungs_of("a", "b")
    assert rungs.verdict(task("a0"), record(1, 0.9)) == WAITS
    assert rungs.verdict(task("b0"), record(1, 0.8)) == WAITS, "one seed of two says nothing of the setting"
    assert rungs.verdict(task("a1"), record(1, 0.1)) is None, "the first to come goes on"
    assert rungs.standing("a0") is None
    why = rungs.verdict(task("b1"), record(1, 0.1))
    assert why == "halving: 1 of 2 settings is better at epoch 1 (val/top1), the best one continues"
    assert rungs.standing("b0") == why


def test_a_seed_that_is_over_is_not_waited_for() -> None:
    rungs = rungs_of("a", "b")
    rungs.verdict(task("a0"), record(1, 0.9))
    assert rungs.standing("a0") == WAITS
    rungs.left("a1")
    assert rungs.standing("a0") is None
    rungs.verdict(task("b0"), record(1, float("nan")))
    assert isinstance(rungs.verdict(task("b1"), record(1, 0.99)), str), "a seed without a value is the worst"


def run(bench: Bench, values: dict[str, float]) -> list[str]:
    """Train one trial after the other; return the trials in the order of their attempts."""
    order, reached = [], dict.fromkeys(values, 0)
    while (attempt := bench.dispatcher.next()) != FINISHED:
        assert attempt is not None
        assert not isinstance(attempt, str)
        name = attempt.task.name
        order.append(name)
        while reached[name] < attempt.task.config["epochs"]:
            reached[name] += 1
            if bench.dispatcher.epoch(attempt, record(reached[name], values[name])):
                break
        bench.dispatcher.ended(attempt)
    return order


def test_one_after_the_other_pauses_at_the_rung_and_goes_on_when_all_are_there() -> None:
    bench = Bench("a0", "a1", "b0", "b1", rules=TrialLimits(max_concurrent=1), judge=rungs_of("a", "b"), epochs=2)
    order = run(bench, {"a0": 0.7, "a1": 0.7, "b0": 0.9, "b1": 0.1})
    assert order == ["a0", "a1", "a0", "b0", "b1"]
    heard = [event for event in bench.heard.events if event[0] in ("stopped", "finished")]
    assert heard[0] == ("stopped", "a0", WAITING, False)
    assert {event[1] for event in heard if event[0] == "finished"} == {"a0", "a1"}
    ended = [event for event in heard if event[0] == "stopped" and event[3]]
    assert {event[1] for event in ended} == {"b0", "b1"}, "the luckier seed of the worse setting ends with it"
    assert all(event[2].startswith("halving: 1 of 2 settings") for event in ended)


def test_a_seed_that_fails_lets_the_paused_one_go_on() -> None:
    bench = Bench("a0", "a1", rules=TrialLimits(max_concurrent=1, max_failures=0), judge=rungs_of("a"), epochs=2)
    first = bench.start()
    assert bench.dispatcher.epoch(first, record(1, 0.7))
    bench.dispatcher.ended(first)
    assert [one.name for one in bench.dispatcher.waiting] == ["a1", "a0"]
    second = bench.start()
    assert second.task.name == "a1"
    bench.dispatcher.died(second, CRASH)
    assert bench.start().task.name == "a0"


@pytest.mark.parametrize(
    ("epochs", "stopped", "verdicts"),
    [
        ({"a0": 1}, {}, {"a0": WAITS, "a1": None}),
        ({"a0": 1, "a1": 1}, {}, {"a0": None, "a1": None}),
        ({"a0": 2, "a1": 1}, {}, {"a0": None, "a1": None}),
        ({"a0": 1, "a1": 1}, {"a1": "halving: 3 of 4"}, {"a0": "halving: 3 of 4", "a1": "halving: 3 of 4"}),
        ({"a0": 1, "a1": 0}, {"a1": "asked to stop"}, {"a0": None}),
    ],
)
def test_a_resumed_trial_stands_where_it_stood(
    epochs: dict[str, int], stopped: dict[str, str], verdicts: dict[str, Any]
) -> None:
    """Killed while a seed paused, when all were at the rung, when one had gone on, when one's end was written."""
    rungs = HalvingRungs(Halving("val/top1", grace=1, reduction=3), "max", exempt=())
    for name in ("a0", "a1"):
        rungs.join("a", name)
    for name in ("a0", "a1"):
        rungs.learn(name, [record(e, 0.5) for e in range(1, 1 + epochs.get(name, 0))], stopped.get(name, ""))
    assert {name: rungs.standing(name) for name in verdicts} == verdicts


def test_a_held_trial_is_not_started_after_a_resume() -> None:
    rungs = rungs_of("a")
    rungs.learn("a0", [record(1, 0.7)])
    bench = Bench("a0", "a1", rules=TrialLimits(max_concurrent=1), judge=rungs, epochs=2)
    assert bench.start().task.name == "a1"


def test_the_best_row_of_equal_settings_is_hardly_too_good() -> None:
    """Judged one by one, the lucky seeds are left: the best row is 1.7 points too good where a seed's spread is 1."""
    random = np.random.default_rng(0)
    sweeps = [simulated(random) for _ in range(150)]
    assert np.mean([sweep.best for sweep in sweeps]) <= TRUTH + 0.9
    assert np.mean([sweep.dropped for sweep in sweeps]) <= 0.05 + 3 * (0.05 * 0.95 / 450) ** 0.5
    assert {len(seeds) for sweep in sweeps for seeds in sweep.finished.values()} == {3}
    alone = np.mean([simulated(random, together=False).best for _ in range(150)])
    assert alone > TRUTH + 1.3
