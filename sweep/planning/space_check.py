"""Checks of a whole plan: metrics that no trial will record, and values that no earlier stage decides."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from sweep.planning.expansion import Assignments, crossed, needs, planned, settings_of
from sweep.planning.search import check_installed
from sweep.planning.trial import DataSize, PlannedTrial
from sweep.space import Grid, Halving, Range, Search, SearchSpace, Stage
from trainables.config import TrialConfig
from trainables.errors import BadInputError, nearest
from trainables.metrics.expected import OF_NUMBERS, LabelFacts, epoch_metrics, final_metrics
from trainables.metrics.names import (
    ALPHA_REQ,
    ALPHA_REQ_GAP,
    LABEL_FREE_DIRECTION,
    OF_THE_MACHINE,
    better_when,
    has_direction,
)

Sizes = Callable[[str], DataSize]


def check_stages(space: SearchSpace, assignments: Assignments) -> None:
    """Raise BadInputError for a search that isn't possible, and for a Best that no earlier stage decides."""
    seen: set[str] = set()
    names = [stage.name for stage in space.stages]
    if twice := [name for number, name in enumerate(names) if name in names[:number]]:
        raise BadInputError(f"stages: two stages are named {twice[0]!r}; give each its own name")
    for stage in space.stages:
        for best in needs(stage, assignments):
            if best.dataset not in seen:
                raise BadInputError(
                    f"stage {stage.name!r}: takes the best {best.field} on {best.dataset!r}, but no earlier stage "
                    f"trains on it; they train on: {', '.join(sorted(seen)) or 'nothing'}"
                )
        settings = [setting for _, setting in settings_of(space, stage, assignments)]
        if stage.search is not None:
            check_installed(stage.search)
            if both := [name for name in assignments if name in stage.search.over]:
                raise BadInputError(f"--set {both[0]}: stage {stage.name!r} searches over it; leave it out")
            settings += _samples(space, stage.search, assignments)
        seen |= {str(setting.get("dataset", TrialConfig.model_fields["dataset"].default)) for setting in settings}


def check_metrics(
    space: SearchSpace,
    stage: Stage,
    trials: Sequence[PlannedTrial],
    *,
    assignments: Assignments,
    size_of: Sizes,
    shrunk: bool,
) -> None:
    """Raise BadInputError for an objective, a halving metric or a column that a stage's trials won't record.

    If trials are `shrunk` for a smoke run, the epochs of halving are not checked.
    """
    settings = [trial for trial in trials if trial.baseline is None]
    if stage.search is not None:
        _check_data_sets(stage.search, size_of)
        settings += proposals(space, stage.search, assignments, size_of)
    recorded = [final_metrics(trial.config, trial.labels) for trial in settings]
    for trial, known in zip(settings, recorded, strict=True):
        _check_metric("objective", space.objective.metric, known, trial)
    everywhere = frozenset.intersection(*recorded) if recorded else frozenset()
    _check_direction("objective", space.objective.metric, space.objective.direction, everywhere)
    if stage.halving is not None:
        what = f"halving in stage {stage.name!r}"
        _check_direction(what, stage.halving.metric, space.objective.direction, everywhere)
    if stage.halving is not None and not shrunk:
        _check_halving(stage.halving, settings)
    _check_columns(space, settings, frozenset(OF_THE_MACHINE).union(*recorded))


def _check_data_sets(search: Search, size_of: Sizes) -> None:
    """Raise BadInputError for a data set among a search's choices that nobody knows."""
    for field in ("dataset", "evaluation_dataset"):
        over = search.over.get(field, ())
        for name in () if isinstance(over, Range) else filter(None, over):
            size_of(name)


def _check_columns(space: SearchSpace, settings: Sequence[PlannedTrial], recorded: frozenset[str]) -> None:
    """Raise BadInputError for a column that isn't `recorded`, and that no other settings of the trials would record."""
    others = [column for column in space.columns if column not in recorded and not _of_one_label(column)]
    if not others or not settings:
        return
    possible = frozenset().union(*(_possible(trial) for trial in settings))
    for column in others:
        if column not in possible:
            raise BadInputError(f"columns: {column!r} isn't a metric{nearest(column, possible)}")


def proposals(space: SearchSpace, search: Search, assignments: Assignments, size_of: Sizes) -> Iterator[PlannedTrial]:
    """Yield example trials of a search, as far as they can be trained."""
    for setting in _samples(space, search, assignments):
        try:
            yield planned(TrialConfig.parse(setting), 1, size_of)
        except BadInputError:
            continue


def _samples(space: SearchSpace, search: Search, assignments: Assignments) -> Iterator[dict[str, Any]]:
    """Yield settings of a search that together contain each end of its ranges and each of its choices once."""
    values = {name: (over.low, over.high) if isinstance(over, Range) else over for name, over in search.over.items()}
    first = {name: own[0] for name, own in values.items()}
    for change in [{}, *({name: value} for name, own in values.items() for value in own[1:])]:
        yield from crossed(space, Grid(base={**search.base, **first, **change}), {}, assignments)


