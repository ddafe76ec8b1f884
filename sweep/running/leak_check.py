"""Check of a plan for leaks between what encoders are pretrained on and what they are evaluated on (`--strict`)."""

from sweep.comparison.pool_leaks import StorePair, leaks_of, store_pairs
from sweep.planning.plan import Plan
from sweep.records.sweep_storage import SweepStorage
from trainables.config import data_fingerprint
from trainables.data.catalog import StoreInfo, prepare_command
from trainables.errors import BadInputError


def check_leaks(plan: Plan, storage: SweepStorage) -> None:
    """Raise BadInputError that lists the leaks of a plan's data; also where they can't be searched for."""
    pairs: dict[StorePair, None] = {}
    for trial in plan.trials:
        other = None if trial.evaluation is None else trial.evaluation.fingerprint
        fingerprint = data_fingerprint(trial.data.fingerprint, other)
        pairs |= dict.fromkeys(store_pairs(trial.config.model_dump(mode="json"), fingerprint, storage))
    faults = []
    for pair in pairs:
        leaks = leaks_of(pair, fetch=True)
        if leaks is not None and leaks.found.found:
            remedy = "prepare one of them with other images"
            if pair.pool == pair.evaluation:
                remedy = "prepare it with other --splits, such as block or place"
            faults.append(f"--strict: {leaks.sentence.partition(': ')[2]}; {remedy}")
        elif leaks is None and _is_gone(pair.pool, pair.pool_fingerprint):
            faults.append(
                f"--strict: {pair.pool}, which encoders were pretrained on, isn't prepared as it was then, so leaks "
                f"can't be searched for; prepare it ({prepare_command(pair.pool)}), or leave --strict out"
            )
    if faults:
        raise BadInputError(*faults)


def _is_gone(name: str, fingerprint: str) -> bool:
    info = StoreInfo.read(name)
    return info is None or info.fingerprint != fingerprint
