"""Expansion of a stage into settings, and of settings into trials with their baselines."""

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sweep.planning.search import draw
from sweep.planning.trial import DataSize, PlannedTrial
from sweep.space import Baseline, Best, Grid, Search, SearchSpace, Stage
from trainables.config import UNTRAINABLE, TrialConfig
from trainables.errors import BadInputError
from trainables.fields.values import spelled

Assignments = Mapping[str, Sequence[Any]]
RejectedDraw = tuple[Mapping[str, Any], str]
"""Values of a drawn setting, and why it can't be trained."""
MOST_DRAWS = 200
"""Maximum number of draws of a random search for one setting."""
_NUMBER = re.compile(r"[-+]?\d[\d.e+-]*")
ENCODER_FIELDS = ("encoder", "width_factor", "stem", "normalisation", "precision", "seed")
BASELINE_FIELDS = (
    *("dataset", "evaluation_dataset", "bands", "image_size", "target", "positive", "validation_fraction"),
    *("max_train_images", "max_test_images", "label_fraction", "label_draw"),
    *("probe_class_weight", "probe_sampling", "wanted_specificity"),
    *ENCODER_FIELDS,
    *("knn_neighbours", "knn_also", "knn_temperature", "linear_regularisation", "linear_candidates"),
)
"""Fields on which the evaluation of an untrained encoder depends."""
OF_A_BASELINE = ("encoder", "epochs", "calibrate_batch_norm")
"""Fields that a baseline sets itself."""


@dataclass(frozen=True)
class DrawCheck:
    """Check of drawn settings, which collects the rejected ones."""

    fault_of: Callable[[Mapping[str, Any]], str] = lambda setting: ""
    """Returns why a setting can't be trained; empty if it can."""
    rejected: list[RejectedDraw] = field(default_factory=list)


def needs(stage: Stage, assignments: Assignments) -> list[Best]:
    """Return the Best values of earlier stages that a stage needs."""
    parts = [part for grid in stage.grids for part in (grid.base, *grid.points)]
    parts += [stage.search.base] if stage.search is not None else []
    values = [(key, value) for part in parts for key, value in part.items()]
    return list(dict.fromkeys(value for key, value in values if isinstance(value, Best) and key not in assignments))


def settings_of(
    space: SearchSpace, stage: Stage, assignments: Assignments, check: DrawCheck | None = None
) -> Iterator[tuple[Grid, dict[str, Any]]]:
    """Yield the settings that are known before anything runs: required grids, other grids, then a random search.

    A drawn setting that can't be trained, by `check`, is replaced by another draw.
    """
    for grid in sorted(stage.grids, key=lambda grid: not grid.required):
        for point in grid.points:
            for setting in crossed(space, grid, point, assignments):
                yield grid, setting
    if stage.search is not None and stage.search.method == "random":
        for number in range(stage.search.settings):
            yield from drawn(space, stage.search, number, assignments, check or DrawCheck())


def drawn(
    space: SearchSpace, search: Search, number: int, assignments: Assignments, check: DrawCheck
) -> list[tuple[Grid, dict[str, Any]]]:
    """Return setting `number` of a random search with every seed: the first draw that can be trained.

    Raises:
        BadInputError: None of MOST_DRAWS draws can be trained.
    """
    fault = ""
    for attempt in range(MOST_DRAWS):
        values = draw(search, number, attempt)
        grid = Grid(base={**search.base, **values})
        settings = list(crossed(space, grid, {}, assignments))
        fault = next(filter(None, map(check.fault_of, settings)), "")
        if not fault:
            return [(grid, setting) for setting in settings]
        check.rejected.append((values, fault))
    raise BadInputError(f"search: none of {MOST_DRAWS} drawn settings can be trained; the last one: {fault}")


def redrawn_notes(rejected: Iterable[RejectedDraw]) -> list[str]:
    """Return a note for each reason why drawn settings can't be trained; reasons that differ in numbers are one."""
    by_reason: dict[str, list[RejectedDraw]] = {}
    for values, fault in rejected:
        by_reason.setdefault(_NUMBER.sub("", fault), []).append((values, fault))
    return [_redrawn_note(draws) for draws in by_reason.values()]


def _redrawn_note(draws: Sequence[RejectedDraw]) -> str:
    values, fault = draws[0]
    shown = ", ".join(f"{name} {spelled(value)}" for name, value in values.items())
    if len(draws) == 1:
        return f"search: {shown} can't be trained, another setting is drawn: {fault}"
    return f"search: {len(draws)} drawn settings can't be trained, others are drawn; the first, {shown}: {fault}"


def settings_of_all_stages(
    space: SearchSpace, assignments: Assignments, check: DrawCheck | None = None
) -> list[dict[str, Any]]:
    """Return all settings of the space; those of pending stages contain Best instead of values."""
    return [setting for stage in space.stages for _, setting in settings_of(space, stage, assignments, check)]