def _check_direction(what: str, metric: str, direction: str, recorded: frozenset[str]) -> None:
    """Raise BadInputError for a metric that is ranked the wrong way round, worst first, or that has no better end.

    Args:
        what: Role of the metric.
        metric: Its name.
        direction: Direction of the ranking.
        recorded: Metrics that could take its place.
    """
    if metric.rpartition("/")[2] == ALPHA_REQ:
        gap = metric.removesuffix(ALPHA_REQ) + ALPHA_REQ_GAP
        raise BadInputError(f"{what}: {metric!r} is best near 1, not at an end; take {gap!r}, its distance from 1")
    if not has_direction(metric):
        raise BadInputError(f"{what}: {metric!r} {_no_ranking(metric, recorded)}")
    if better_when(metric) != direction:
        better = "smaller" if direction == "max" else "larger"
        turned = f"set direction to {better_when(metric)!r}"
        if what != "objective":
            turned = f"take a metric of the objective's direction, {direction!r}"
        raise BadInputError(
            f"{what}: {better} values of {metric!r} are better, but the direction is {direction!r}; {turned}"
        )


def _no_ranking(metric: str, recorded: frozenset[str]) -> str:
    """Return in words that a metric has no better end, and which metrics of the same split have one."""
    own = "val/" if any(name.startswith("val/") for name in recorded) else "test/"
    ranking = sorted(name for name in recorded if name.startswith(own) and has_direction(name))
    among = [name for name in ranking if not _of_one_label(name)]
    return f"doesn't say which setting is better; take one that does: {', '.join(among) or 'a metric on val or test'}"


def _check_halving(halving: Halving, trials: Sequence[PlannedTrial]) -> None:
    judged = False
    for trial in trials:
        rung = halving.grace
        while rung < trial.config.epochs and not trial.required:
            judged = True
            known = epoch_metrics(trial.config, trial.labels, rung)
            _check_metric(f"halving, at epoch {rung}", halving.metric, known, trial)
            rung *= halving.reduction
    if not judged:
        longest = max((trial.config.epochs for trial in trials), default=0)
        raise BadInputError(
            f"halving: with grace {halving.grace} there is nothing to judge, the longest training has {longest} "
            "epochs; choose a smaller grace, or leave halving out"
        )


def _check_metric(what: str, metric: str, known: frozenset[str], trial: PlannedTrial) -> None:
    if metric in known or metric in OF_THE_MACHINE or (_of_one_label(metric) and not trial.labelled.class_names):
        return
    config = trial.config
    exists = metric in _possible(trial) or _of_one_label(metric)
    if exists and not trial.labels.known and metric.rpartition("/")[2] not in LABEL_FREE_DIRECTION:
        raise BadInputError(f"{what}: {metric!r} {_needs_labels(config.labelled_dataset, known)}")
    about = f"{what}: {metric!r} isn't a metric of the trials of {config.labelled_dataset} (target {config.target!r})"
    raise BadInputError(about + _remedy(metric, known, trial))


def _needs_labels(dataset: str, known: frozenset[str]) -> str:
    free = sorted(name for name in known if name.rpartition("/")[2] in LABEL_FREE_DIRECTION)
    return (
        f"needs labels, and {dataset} has none: rank without them (--objective METRIC: {', '.join(free)}), evaluate on "
        "a labelled data set (--set evaluation_dataset=NAME), or attach labels (python -m sweep.data label "
        f"{dataset} --table FILE)"
    )


def _remedy(metric: str, known: frozenset[str], trial: PlannedTrial) -> str:
    """Return advice about a missing metric: the field that enables it, or similar names."""
    config, on_test = trial.config, f"test/{metric.partition('/')[2]}"
    if metric.startswith("val/") and on_test in known and not trial.labels.validation:
        return f": no split is held out for validation; set validation_fraction, or take {on_test!r}"
    on_validation = f"val/{metric.partition('/')[2]}"
    if metric.startswith("test/") and on_validation in known and has_direction(metric):
        return f": it is measured on the validation split alone; take {on_validation!r}"
    if on_test in final_metrics(config, trial.labels):
        return f": it isn't evaluated after every epoch (knn_every is {config.knn_every})"
    if config.epochs == 0 and metric in final_metrics(config.model_copy(update={"epochs": 1}), trial.labels):
        return ": with epochs 0 nothing learns alongside; take one of frozen features, as test/linear_top1"
    of_number = metric.endswith(OF_NUMBERS)
    if metric in _possible(trial) and of_number != (config.target == "number"):
        kind = "numbers" if of_number else "classes"
        return f": it measures predicted {kind}; it has: {', '.join(sorted(known))}"
    if on_test in _possible(trial) - _possible(trial, positive=()) and not config.positive:
        return ": it needs to know what counts as positive; set positive, or another target"
    ranking = [name for name in sorted(known) if has_direction(name)]
    return nearest(metric, ranking) or f"; it has: {', '.join(ranking)}"


def _possible(trial: PlannedTrial, positive: tuple[str, ...] = ("a",)) -> frozenset[str]:
    """Return the metrics that the trial would have with some other settings, with or without `positive` classes."""
    found = set(OF_THE_MACHINE)
    for target in ("classes", "positive", "labels", "number"):
        for training in ("simclr", "supervised"):
            changes = {"target": target, "training": training, "positive": positive, "evaluation_dataset": None}
            config = trial.config.model_copy(update={**changes, "epochs": 1})
            for validation in (True, False):
                found |= final_metrics(config, LabelFacts(1000, validation, trial.labelled.class_names))
    return frozenset(found)


def _of_one_label(metric: str) -> bool:
    """Whether a metric is of one label of several: test/linear_average_precision/pastures."""
    return metric.count("/") == 2
