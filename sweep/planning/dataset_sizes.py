"""Sizes of data sets for planning: of the prepared store, else the published ones."""

from collections.abc import Callable
from functools import cache, lru_cache, partial

from sweep.console.printing import say
from sweep.planning.defined_metrics import check_defined, judged_metrics
from sweep.planning.plan import Plan
from sweep.planning.trial import DataSize
from trainables.config import TrialConfig
from trainables.data.dataset_facts import KNOWN, DataSetFacts
from trainables.data.image_counts import ImageCounts
from trainables.data.store_addresses import store_address, store_folder
from trainables.data.store_format import INFO_FILE
from trainables.data.store_info import PlaceDates, StoreInfo, known_names, prepare_command, prepared
from trainables.data.store_targets import (
    expand_positive,
    other_values,
    several_labels,
    without_seasons,
    wrong_kind,
)
from trainables.errors import BadInputError, nearest

UNKNOWN_CLASSES = 1000


def size_of(name: str) -> DataSize:
    """Return the sizes of the prepared store, else the published ones; BadInputError for an unknown data set."""
    info = _info(name)
    if info is not None:
        splits = info.splits
        return DataSize(
            splits.get("train", 0),
            splits.get("test", 0),
            len(info.class_names),
            info.fingerprint,
            "prepared",
            splits.get("validation", 0),
            info.class_names,
            info.unlabelled,
            bool(info.number),
            channels=info.channels,
            kept_whole=info.kept_whole,
            counter=partial(_counted, name, info.fingerprint),
        )
    facts = KNOWN.get(name)
    if facts is None or not facts.published_sizes:
        raise BadInputError(
            f"dataset: {name!r} is unknown{nearest(name, known_names())}; known: {', '.join(KNOWN)}; your own: "
            f"{prepare_command(name)}"
        )
    sizes = facts.published_sizes
    classes = facts.classes or UNKNOWN_CLASSES
    validation = sizes.get("validation", 0)
    return DataSize(sizes["train"], sizes["test"], classes, "", "published", validation, facts.class_names)


@lru_cache(maxsize=256)
def _counted(name: str, fingerprint: str, *, share: float, limit: int | None, whole: bool) -> ImageCounts:
    """Return the numbers of images that a trial chooses in a prepared store, counted once for all trials."""
    from trainables.data.count_images import count_images
    from trainables.data.store_rows import rows_at

    return count_images(prepared(name), rows_at(store_address(name)), share=share, limit=limit, whole=whole)


def prepare_embedded(plan: Plan) -> bool:
    """Prepare a plan's data sets that come with an installed package; return whether any was prepared now."""
    names = {trial.config.dataset for trial in plan.trials if trial.data.origin == "published"}
    names |= {trial.config.labelled_dataset for trial in plan.trials if trial.labelled.origin == "published"}
    embedded = sorted(name for name in names if KNOWN[name].layout is None)
    for name in embedded:
        from trainables.data.preparing.prepare import prepare, remove

        say(f"preparing {name} under {store_folder(name)}")
        if (store_folder(name) / INFO_FILE).is_file():  # of another format, or damaged
            remove(name)
        prepare(name)
    return bool(embedded)


def _info(name: str) -> StoreInfo | None:
    """Return the store's info; None for an unreadable embedded data set, which is then prepared again."""
    try:
        return StoreInfo.read(name)
    except BadInputError:
        if name in KNOWN and KNOWN[name].layout is None:
            return None
        raise


def check_questions(plan: Plan) -> None:
    """Raise BadInputError that lists positive rules, targets and metrics that no data set of a plan has."""
    _check(plan, _info)


def check_data(plan: Plan) -> None:
    """Raise BadInputError that lists data sets that aren't prepared, and questions that they can't answer."""
    _check(plan, prepared)


def _check(plan: Plan, info_of: Callable[[str], StoreInfo | None]) -> None:
    """Raise BadInputError with the faults of all data sets; of one without info, only published facts are checked."""
    faults: dict[str, None] = {}
    info_of = cache(info_of)  # read once for all trials
    for judged in dict.fromkeys(judged_metrics(plan, size_of)):
        config = judged.config
        try:
            pretrained = _with_bands(info_of(config.dataset), config)
            info = _with_bands(info_of(config.labelled_dataset), config)
            if pretrained is not None and info is not None:
                faults |= dict.fromkeys(other_values(pretrained, info))
            if facts := info or KNOWN.get(config.labelled_dataset):
                _check_target(config, facts)
            if info is not None:
                check_defined(judged, info)
        except BadInputError as error:
            faults[f"dataset: {error}"] = None
    faults |= _season_faults(plan)
    if faults:
        raise BadInputError(*faults)


def _with_bands(info: StoreInfo | None, config: TrialConfig) -> StoreInfo | None:
    return None if info is None else info.with_bands(config.bands)


def _season_faults(plan: Plan) -> dict[str, None]:
    """Return an error for each prepared data set without pairs of seasons, if trials train on such pairs."""
    asked = [trial.config for trial in plan.trials if trial.config.pairs == "season" and trial.config.epochs]
    infos = [_info(name) for name in dict.fromkeys(config.dataset for config in asked)]
    counted = [(info.name, _place_dates(info)) for info in infos if info is not None]
    return {str(without_seasons(name, counts)): None for name, counts in counted if not counts.paired}


def _place_dates(info: StoreInfo) -> PlaceDates:
    """Return the counts of places and dates; a store of an earlier version is opened for them."""
    if info.place_dates is not None:
        return info.place_dates
    from trainables.data.seasons import SeasonPairs
    from trainables.data.store import ImageStore

    store = ImageStore.open(info.name)
    return SeasonPairs.of(store, store.split("train")).counts


def _check_target(config: TrialConfig, info: StoreInfo | DataSetFacts) -> None:
    if isinstance(info, StoreInfo) and not info.labelled_images:
        return  # nothing is asked of it
    if isinstance(info, StoreInfo) and (config.target == "number") != bool(info.number):
        raise wrong_kind(info, config.target)
    expand_positive(info, config.positive)
    if config.target == "classes" and info.multi_label:
        raise several_labels(info)
