"""Searches: what is drawn, what is learned, and that a resumed one goes on as if it hadn't stopped."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import pytest

from sweep.planning.plan import Plan, count_pending, make_plan, propose
from sweep.planning.search import ProposedSetting, ask, draw
from sweep.planning.trial import DataSize
from sweep.space import Grid, Halving, Range, RankingObjective, Search, SearchSpace, Stage
from trainables.errors import BadInputError

OVER = {
    "temperature": Range(0.05, 1.0, log=True),
    "batch_size": Range(16, 64, integer=True),
    "optimiser": ("lars", "adamw"),
}
RANDOM = Search(OVER, settings=20)
LEARNING = Search({"temperature": Range(0.05, 1.0, log=True)}, settings=20, method="optuna")


def space(search: Search, seeds: Sequence[int] = (0,)) -> SearchSpace:
    return SearchSpace(
        name="searched",
        description="",
        base={"dataset": "digits", "image_size": 16, "epochs": 2, "positive": ("closed_loop",)},
        stages=(Stage("search", (Grid(axes={"temperature": (0.5,)}),), search),),
        objective=RankingObjective("test/knn_top1"),
        seeds=seeds,
        baselines=(),
    )


def size_of(name: str) -> DataSize:
    return DataSize(1000, 100, 10, "aa", "prepared")


def plan_of(search: Search, seeds: Sequence[int] = (0,)) -> Plan:
    return make_plan(space(search, seeds), assignments={}, size_of=size_of)


def test_random_settings_lie_in_their_ranges_and_do_not_change() -> None:
    drawn = [draw(RANDOM, number) for number in range(200)]
    assert drawn == [draw(RANDOM, number) for number in range(200)]
    temperatures = [setting["temperature"] for setting in drawn]
    assert all(0.05 <= value <= 1.0 for value in temperatures)
    assert {setting["optimiser"] for setting in drawn} == {"lars", "adamw"}
    assert all(isinstance(setting["batch_size"], int) and 16 <= setting["batch_size"] <= 64 for setting in drawn)
    below = sum(value < math.sqrt(0.05) for value in temperatures)
    assert 70 < below < 130, "half of them below the geometric middle"


def test_a_random_search_is_in_the_plan_with_every_seed_and_grids_first() -> None:
    plan = plan_of(RANDOM, seeds=(0, 1))
    assert len(plan.trials) == 2 * 21
    assert [trial.config.temperature for trial in plan.trials[:2]] == [0.5, 0.5]
    assert len({trial.name for trial in plan.trials}) == len(plan.trials)


def test_whole_numbers_are_drawn_alike_and_exactly() -> None:
    few = Counter(draw(Search({"batch_size": Range(2, 4, integer=True)}, 1), n)["batch_size"] for n in range(3000))
    # Each is expected 1000 times, with a deviation of 26.
    assert {value: abs(count - 1000) < 130 for value, count in few.items()} == {2: True, 3: True, 4: True}
    many = {draw(Search({"batch_size": Range(10000, 10020, integer=True)}, 1), n)["batch_size"] for n in range(1000)}
    assert many == set(range(10000, 10021))
    logs = Counter(
        draw(Search({"batch_size": Range(2, 64, log=True, integer=True)}, 1), n)["batch_size"] for n in range(2000)
    )
    assert logs[2] > logs[64]
    assert min(logs) == 2


def test_a_learning_search_proposes_large_whole_numbers_exactly() -> None:
    search = Search({"batch_size": Range(100_000, 100_020, integer=True)}, settings=30, method="optuna")
    drawn = {ask(search, number, [], "max")["batch_size"] for number in range(30)}
    assert len(drawn) > 8
    assert all(100_000 <= value <= 100_020 and isinstance(value, int) for value in drawn)


def test_a_refused_draw_is_followed_by_another_and_a_resumed_search_asks_the_same() -> None:
    known = [ProposedSetting({"temperature": 0.1 + number / 50}, number / 20) for number in range(12)]
    first = ask(LEARNING, 12, known, "max")
    second = ask(LEARNING, 12, known, "max", refused=[first])
    assert second != first
    assert second == ask(LEARNING, 12, known, "max", refused=[first])


def test_a_learning_search_is_decided_by_results_and_the_plan_says_so() -> None:
    from sweep.planning.plan_table import summary

    plan = plan_of(LEARNING, seeds=(0, 1))
    assert len(plan.trials) == 2
    assert plan.open_search(1) == LEARNING
    lines = summary(plan)
    assert "stage 1, search: 40 trials more, temperature searched by optuna as results come" in lines
    assert "digits: 1,000 train and 100 test images (prepared sizes)" in lines
    assert count_pending(plan, plan.space.stages[0]) == 42
    grown = propose(plan, 1, 0, {"temperature": 0.1}, size_of=size_of)
    assert [(trial.config.temperature, trial.setting) for trial in grown.trials[2:]] == [(0.1, 0), (0.1, 0)]
    assert grown.digest == plan.digest
    assert propose(grown, 1, 1, {"temperature": 0.1}, size_of=size_of).trials == grown.trials


def run_search(search: Search, known: list[ProposedSetting], settings: int) -> list[ProposedSetting]:
    tried = list(known)
    while len(tried) < settings:
        values = ask(search, len(tried), tried, "max")
        tried.append(ProposedSetting(values, -abs(math.log(values["temperature"] / 0.2))))
    return tried


def test_optuna_finds_the_best_region_and_a_resumed_search_asks_the_same() -> None:
    whole = run_search(LEARNING, [], 40)
    assert run_search(LEARNING, whole[:17], 40) == whole
    late = [setting.values["temperature"] for setting in whole[20:]]
    close = sum(0.1 < value < 0.4 for value in late)
    assert close >= 14, late


def test_failed_and_running_settings_are_known_too() -> None:
    values = ask(
        LEARNING,
        3,
        [ProposedSetting({"temperature": 0.2}, math.nan), ProposedSetting({"temperature": 0.3}, None)],
        "min",
    )
    assert 0.05 <= values["temperature"] <= 1.0


def test_choices_may_be_sequences() -> None:
    search = Search({"crop_area": ((0.2, 1.0), [0.3, 1.0])}, settings=3, method="optuna")
    known = [ProposedSetting({"crop_area": (0.3, 1.0)}, 1.0), ProposedSetting({"crop_area": (0.2, 1.0)}, 0.0)]
    assert ask(search, 2, known, "max")["crop_area"] in ((0.2, 1.0), [0.3, 1.0])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Range(1.0, 1.0), "low must be below high"),
        (lambda: Range(0.0, 1.0, log=True), "above 0 with log"),
        (lambda: Range(math.nan, 1.0), "^Range: low: must be a finite number, got nan$"),
        (lambda: Range(True, 2), "^Range: low: must be a number, got True$"),
        (
            lambda: Search({"temperature": {"low": 1, "high": 1}}, 3),
            "^Search: over: temperature: range 1 to 1: low must",
        ),
        (lambda: Search({"temperature": Range(0.1, 1.0)}, settings=True), "settings: must be a whole number, got True"),
        (lambda: Search({}, settings=3), "over must name at least one field"),
        (lambda: Search({"seed": (1, 2)}, settings=3), "list seeds in the space"),
        (lambda: plan_of(Search({"tempurature": Range(0.1, 1.0)}, settings=1)), "tempurature: unknown field"),
    ],
)
def test_a_senseless_search_is_one_clear_error(make: object, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        make()  # type: ignore[operator]


def test_a_setting_that_halving_ended_is_told_as_pruned_with_what_it_reached() -> None:
    from optuna.trial import TrialState

    from sweep.planning.search import _distribution, _frozen

    spaces = {name: _distribution(over) for name, over in LEARNING.over.items()}
    told = _frozen(ProposedSetting({"temperature": 0.2}, 0.4, rung=3), spaces, LEARNING)
    assert (told.state, told.intermediate_values) == (TrialState.PRUNED, {3: 0.4})
    near = [ProposedSetting({"temperature": 0.1 + number / 1000}, 0.9) for number in range(12)]
    poor = [ProposedSetting({"temperature": 0.8 - number / 1000}, 0.1, rung=1) for number in range(12)]
    failed = [ProposedSetting(one.values, math.nan) for one in poor]
    assert ask(LEARNING, 24, [*near, *poor], "max") != ask(LEARNING, 24, [*near, *failed], "max")


@pytest.mark.parametrize("method", ["random", "optuna"])
def test_a_search_for_more_settings_than_there_are_says_so_and_counts_truly(
    method: Literal["random", "optuna"],
) -> None:
    plan = plan_of(
        Search({"optimiser": ("lars", "adamw"), "batch_size": Range(32, 33, integer=True)}, 50, method=method)
    )
    (note,) = plan.notes
    assert note.startswith("search: over has 4 different settings, settings asks for 50")
    assert len(plan.trials) + plan.to_come.trials == 1 + 4
    few = plan_of(Search({"optimiser": ("lars", "adamw")}, 2, method="random", seed=1))
    assert (few.notes, len(few.trials)) == (("search: of 2 drawn settings some are the same; 1 is trained",), 2)


def test_the_plan_of_a_search_alone_counts_steps_and_grammar() -> None:
    from sweep.planning.plan_table import summary

    search = Search({"batch_size": Range(10, 100, integer=True)}, settings=1, method="optuna")
    stage = Stage("search", search=search, halving=Halving("train/supervised_accuracy", grace=2))
    searched = replace(space(search), stages=(stage,), base={"dataset": "digits", "image_size": 16, "epochs": 3})
    lines = summary(make_plan(searched, assignments={}, size_of=size_of))
    assert lines[0] == "1 trial (drawn as results come) and 0 baselines: 0 steps, 0 views without the search's"
    assert "stage 1, search: 1 trial more, batch_size searched by optuna as results come" in lines
    assert "each of them: 31 to 301 steps, by the ends of the ranges and the choices" in lines


def test_a_data_set_among_the_choices_that_nobody_knows_is_refused() -> None:
    def known(name: str) -> DataSize:
        if name != "digits":
            raise BadInputError(f"dataset: {name!r} is unknown")
        return size_of(name)

    search = Search({"dataset": ("digits", "digist")}, settings=3, method="optuna")
    with pytest.raises(BadInputError, match="dataset: 'digist' is unknown"):
        make_plan(space(search), assignments={}, size_of=known)


def test_halving_of_searched_epochs_judges_the_longest() -> None:
    search = Search({"epochs": Range(1, 8, integer=True)}, settings=3, method="optuna")
    stage = Stage("search", search=search, halving=Halving("train/supervised_accuracy", grace=2))
    plan = make_plan(replace(space(search), stages=(stage,)), assignments={}, size_of=size_of)
    assert plan.to_come.trials == 3
