"""Sizes of data sets for planning: of the prepared store, else the published ones."""

from sweep.plan import DataSize, Plan
from trainables.data.catalog import KNOWN, StoreInfo, expand_positive, prepare_command, prepared, store_folder
from trainables.errors import BadInputError

UNKNOWN_CLASSES = 1000


def size_of(name: str) -> DataSize:
    """Return the prepared store's sizes, else the published ones; BadInputError for a name that is neither."""
    info = StoreInfo.read(name)
    if info is not None:
        return DataSize(
            info.splits.get("train", 0), info.splits.get("test", 0), len(info.class_names), info.fingerprint, "prepared"
        )
    facts = KNOWN.get(name)
    if facts is None:
        raise BadInputError(
            f"dataset: {name!r} is unknown; known: {', '.join(KNOWN)}; your own: {prepare_command(name)}"
        )
    sizes = facts.published_sizes
    return DataSize(sizes["train"], sizes["test"], facts.classes or UNKNOWN_CLASSES, "", "published")


def prepare_embedded(plan: Plan) -> bool:
    """Prepare the data sets of a plan that an installed package ships; whether there was anything to do."""
    names = {trial.config.dataset for trial in plan.trials if trial.data.origin == "published"}
    embedded = sorted(name for name in names if KNOWN[name].layout is None)
    for name in embedded:
        from trainables.data.prepare import prepare

        print(f"preparing {name} under {store_folder(name)}", flush=True)
        prepare(name)
    return bool(embedded)


def check_data(plan: Plan) -> None:
    """Raise BadInputError that lists data sets that aren't prepared, and positive rules that they don't have."""
    faults: dict[str, None] = {}
    for name, positive in dict.fromkeys((trial.config.dataset, trial.config.positive) for trial in plan.trials):
        try:
            expand_positive(prepared(name), positive)
        except BadInputError as error:
            faults[f"dataset: {error}"] = None
    if faults:
        raise BadInputError("\n".join(faults))
