"""Effect of each grid axis on a metric, by analysis of variance; pure: a table in, effects or a reason out.

If the numbers don't suffice, `NotComputed` gives the reason.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import Any

import numpy as np

from sweep.comparison.axis_order import axis_order, is_number
from sweep.comparison.table import ComparisonRow, ComparisonTable

FEWEST_FOR_IMPORTANCE = 30
"""Minimum number of settings: with fewer, the random forest's shares of variance are unreliable."""
FORESTS = 8
"""Number of random forests on resampled settings, which give the range of an importance."""


@dataclass(frozen=True)
class NotComputed:
    """Result that could not be computed, with the reason."""

    reason: str
    """Reason, as a phrase for the reader."""


@dataclass(frozen=True)
class AxisEffect:
    """Effect of one axis, or interaction of two axes, in the analysis of variance."""

    axes: tuple[str, ...]
    share: float
    """Share of the total sum of squares (eta squared): how much of the variation between trials it explains."""
    statistic: float
    """F."""
    p_value: float


@dataclass(frozen=True)
class AxisLevel:
    """One value (level) of an axis, with the mean of its settings."""

    axis: str
    value: Any
    mean: float
    """Mean over all settings with this value, each with the same weight."""
    settings: int


@dataclass(frozen=True)
class AxisImportance:
    """Share of the variance that an axis explains."""

    share: float
    low: float
    high: float
    """Minimum (`low`) and maximum (`high`) over forests on resampled settings."""


@dataclass(frozen=True)
class AxisEffects:
    """Effects of a table's axes on a metric; a part that can't be computed is NotComputed with the reason."""

    levels: list[AxisLevel] | NotComputed
    variance: list[AxisEffect] | NotComputed
    importance: dict[str, AxisImportance] | NotComputed


def effects_of(table: ComparisonTable, metric: str) -> AxisEffects:
    """Return the means by level, the analysis of variance and the importance of a table's axes."""
    return AxisEffects(levels(table, metric), analysis_of_variance(table, metric), importance(table, metric))


def levels(table: ComparisonTable, metric: str) -> list[AxisLevel] | NotComputed:
    """Return the mean at each value of each axis; NotComputed without a full grid, as means aren't comparable then."""
    if (reason := _not_full(table, metric)) is not None:
        return reason
    return [
        AxisLevel(axis, value, float(np.mean([row.known_mean(metric) for row in own])), len(own))
        for axis in table.axes
        for value in _values(table.settings, axis)
        if (own := [row for row in table.settings if row.config[axis] == value])
    ]


def analysis_of_variance(table: ComparisonTable, metric: str) -> list[AxisEffect] | NotComputed:
    """Return main effects and pairwise interactions of a full grid with the same number of seeds, at least two.

    The residual contains the seeds' variation and interactions of three or more axes.
    """
    if (reason := _not_full(table, metric)) is not None:
        return reason
    counts = {len(row.values(metric)) for row in table.settings}
    if counts == {1}:
        return NotComputed("one seed per setting: effects can't be tested without several seeds (--set seed=0,1,2)")
    if len(counts) > 1:
        return NotComputed(_unequal_seeds(table, min(counts), max(counts)))
    import pandas
    import statsmodels.formula.api as formula
    from statsmodels.stats.anova import anova_lm

    # Patsy reads names as Python: the axes get plain ones.
    names = {axis: f"axis{number}" for number, axis in enumerate(table.axes)}
    frame = pandas.DataFrame(
        [
            {**{names[axis]: str(row.config[axis]) for axis in table.axes}, "value": value}
            for row in table.settings
            for value in row.values(metric)
        ]
    )
    if float(frame["value"].std()) == 0.0:
        return NotComputed("all trials have the same value")
    terms = [*((axis,) for axis in table.axes), *combinations(table.axes, 2)]
    model = " + ".join(":".join(f"C({names[axis]})" for axis in term) for term in terms)
    found = anova_lm(formula.ols(f"value ~ {model}", frame).fit(), typ=2)
    total = float(found["sum_sq"].sum())
    return [
        AxisEffect(term, float(row["sum_sq"]) / total, float(row["F"]), float(row["PR(>F)"]))
        for term, (_, row) in zip(terms, found.iterrows(), strict=False)
    ]


