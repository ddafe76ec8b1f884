"""Spaces are checked when they are made: each fault is one line."""

import json
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from sweep.planning.plan import Plan, make_plan
from sweep.planning.plan_table import summary
from sweep.planning.trial import DataSize
from sweep.space import (
    Best,
    Grid,
    Halving,
    Objective,
    Published,
    PublishedResult,
    Range,
    RankingObjective,
    Search,
    SearchSpace,
    Stage,
    read_space,
    written,
)
from trainables.errors import BadInputError

SIZE = DataSize(1000, 100, 10, "aa", "prepared", class_names=tuple("0123456789"))
BASE = {"dataset": "digits", "image_size": 16, "epochs": 4, "validation_fraction": 0.2}


def space(*stages: Stage, **changes: Any) -> SearchSpace:
    fields = {"name": "s", "description": "", "objective": RankingObjective("val/knn_top1"), "base": BASE}
    return SearchSpace(**{**fields, "stages": stages or (Stage("a", (Grid(),)),), **changes})


def plan_of(asked: SearchSpace, **assignments: Any) -> Plan:
    return make_plan(asked, assignments=assignments, size_of=lambda name: SIZE)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: RankingObjective("val/top1", "maximize"),
            "direction: must be 'max' or 'min', got 'maximize'; did",
        ),  # type: ignore[arg-type]
        (lambda: RankingObjective(None), "RankingObjective: metric: must be a valid string, got None"),  # type: ignore[arg-type]
        (lambda: RankingObjective(), "RankingObjective: metric: is missing"),  # type: ignore[call-arg]
        (lambda: Search({"epochs": (1, 2)}, 3, method="bayes"), "Search: method: must be 'random' or 'optuna', got"),  # type: ignore[arg-type]
        (lambda: Search({"epochs": (1, 2)}, 0), "Search: settings: must be greater than or equal to 1, got 0"),
        (lambda: Search({"temperature": Range(0, 1)}, 3), "Search: over: temperature: must be greater than 0, got 0"),
        (
            lambda: Search({"batch_size": Range(16, 64)}, 3),
            r"batch_size: holds whole numbers; write Range\(16, 64,",
        ),
        (lambda: Search({"encoder": Range(1, 2)}, 3), "Search: over: encoder: must be 'resnet10'"),
        (lambda: Search({"momentum": (0.9, 1.5)}, 3), "Search: over: momentum: must be less than 1, got 1.5"),
        (lambda: Range(1.5, 3, integer=True), "both must be whole"),
        (
            lambda: space(baselines=("random",)),
            "baselines.0: must be 'untrained', 'calibrated', 'pixels', 'colours' or 'random_features'",
        ),
        (lambda: space(stages=Stage("a", (Grid(),))), "SearchSpace: stages: must be a list or tuple, got Stage"),
        (lambda: space(stages=()), "SearchSpace: stages: must not be empty"),
        (lambda: Stage("a", Grid()), "Stage: grids: must be a list or tuple, got Grid"),  # type: ignore[arg-type]
        (lambda: Stage("a"), "'a' has neither grids nor a search"),
        (lambda: Stage("a", (Grid(), {"axis": {}})), "Stage: grids.1.axis: unknown field"),  # type: ignore[arg-type]
        (lambda: Grid(axes={"temperature": ()}), "Grid: axes: temperature: has no value"),
        (
            lambda: Grid(axes={"temperature": 0.5}),
            "must be a list or tuple, got float 0.5; a single value",
        ),  # type: ignore[dict-item]
        (lambda: Grid(axes={"temperature": None}), "temperature: must be a list or tuple, got NoneType"),  # type: ignore[dict-item]
        (
            lambda: Grid(axes={"temperature": (t for t in (0.1, 0.5))}),
            "must be a list or tuple, got generator",
        ),  # type: ignore[dict-item]
        (lambda: Grid(axes={"dataset": "digits"}), "dataset: must be a list or tuple, got str 'digits'"),
        (lambda: Grid(axes={"temperature": (0.1 + 0.2, 0.3)}), "temperature: 0.30000000000000004 and 0.3 are both 0.3"),
        (lambda: Grid(axes={"temperature": (0.1, -0.4)}), "temperature: must be greater than 0, got -0.4"),
        (lambda: Grid(axes={"temprature": (0.1,)}), "temprature: unknown field; did you mean 'temperature'"),
        (lambda: Grid(base={"temperature": float("nan")}), "temperature: must be a finite number, got nan"),
        (lambda: Grid(base={"epochs": "many"}), "Grid: base: epochs: must be a valid integer"),
        (lambda: Grid(base={"epochs": 2}, axes={"epochs": (1, 3)}), "axes: epochs is also in base or points"),
        (lambda: Grid(points=()), "Grid: points: must not be empty"),
        (lambda: Grid(1, 2, 3, 4, 5, 6, 7), "Grid: takes 6 values"),  # type: ignore[arg-type, call-arg]
        (lambda: Best("temprature", "digits"), "temprature: unknown field; did you mean 'temperature'"),
        (lambda: Halving("val/top1", grace=0), "Halving: grace: must be greater than or equal to 1, got 0"),
        (lambda: space(seeds=()), "SearchSpace: seeds: seed: has no value"),
        (lambda: space(seeds=3), "SearchSpace: seeds: seed: must be a list or tuple, got int 3"),
        (lambda: Grid(base={"flip_probability": True}), "base: flip_probability: must be a number, got True"),
        (lambda: Grid(base={"epochs": 10**400}), "base: epochs: must be at most 9007199254740992"),
        (lambda: Grid(base={3: 1}), "Grid: base: 3: a field's name is text"),  # type: ignore[dict-item]
        (lambda: Grid(axes={"temperature": ("0.10", 0.1)}), "temperature: 0.1 and 0.1 are both 0.1"),
        (lambda: space(seeds=(True,)), "SearchSpace: seeds: seed: must be a number, got True"),
        (
            lambda: Search({"temperature": (0.1, 0.5)}, 3, base={"temperature": 0.2}),
            "Search: over: temperature is in base too; keep one of them",
        ),
        (lambda: space(name="a/b"), "SearchSpace: name: .* got 'a/b'"),
    ],
)
def test_a_senseless_value_is_one_line(make: Callable[[], object], message: str) -> None:
    with pytest.raises(BadInputError, match=message) as caught:
        make()
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (
            space(objective=RankingObjective("val/knntop1")),
            "'val/knntop1' isn't a metric of .* mean 'val/knn_top1",
        ),
        (
            space(objective=RankingObjective("val/top1"), base={**BASE, "validation_fraction": 0}),
            "set validation_fraction",
        ),
        (space(objective=RankingObjective("val/sensitivity")), "needs to know what counts as positive"),
        (
            space(objective=RankingObjective("val/linear_top1"), base={**BASE, "epochs": 0, "target": "number"}),
            "'val/linear_top1' isn't a metric .* it measures predicted classes; it has: ",
        ),
        (space(objective=RankingObjective("test/lidar")), r"'test/lidar' isn't a metric .*alone; take 'val/lidar'"),
        (
            space(objective=RankingObjective("val/top1"), base={**BASE, "epochs": 0}),
            "with epochs 0 nothing learns alongside",
        ),
        (space(columns=("test/top1", "test/top11")), "columns: 'test/top11' isn't a metric; did you mean 'test/top1'"),
        (space(Stage("a", (Grid(),), halving=Halving("val/knn_top1"))), "halving, at epoch 1.*knn_every is 0"),
        (space(Stage("a", (Grid(),), halving=Halving("val/tpo1"))), "'val/tpo1' isn't a metric of .*mean 'val/top1'"),
        (space(Stage("a", (Grid(),), halving=Halving("val/top1", grace=4))), "with grace 4 there is nothing to judge"),
        (
            space(Stage("a", (Grid(),)), Stage("a", (Grid(),))),
            "stages: two stages are named 'a'; give each its own name",
        ),
        (
            space(objective=RankingObjective("train/contrastive_loss")),
            "smaller values of 'train/contrastive_loss' are better, but the direction is 'max'; set direction to 'min'",
        ),
        (
            space(objective=RankingObjective("val/knn_top1", "min")),
            "larger values of 'val/knn_top1' are better, but the direction is 'min'",
        ),
        (
            space(objective=RankingObjective("val/alpha_req")),
            "objective: 'val/alpha_req' is best near 1, not at an end; take 'val/alpha_req_gap'",
        ),
        (
            space(objective=RankingObjective("val/collapsed")),
            r"objective: 'val/collapsed' doesn't say which setting is better; take one that does: val/alignment, .*"
            r"val/linear_top1, .*val/uniformity$",
        ),
        (space(objective=RankingObjective("train/learning_rate")), "'train/learning_rate' doesn't say which setting"),
        (space(objective=RankingObjective("train/gpu_memory_gib", "min")), "gpu_memory_gib' doesn't say which setting"),
        (space(Stage("a", (Grid(),), halving=Halving("val/collapsed"))), "halving in stage 'a': 'val/collapsed' does"),
        (
            space(Stage("a", (Grid(),), halving=Halving("train/contrastive_loss"))),
            "halving in stage 'a': smaller values .*; take a metric of the objective's direction, 'max'",
        ),
        (
            space(Stage("a", (Grid(),)), Stage("b", (Grid(base={"temperature": Best("temperature", "digts")}),))),
            "stage 'b': takes the best temperature on 'digts', but no earlier stage trains on it; .*: digits",
        ),
        (
            space(Stage("a", search=Search({"batch_size": Range(900, 2000, integer=True)}, 3))),
            "search: none of 200 drawn settings can be trained; the last one: batch_size: .* larger than the 800",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_no_trial_will_have_is_refused_by_the_plan(asked: SearchSpace, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        plan_of(asked)


def test_a_searched_field_can_not_be_set_too() -> None:
    with pytest.raises(BadInputError, match="--set temperature: stage 'a' searches over it"):
        plan_of(space(Stage("a", search=Search({"temperature": (0.1, 0.5)}, 3))), temperature=(0.3,))


def test_numpy_values_are_plain_ones() -> None:
    grid = Grid(
        base={"epochs": np.int64(3)}, axes={"temperature": np.linspace(0.1, 0.5, 3), "batch_size": range(32, 65, 32)}
    )  # type: ignore[dict-item]
    json.dumps(written(space(Stage("a", (grid,)))))
    trials = plan_of(space(Stage("a", (grid,)), baselines=())).trials
    assert [(t.config.epochs, t.config.temperature, t.config.batch_size) for t in trials][:3] == [
        (3, 0.1, 32),
        (3, 0.1, 64),
        (3, 0.30000000000000004, 32),
    ]


def test_a_seed_axis_keeps_its_seeds() -> None:
    asked = space(Stage("a", (Grid(axes={"temperature": (0.1, 0.5), "seed": (3, 4, 5)}),)), baselines=())
    assert [trial.config.seed for trial in plan_of(asked).trials] == [3, 4, 5, 3, 4, 5]


def test_large_whole_numbers_are_told_apart() -> None:
    asked = space(seeds=(1_000_000, 1_000_001), baselines=())
    assert [trial.config.seed for trial in plan_of(asked).trials] == [1_000_000, 1_000_001]


def test_trials_of_one_spelling_have_names_of_their_own() -> None:
    grids = tuple(Grid(base={"temperature": value}) for value in (0.3, 0.1 + 0.2))
    names = [trial.name for trial in plan_of(space(Stage("a", grids), baselines=())).trials]
    assert len(set(names)) == 2


def test_a_random_search_draws_anew_what_can_not_be_trained() -> None:
    search = Search({"batch_size": Range(400, 1200, integer=True)}, settings=12)
    plan = plan_of(space(Stage("a", search=search), baselines=()))
    assert len(plan.trials) == 12
    assert all(trial.config.batch_size <= 800 for trial in plan.trials)
    (note,) = plan.notes
    assert re.match(r"search: \d+ drawn settings can't be trained, others are drawn; the first, batch_size \d+: ", note)
    assert plan == plan_of(space(Stage("a", search=search), baselines=()))


def test_a_plan_counts_what_a_search_will_draw() -> None:
    search = Search({"temperature": Range(0.1, 0.5)}, settings=32, method="optuna")
    assert summary(plan_of(space(Stage("a", search=search), seeds=(0, 1))))[0].startswith(
        "64 trials (drawn as results come) and 2 baselines: 0 steps"
    )
    assert summary(plan_of(space()))[0].startswith("1 trial and 1 baseline: ")


def test_a_record_s_space_is_read_as_it_was_written() -> None:
    asked = space(Stage("a", (Grid(axes={"temperature": [0.1, 0.5], "seed": range(3)}),)))
    assert read_space(json.loads(json.dumps(written(asked)))) == asked


def test_spaces_may_import_the_earlier_names() -> None:
    assert (Objective, Published) == (RankingObjective, PublishedResult)
