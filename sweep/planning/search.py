"""Next settings of a search, as a function of the results so far: a resumed search proposes the same ones."""

import importlib.util
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sweep.space import Range, Search
from trainables.errors import BadInputError

DIGITS = 4
"""Significant digits of a drawn number, so that it is easy to read and type."""
_CONSTRAINTS = "constraints"
"""Optuna's key for the constraints of a trial; a value above 0 marks it as infeasible."""


@dataclass(frozen=True)
class ProposedSetting:
    """Setting proposed by a search, with its result so far."""

    values: Mapping[str, Any]
    """Values of the searched fields."""
    value: float | None
    """Mean of the objective over its seeds; None while they run, NaN if they failed or were stopped.

    For a setting that halving ended: the mean of halving's metric at `rung`.
    """
    rung: int = 0
    """Epoch at which halving ended the setting; 0 if it wasn't ended."""


def draw(search: Search, number: int, attempt: int = 0) -> dict[str, Any]:
    """Return setting `number` of a random search, a pure function of its arguments.

    Further `attempt`s replace a setting that can't be trained.
    """
    generator = random.Random(f"{search.seed}/{number}" + (f"/{attempt}" if attempt else ""))
    return {name: _drawn(generator, over) for name, over in search.over.items()}


def _drawn(generator: random.Random, over: Range | Sequence[Any]) -> Any:
    if not isinstance(over, Range):
        return generator.choice(list(over))
    # Half a unit on either side, so that the whole numbers at the ends are drawn as often as the others.
    margin = 0.5 if over.integer else 0.0
    low, high = over.low - margin, over.high + margin
    value = math.exp(generator.uniform(math.log(low), math.log(high))) if over.log else generator.uniform(low, high)
    return _within(over, value)


def _within(over: Range, value: float) -> float | int:
    """Return a drawn number within the range, rounded to an integer or to few digits."""
    kept = min(max(round(value) if over.integer else float(f"{value:.{DIGITS}g}"), over.low), over.high)
    return int(kept) if over.integer else kept


def possible_settings(search: Search) -> float:
    """Return the number of different settings that a search can draw; infinite with a range of real numbers."""
    counts = (
        len(over) if not isinstance(over, Range) else 1 + over.high - over.low if over.integer else math.inf
        for over in search.over.values()
    )
    return math.prod(counts)


def wanted_settings(search: Search) -> int:
    """Return the number of different settings that a search is to draw."""
    return int(min(search.settings, possible_settings(search)))


def too_few_note(search: Search) -> str:
    """Return the note about a search that wants more settings than there are; empty for others."""
    possible = possible_settings(search)
    if search.settings <= possible:
        return ""
    are = "1 different setting" if possible == 1 else f"{possible:,.0f} different settings"
    return f"search: over has {are}, settings asks for {search.settings:,}"


def check_installed(search: Search) -> None:
    """Raise BadInputError if the search needs a package that isn't installed."""
    if search.method == "optuna" and importlib.util.find_spec("optuna") is None:
        raise BadInputError("search: method 'optuna' needs Optuna: pip install 'sweep-service[search]'")


def ask(
    search: Search,
    number: int,
    tried: Sequence[ProposedSetting],
    direction: Literal["max", "min"],
    refused: Sequence[Mapping[str, Any]] = (),
    repeats: int = 0,
) -> dict[str, Any]:
    """Return setting `number` from Optuna's TPE sampler, given the proposed settings so far.

    Args:
        search: The search.
        number: Number of the setting, from 0.
        tried: Earlier settings; some may still be running.
        direction: Whether the objective is maximised or minimised.
        refused: Draws for this number that can't be trained; the sampler receives them as infeasible.
        repeats: Number of draws for this number that repeat an earlier setting.

    Raises:
        BadInputError: Optuna isn't installed.
    """
    check_installed(search)
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    # A sampler of its own for each number: its draws then depend on the history alone, not on who asked before.
    seed = search.seed * 100_003 + number + 1_000_003 * (len(refused) + repeats)
    sampler = optuna.samplers.TPESampler(seed=seed, constant_liar=True)
    study = optuna.create_study(sampler=sampler, direction="maximize" if direction == "max" else "minimize")
    spaces = {name: _distribution(over) for name, over in search.over.items()}
    for setting in tried:
        study.add_trial(_frozen(setting, spaces, search))
    for values in refused:
        study.add_trial(_infeasible(values, spaces, search, direction))
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


def _frozen(setting: ProposedSetting, spaces: Mapping[str, Any], search: Search) -> Any:
    from optuna.trial import TrialState, create_trial

    values = _params(setting.values, search)
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


def _infeasible(values: Mapping[str, Any], spaces: Mapping[str, Any], search: Search, direction: str) -> Any:
    from optuna.trial import create_trial

    # Optuna 4 doesn't look at the constraint here: to it the setting is the worst of all.
    return create_trial(
        value=-math.inf if direction == "max" else math.inf,
        params=_params(values, search),
        distributions=dict(spaces),
        system_attrs={_CONSTRAINTS: (1.0,)},
    )


def _params(values: Mapping[str, Any], search: Search) -> dict[str, Any]:
    """Return a setting in Optuna's form: a choice is represented by its index."""
    return {
        name: values[name] if isinstance(over, Range) else _place(over, values[name])
        for name, over in search.over.items()
    }


def _place(choices: Sequence[Any], value: Any) -> int:
    return [_plain(choice) for choice in choices].index(_plain(value))


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