def _unequal_seeds(table: ComparisonTable, few: int, many: int) -> str:
    """Return the reason that settings differ in their number of seeds; resuming helps only if trials are missing."""
    if all(len(row.values(table.objective)) == len(row.trials) for row in table.settings):
        return f"settings have from {few} to {many} seeds, and it needs the same number of each"
    return f"settings have from {few} to {many} finished seeds; --resume the sweep until all have the same number"


def importance(table: ComparisonTable, metric: str) -> dict[str, AxisImportance] | NotComputed:
    """Return each axis' share of the variance by functional analysis of variance over a random forest (Hutter 2014).

    The range comes from FORESTS further forests, each on the same number of settings drawn with replacement.
    """
    rows = [row for row in table.settings if row.is_defined(metric)]
    if len(rows) < FEWEST_FOR_IMPORTANCE:
        have = "setting has" if len(rows) == 1 else "settings have"
        return NotComputed(f"{len(rows)} {have} a result; importance needs {FEWEST_FOR_IMPORTANCE}")
    if len({row.known_mean(metric) for row in rows}) == 1:
        return NotComputed("all settings have the same result")
    try:
        import optuna
    except ImportError:
        return NotComputed("needs optuna: pip install 'sweep-service[search]'")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    shares = _forest_shares(rows, table.axes, metric)
    random = np.random.default_rng(0)
    drawn = ([rows[number] for number in random.integers(len(rows), size=len(rows))] for _ in range(FORESTS))
    others = [
        _forest_shares(own, table.axes, metric) for own in drawn if len({row.known_mean(metric) for row in own}) > 1
    ]
    return {
        axis: AxisImportance(
            share,
            min((other.get(axis, 0.0) for other in others), default=share),
            max((other.get(axis, 0.0) for other in others), default=share),
        )
        for axis, share in shares.items()
    }


def _forest_shares(rows: Sequence[ComparisonRow], axes: Sequence[str], metric: str) -> dict[str, float]:
    import optuna
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    study = optuna.create_study(direction="maximize")
    numeric = {axis for axis in axes if all(is_number(row.config[axis]) for row in rows)}
    distributions: dict[str, Any] = {}
    for axis in axes:
        values = _values(rows, axis)
        distributions[axis] = (
            FloatDistribution(min(values), max(values))
            if axis in numeric
            else CategoricalDistribution([str(value) for value in values])
        )
    for row in rows:
        params = {axis: float(row.config[axis]) if axis in numeric else str(row.config[axis]) for axis in axes}
        study.add_trial(
            optuna.trial.create_trial(params=params, distributions=distributions, value=row.known_mean(metric))
        )
    shares = optuna.importance.get_param_importances(
        study, evaluator=optuna.importance.FanovaImportanceEvaluator(seed=0)
    )
    return {name: float(share) for name, share in shares.items()}


def _not_full(table: ComparisonTable, metric: str) -> NotComputed | None:
    """Return the reason why a table isn't a full grid with a result in each cell; None if it is one."""
    if not table.axes:
        return NotComputed("nothing varies")
    if missing := [row for row in table.settings if not row.is_defined(metric)]:
        return NotComputed(
            f"{len(missing)} of {len(table.settings)} settings {'has' if len(missing) == 1 else 'have'} no result yet"
        )
    cells = [tuple(str(row.config[axis]) for axis in table.axes) for row in table.settings]
    wanted = set(product(*({cell[number] for cell in cells} for number in range(len(table.axes)))))
    if set(cells) != wanted or len(cells) != len(wanted):
        return NotComputed(
            f"not a full grid: {len(set(cells))} of the {len(wanted)} combinations of {', '.join(table.axes)} were run"
        )
    return None


def _values(rows: Sequence[ComparisonRow], axis: str) -> list[Any]:
    """Return the values of an axis in their natural order."""
    found = {str(row.config[axis]): row.config[axis] for row in rows}.values()
    return sorted(found, key=lambda value: axis_order(value, axis))