def crossed(
    space: SearchSpace, grid: Grid, point: Mapping[str, Any], assignments: Assignments
) -> Iterator[dict[str, Any]]:
    """Yield the settings of a grid at one of its points, seed by seed; undecided values are Best."""
    base = {**space.base, **grid.base, **point}
    axes = dict(grid.axes)
    if "seed" not in axes and "seed" not in base:
        axes["seed"] = tuple(space.seeds)
    # A value from the command line replaces the field's axis, or its fixed value, in every grid.
    axes |= assignments
    for values in itertools.product(*axes.values()):
        yield {**base, **dict(zip(axes, values, strict=True))}


def with_best(setting: Mapping[str, Any], decided: Mapping[Best, Any]) -> dict[str, Any]:
    """Return a setting with each Best replaced by its decided value; one that an assignment replaces has none."""
    return {key: decided.get(value, value) if isinstance(value, Best) else value for key, value in setting.items()}


def planned(config: TrialConfig, stage: int, size_of: Callable[[str], DataSize]) -> PlannedTrial:
    """Return the trial of a configuration, with the sizes of its data."""
    evaluation = size_of(config.evaluation_dataset) if config.evaluation_dataset else None
    data = size_of(config.dataset)
    return PlannedTrial(config.for_channels(data.channels), data, stage, None, evaluation)


def made_small(trial: PlannedTrial, config: TrialConfig) -> PlannedTrial:
    """Return the trial with a smaller configuration, and in `stands_for` the full-size fields."""
    config = config.for_channels(trial.data.channels)
    changed = [name for name in TrialConfig.model_fields if getattr(trial.config, name) != getattr(config, name)]
    return replace(trial, config=config, stands_for={name: getattr(trial.config, name) for name in changed})


def with_baselines(trials: Sequence[PlannedTrial], space: SearchSpace) -> list[PlannedTrial]:
    """Return the trials, preceded by their baselines, each once."""
    found = [
        replace(trial, config=_baseline_config(trial.config, one), baseline=one, stands_for={}, method="")
        for trial in trials
        if trial.with_baselines
        for one in space.baselines
    ]
    return list({trial.trial_id: trial for trial in reversed([*found, *trials])}.values())[::-1]


def baseline_fields(baseline: Baseline) -> tuple[str, ...]:
    """Return the fields on which the result of a baseline depends."""
    unused = ENCODER_FIELDS if baseline in UNTRAINABLE else ()
    return (*(name for name in BASELINE_FIELDS if name not in unused), *OF_A_BASELINE)


def _baseline_config(config: TrialConfig, baseline: Baseline) -> TrialConfig:
    kept = {name: getattr(config, name) for name in baseline_fields(baseline)}
    own = {"encoder": baseline} if baseline in UNTRAINABLE else {}
    return TrialConfig.parse({**kept, **own, "epochs": 0, "calibrate_batch_norm": baseline == "calibrated"})


def check_trials(trials: Sequence[PlannedTrial], workers: int) -> None:
    """Raise BadInputError that lists every fault of every trial."""
    faults: dict[str, None] = {}
    for trial in trials:
        batch, images = trial.config.batch_size, trial.train_images
        if trial.config.epochs and batch > images:
            faults[f"batch_size: {batch} is larger than the {images} train images of {trial.config.dataset}"] = None
        if trial.labelled.validation and trial.config.validation_fraction:
            faults[
                f"validation_fraction: {trial.config.labelled_dataset} has its own validation split; set it to 0, got "
                f"{trial.config.validation_fraction}"
            ] = None
        faults |= dict.fromkeys(_unlabelled(trial))
        if trial.labelled.class_names and trial.labelled.classes < 2 and trial.config.target != "labels":
            faults[_one_class(trial.config.labelled_dataset, trial.labelled.class_names[0])] = None
        if trial.config.epochs and batch < workers:
            faults[f"batch_size: {batch} is less than one image for {workers} workers; choose fewer --workers"] = None
    if faults:
        raise BadInputError(*faults)


def _unlabelled(trial: PlannedTrial) -> list[str]:
    """Return an error for each split of a labelled data set of which no image has a label.

    Of a validation slice, only whole places are counted: single images are drawn from all of train.
    """
    size, counts, name = trial.labelled, trial.judged, trial.config.labelled_dataset
    sizes = {"train": size.train, "validation": size.validation, "test": size.test}
    bare = [split for split, images in sizes.items() if images and size.unlabelled.get(split) == images]
    if bare and trial.labels.known:
        return [f"labels: no image of {name}'s {split} split has one; label some of them" for split in bare]
    if counts.places is None or not trial.labels.known or (counts.validated and counts.labelled):
        return []
    images = f"train images of {name} outside" if counts.validated else f"{counts.validation:,} images of {name} in"
    places = f"{counts.places[1]:,} of {counts.places[0]:,} {counts.whole}s"
    return [
        f"validation_fraction: none of the {images} the {places} that {trial.config.validation_fraction:g} holds out "
        "has a label; choose another fraction, or label images of more places"
    ]


def _one_class(dataset: str, name: str) -> str:
    return (
        f"dataset: {dataset} has one class, {name!r}, so a probe has nothing to distinguish; prepare it with its "
        "classes (--class-level N, --table FILE), or evaluate on another data set with evaluation_dataset=NAME"
    )
