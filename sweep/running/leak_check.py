"""Check of a plan for leaks between what encoders are pretrained on and what they are evaluated on (`--strict`)."""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from sweep.comparison.pool_leaks import StorePair, leaks_of, store_pairs
from sweep.planning.dataset_sizes import size_of
from sweep.planning.expansion import crossed, settings_of
from sweep.planning.plan import Plan
from sweep.records.sweep_storage import SweepStorage
from sweep.space import Best, Grid
from trainables.config import TrialConfig, data_fingerprint
from trainables.data.store_info import StoreInfo, prepare_command
from trainables.errors import BadInputError

FIELDS = ("dataset", "evaluation_dataset", "initial_weights")
"""Fields of a trial that determine its pairs of stores."""


def check_leaks(plan: Plan, storage: SweepStorage) -> None:
    """Raise BadInputError that lists the leaks of a plan's data; also where they can't be searched for.

    Later stages and searches count too, as far as their data sets are known before any result; the others are checked
    when results have extended the plan.
    """
    pairs: dict[StorePair, None] = {}
    for trial in plan.trials:
        other = None if trial.evaluation is None else trial.evaluation.fingerprint
        fingerprint = data_fingerprint(trial.data.fingerprint, other)
        pairs |= dict.fromkeys(store_pairs(trial.config.model_dump(mode="json"), fingerprint, storage))
    pairs |= dict.fromkeys(_pairs_to_come(plan, storage))
    faults = [fault for pair in pairs if (fault := _fault(pair))]
    if faults:
        raise BadInputError(*faults)


def _fault(pair: StorePair) -> str:
    """Return why a pair of stores is refused; empty if it has no leaks."""
    leaks = leaks_of(pair, fetch=True)
    if leaks is not None and leaks.found.found:
        remedy = "prepare one of them with other images"
        if pair.pool == pair.evaluation:
            remedy = "prepare it with other --splits, such as block or place"
        return f"--strict: {leaks.sentence.partition(': ')[2]}; {remedy}"
    stores = {"were pretrained": (pair.pool, pair.pool_fingerprint)}
    stores["are evaluated"] = (pair.evaluation, pair.evaluation_fingerprint)
    for use, (name, fingerprint) in stores.items():
        if leaks is None and _is_gone(name, fingerprint):
            return (
                f"--strict: {name}, which encoders {use} on, isn't prepared, or no longer as it was, so leaks can't be "
                f"searched for; prepare it ({prepare_command(name)}), or leave --strict out"
            )
    return ""


def _pairs_to_come(plan: Plan, storage: SweepStorage) -> Iterator[StorePair]:
    """Yield the pairs of stores of pending stages and of open searches, without values that results decide."""
    sizes = cache(size_of)
    for setting in _settings_to_come(plan):
        fields = {name: setting.get(name, TrialConfig.model_fields[name].default) for name in FIELDS}
        known = {name: value for name, value in fields.items() if not isinstance(value, Best)}
        if "dataset" not in known or "evaluation_dataset" not in known:
            continue
        other = known["evaluation_dataset"]
        fingerprint = data_fingerprint(sizes(known["dataset"]).fingerprint, other and sizes(other).fingerprint)
        yield from store_pairs(known, fingerprint, storage)


def _settings_to_come(plan: Plan) -> Iterator[Mapping[str, Any]]:
    """Yield settings that aren't trials yet; of a search, every combination of its data sets and weights."""
    for stage in plan.pending:
        yield from (setting for _, setting in settings_of(plan.space, stage, plan.assignments))
    for number in range(1, len(plan.space.stages) + 1):
        if (search := plan.open_search(number)) is not None:
            axes = {name: over for name, over in search.over.items() if name in FIELDS}
            yield from crossed(plan.space, Grid(base=search.base, axes=axes), {}, plan.assignments)


def _is_gone(name: str, fingerprint: str) -> bool:
    info = StoreInfo.read(name)
    return info is None or info.fingerprint != fingerprint
