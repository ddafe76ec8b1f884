"""Effects of axes: the sums of squares by hand, their level by simulation, and refusals that say why."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sweep.comparison.effects import AxisEffect, NotComputed, analysis_of_variance, importance, levels
from sweep.comparison.table import ComparedTrial, ComparisonRow, ComparisonTable
from sweep.records.sweep_record import TrialEntry
from sweep.records.trial_result import TrialResult

METRIC = "val/knn_top1"


def table(
    cells: Mapping[tuple[Any, ...], Sequence[float]], axes: tuple[str, ...] = ("batch_size", "temperature")
) -> ComparisonTable:
    rows = []
    for values, results in cells.items():
        config = dict(zip(axes, values, strict=True))
        trials = [
            ComparedTrial(
                TrialEntry.model_construct(  # of made-up values
                    trial_id="-".join(map(str, (*values, seed))),
                    name=f"{values}-s{seed}",
                    stage=1,
                    baseline=None,
                    config={**config, "seed": seed},
                    stands_for={},
                    steps=1,
                ),
                TrialResult("finished", {METRIC: value}, 1, 1.0),
            )
            for seed, value in enumerate(results)
        ]
        rows.append(ComparisonRow(tuple(trials), {}))
    return ComparisonTable("digits", axes, METRIC, (METRIC,), tuple(rows), ())


def test_main_effects_and_interaction_are_the_sums_of_squares() -> None:
    random = np.random.default_rng(0)
    values = random.normal(0.6, 0.02, (2, 3, 4)) + np.array([0.0, 0.1])[:, None, None]
    grid = table({(64 * (a + 1), 0.1 * (b + 1)): values[a, b].tolist() for a in range(2) for b in range(3)})
    effects = analysis_of_variance(grid, METRIC)
    assert not isinstance(effects, NotComputed)
    mean, cells = values.mean(), values.mean(axis=2)
    first, second = cells.mean(axis=1) - mean, cells.mean(axis=0) - mean
    between = cells - mean - first[:, None] - second[None]
    squares = [12 * (first**2).sum(), 8 * (second**2).sum(), 4 * (between**2).sum()]
    residual = ((values - cells[..., None]) ** 2).sum()
    total = ((values - mean) ** 2).sum()
    assert [effect.axes for effect in effects] == [("batch_size",), ("temperature",), ("batch_size", "temperature")]
    assert [effect.share for effect in effects] == pytest.approx([part / total for part in squares])
    expected = [part / freedom / (residual / 18) for part, freedom in zip(squares, (1, 2, 2), strict=True)]
    assert [effect.statistic for effect in effects] == pytest.approx(expected)
    assert effects[0].p_value < 1e-6
    found = levels(grid, METRIC)
    assert not isinstance(found, NotComputed)
    described = [(level.axis, level.value, level.settings) for level in found[:2]]
    assert described == [("batch_size", 64, 3), ("batch_size", 128, 3)]
    assert [level.mean for level in found[:2]] == pytest.approx((first + mean).tolist())


@pytest.mark.slow
def test_axes_without_effect_are_found_in_one_sweep_of_twenty() -> None:
    random = np.random.default_rng(1)
    found = 0
    for _ in range(300):
        values = random.normal(0.6, 0.02, (2, 2, 3))
        effects = analysis_of_variance(
            table({(a, b): values[a, b].tolist() for a, b in itertools.product(range(2), range(2))}), METRIC
        )
        assert isinstance(effects[0], AxisEffect)
        found += effects[0].p_value < 0.05
    assert 3 <= found <= 28  # 15 expected; four standard errors


def test_three_axes_have_three_interactions() -> None:
    random = np.random.default_rng(2)
    axes = ("batch_size", "temperature", "epochs")
    cells = {cell: random.normal(0.5, 0.1, 2).tolist() for cell in itertools.product((1, 2), (3, 4), (5, 6))}
    effects = analysis_of_variance(table(cells, axes), METRIC)
    assert not isinstance(effects, NotComputed)
    assert [len(effect.axes) for effect in effects] == [1, 1, 1, 2, 2, 2]


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ({(1, 1): [0.5], (1, 2): [0.6], (2, 1): [0.5], (2, 2): [0.6]}, "one seed per setting"),
        ({(1, 1): [0.5, 0.6], (1, 2): [0.6, 0.7], (2, 1): [0.5, 0.6]}, "not a full grid: 3 of the 4 combinations"),
        (
            {(1, 1): [0.5, 0.6], (1, 2): [0.6, 0.7], (2, 1): [0.5], (2, 2): [0.5, 0.6]},
            "from 1 to 2 seeds, and it needs the same",
        ),
        ({(1, 1): [0.5, 0.6], (1, 2): [], (2, 1): [0.5, 0.4], (2, 2): [0.5, 0.6]}, "1 of 4 settings has no result"),
        (
            {(1, 1): [0.5, 0.6], (1, 2): [math.nan, 0.6], (2, 1): [0.5, 0.4], (2, 2): [0.5, 0.6]},
            "1 of 4 settings has no result",
        ),
        ({(1, 1): [0.5, 0.5], (1, 2): [0.5, 0.5]}, "all trials have the same value"),
    ],
)
def test_what_cannot_be_told_is_refused_with_the_reason(cells: dict[tuple[int, ...], list[float]], said: str) -> None:
    refusal = analysis_of_variance(table(cells), METRIC)
    assert isinstance(refusal, NotComputed)
    assert said in refusal.reason


def test_a_setting_whose_metric_is_undefined_has_no_part_in_the_importance() -> None:
    random = np.random.default_rng(0)
    cells = {(a, b): [0.1 * a + 0.001 * random.normal()] for a in range(6) for b in range(5)}
    found = importance(table({**cells, (7, 7): [math.nan]}), METRIC)
    assert not isinstance(found, NotComputed)
    assert found["batch_size"].share > 0.9


def test_one_setting_is_counted_as_one() -> None:
    found = importance(table({(0, 0.5): [0.5]}), METRIC)
    assert isinstance(found, NotComputed)
    assert found.reason == "1 setting has a result; importance needs 30"


@pytest.mark.slow
def test_importance_finds_the_axis_that_matters_and_refuses_few_settings() -> None:
    random = np.random.default_rng(3)
    cells = {
        (int(batch), float(temperature)): [float(np.log(temperature) ** 2 + 0.01 * random.normal())]
        for batch, temperature in zip(random.integers(32, 512, 60), random.uniform(0.05, 1.0, 60), strict=True)
    }
    shares = importance(table(cells), METRIC)
    assert not isinstance(shares, NotComputed)
    assert shares["temperature"].share > 0.8
    assert sum(one.share for one in shares.values()) == pytest.approx(1.0)
    assert shares["temperature"].low < shares["temperature"].high
    assert shares["temperature"].low > shares["batch_size"].high
    few = importance(table(dict(list(cells.items())[:10])), METRIC)
    assert isinstance(few, NotComputed)
    assert "importance needs 30" in few.reason


def test_resuming_is_advised_only_where_trials_are_missing() -> None:
    grid = table({(1, 1): [0.5, 0.6], (1, 2): [0.6, 0.7], (2, 1): [0.5, 0.4], (2, 2): [0.5, 0.6]})
    first, *others = grid.settings
    stopped = replace(first.trials[1], result=TrialResult("stopped", {}, 0, 0.0))
    found = analysis_of_variance(
        replace(grid, settings=(replace(first, trials=(first.trials[0], stopped)), *others)), METRIC
    )
    assert found == NotComputed(
        "settings have from 1 to 2 finished seeds; --resume the sweep until all have the same number"
    )


@pytest.mark.parametrize(
    ("axis", "ascending"),
    [
        ("bands", (("B04", "B03", "B02"), ("B04", "B03", "B02", "B08"), ())),
        ("crop_area", ((0.08, 1.0), (0.5, 1.0))),
        ("optimiser", ("adamw", "lars", "sgd")),
        ("epochs", (9, 10, 100)),
    ],
)
def test_values_of_an_axis_stand_in_their_own_order_and_not_by_rank(axis: str, ascending: tuple[object, ...]) -> None:
    ranked = table({(value,): [0.5 - 0.1 * place] for place, value in enumerate(reversed(ascending))}, axes=(axis,))
    found = levels(ranked, METRIC)
    assert not isinstance(found, NotComputed)
    assert [level.value for level in found] == list(ascending)
