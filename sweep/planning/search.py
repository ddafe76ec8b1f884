"""What a search tries next, as a function of what is known: a resumed search goes on as if it hadn't stopped."""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sweep.space import Range, Search
from trainables.errors import BadInputError

DIGITS = 4
"""Significant digits of a drawn number, so that it can be read and typed."""


@dataclass(frozen=True)
class Tried:
    """A setting that a search proposed."""

    values: Mapping[str, Any]
    """Of the fields it searches over."""
    value: float | None
    """The mean of the objective over its seeds; None while they run, NaN when it has none: failed or stopped.

    Of a setting that halving ended the mean of halving's metric at `rung`.
    """
    rung: int = 0
    """The epoch at which halving ended the setting; 0 where it didn't."""


def draw(search: Search, number: int) -> dict[str, Any]:
    """Return setting `number` of a random search; it depends on nothing else."""
    generator = random.Random(f"{search.seed}/{number}")
    return {name: _drawn(generator, over) for name, over in search.over.items()}


def _drawn(generator: random.Random, over: Range | Sequence[Any]) -> Any:
    if not isinstance(over, Range):
        return generator.choice(list(over))
    if over.log:
        value = math.exp(generator.uniform(math.log(over.low), math.log(over.high)))
    else:
        value = generator.uniform(over.low, over.high)
    return _within(over, value)


def _within(over: Range, value: float) -> float | int:
    short = float(f"{value:.{DIGITS}g}")
    kept = min(max(short, over.low), over.high)
    return round(kept) if over.integer else kept


def ask(search: Search, number: int, tried: Sequence[Tried], direction: Literal["max", "min"]) -> dict[str, Any]:
    """Return setting `number` of Optuna's TPE sampler after those tried, some of which may still run.

    BadInputError when Optuna isn't installed.
    """
    try:
        import optuna
    except ModuleNotFoundError as error:
        raise BadInputError("search: method 'optuna' needs Optuna: pip install 'sweep-service[search]'") from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    # A sampler of its own for each number: its draws then depend on the history alone, not on who asked before.
    sampler = optuna.samplers.TPESampler(seed=search.seed * 100_003 + number, constant_liar=True)
    study = optuna.create_study(sampler=sampler, direction="maximize" if direction == "max" else "minimize")
    spaces = {name: _distribution(over) for name, over in search.over.items()}
    for setting in tried:
        study.add_trial(_frozen(setting, spaces, search))
    values = study.ask(spaces).params
    return {
        name: _within(over, values[name]) if isinstance(over, Range) else over[values[name]]
        for name, over in search.over.items()
    }


def _distribution(over: Range | Sequence[Any]) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if not isinstance(over, Range):
        return CategoricalDistribution(range(len(over)))  # by place: a choice may be a tuple
    if over.integer:
        return IntDistribution(round(over.low), round(over.high), log=over.log)
    return FloatDistribution(over.low, over.high, log=over.log)


def _frozen(setting: Tried, spaces: Mapping[str, Any], search: Search) -> Any:
    from optuna.trial import TrialState, create_trial

    values = {
        name: setting.values[name] if isinstance(over, Range) else _place(over, setting.values[name])
        for name, over in search.over.items()
    }
    if setting.value is None:
        return create_trial(state=TrialState.RUNNING, params=values, distributions=dict(spaces))
    if setting.rung and not math.isnan(setting.value):
        reached = {setting.rung: setting.value}
        return create_trial(
            state=TrialState.PRUNED, intermediate_values=reached, params=values, distributions=dict(spaces)
        )
    if math.isnan(setting.value):
        return create_trial(state=TrialState.FAIL, params=values, distributions=dict(spaces))
    return create_trial(state=TrialState.COMPLETE, value=setting.value, params=values, distributions=dict(spaces))


def _place(choices: Sequence[Any], value: Any) -> int:
    return [_plain(choice) for choice in choices].index(_plain(value))


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
