"""From a space to its trials: pure functions of values, which start nothing and import neither torch nor ray."""

import hashlib
import itertools
import math
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from typing import Any, Literal

from sweep.space import Baseline, Best, Grid, Search, SearchSpace, Stage
from trainables.config import UNTRAINABLE, SimCLRConfig, data_fingerprint
from trainables.errors import BadInputError
from trainables.initial_weights import InitialWeights
from trainables.memory.layer_sizes import footprint
from trainables.memory.ledger import Device
from trainables.memory.peak import Images, peak_bytes
from trainables.memory.recomputation import time_factor
from trainables.schedule import Steps

Assignments = Mapping[str, Sequence[Any]]
NAMED_FIELDS = ("dataset", "batch_size", "temperature", "epochs", "seed")
"""What a trial's name always says."""
ENCODER_FIELDS = ("encoder", "width_factor", "stem", "normalisation", "precision", "seed")
BASELINE_FIELDS = (
    *("dataset", "evaluation_dataset", "image_size", "target", "positive", "validation_fraction"),
    *("max_train_images", "max_test_images", "label_fraction", "label_draw"),
    *("probe_class_weight", "probe_sampling", "wanted_specificity"),
    *ENCODER_FIELDS,
    *("knn_neighbours", "knn_also", "knn_temperature", "linear_regularisation", "linear_candidates"),
)
"""What the evaluation of an untrained encoder depends on."""


@dataclass(frozen=True)
class DataSize:
    """What planning has to know of a data set."""

    train: int
    test: int
    classes: int
    fingerprint: str
    """Empty while the data set isn't prepared."""
    origin: Literal["prepared", "published"]
    validation: int = 0
    """Images of a validation split that the data set brings."""


@dataclass(frozen=True)
class PlannedTrial:
    """One trial before it runs."""

    config: SimCLRConfig
    data: DataSize
    stage: int
    """1-based."""
    baseline: Baseline | None
    evaluation: DataSize | None = None
    """Of the data set that is evaluated on, where that is another."""
    stands_for: Mapping[str, Any] = field(default_factory=dict)
    """In a smoke run, the fields of the full-size setting that were made small."""
    name: str = ""
    required: bool = False
    """Whether halving leaves it alone."""
    setting: int | None = None
    """Of a search: the number of the setting, from 0."""
    method: str = ""
    with_baselines: bool = True
    """Both of its grid."""

    @cached_property
    def trial_id(self) -> str:
        """The hash of configuration, data and protocol version."""
        evaluated = None if self.evaluation is None else self.evaluation.fingerprint
        return self.config.trial_id(data_fingerprint(self.data.fingerprint, evaluated))

    @property
    def labelled(self) -> DataSize:
        """The size of what is evaluated on."""
        return self.evaluation or self.data

    @property
    def train_images(self) -> int:
        """Images that are trained on; to the nearest image where a stable hash cuts the validation slice."""
        kept = 1.0 if self.evaluation is not None else 1.0 - self.config.validation_fraction
        images = round(self.data.train * kept)
        images = min(images, self.config.max_train_images or images)
        return math.ceil(self.config.label_fraction * images) if self.config.training == "supervised" else images

    @property
    def steps(self) -> int:
        """Optimiser steps of the whole run."""
        return Steps(self.train_images, self.config.batch_size, self.config.epochs).total if self.config.epochs else 0

    @property
    def views(self) -> int:
        """Views that the encoder sees in training."""
        return (1 if self.config.training == "supervised" else 2) * self.steps * self.config.batch_size

    @property
    def images(self) -> Images:
        """What the estimate of memory has to know of the data."""
        size, config = self.labelled, self.config
        kept = size.train if self.evaluation is not None else self.train_images
        held_out = max(size.test, size.validation, round(size.train * config.validation_fraction))
        return Images(
            classes=2 if config.target == "positive" else size.classes,
            train=math.ceil(config.label_fraction * kept),
            held_out=min(held_out, config.max_test_images or held_out),
        )

    def memory_bytes(self, workers: int, device: Device = "cpu", *, recompute: bool = False) -> int:
        """Return the estimated peak memory of one worker, beside what its process holds before the trial."""
        return peak_bytes(self.config, self.images, workers=workers, device=device, recompute=recompute)

    @property
    def time_recomputed(self) -> float:
        """The time of a step that computes activations again over that of a plain one."""
        return time_factor(footprint(self.config, self.images.classes))


@dataclass(frozen=True)
class Plan:
    """A space expanded as far as it can be."""

    space: SearchSpace
    trials: tuple[PlannedTrial, ...]
    pending: tuple[Stage, ...]
    """Stages that are decided by the results of those before."""
    smoke: bool = False
    workers: int = 1
    assignments: Assignments = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """A hash of what this plan will run: two sweeps of one name have one digest."""
        listed = (trial.trial_id for trial in self.trials if trial.stage == 1 and trial.setting is None)
        lines = [self.space.name, str(self.smoke), *listed]
        lines += [repr(stage.search) for stage in self.space.stages if stage.search is not None]
        lines += [f"{key}={value}" for key, value in sorted(self.assignments.items())]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]

    @property
    def selected_on(self) -> str:
        """The split that settings are selected on; "nothing" where there is only one."""
        settings = [trial for trial in self.trials if trial.baseline is None]
        if not self.pending and not varying_fields([trial.config for trial in settings]):
            return "nothing"
        return "test" if self.space.objective.selects_on_test else "validation"

    def of_stage(self, number: int) -> list[PlannedTrial]:
        """Return the trials of a stage (1-based), baselines first."""
        return [trial for trial in self.trials if trial.stage == number]

    def open_search(self, number: int) -> Search | None:
        """Return the search of a stage whose settings are decided as results come, or None."""
        search = self.space.stages[number - 1].search
        return search if search is not None and search.method != "random" else None


def make_plan(
    space: SearchSpace,
    *,
    assignments: Assignments,
    size_of: Callable[[str], DataSize],
    workers: int = 1,
    smoke: bool = False,
) -> Plan:
    """Expand the stages that need no result; raises BadInputError that lists every fault of every trial."""
    plan = Plan(space, (), tuple(space.stages), smoke, workers, assignments)
    while plan.pending and not needs(plan.pending[0], assignments):
        plan = extend(plan, {}, size_of=size_of)
    return plan


def extend(plan: Plan, decided: Mapping[Best, Any], *, size_of: Callable[[str], DataSize]) -> Plan:
    """Expand the next pending stage with the decided values."""
    size_of = cache(size_of)  # once a data set, not once a trial
    stage = plan.pending[0]
    number = len(plan.space.stages) - len(plan.pending) + 1
    grids, drawn = _grids(plan.space, stage, plan.assignments), list(_settings(plan.space, stage, plan.assignments))
    required = _required(plan.space, stage, plan.assignments)
    settings = [_with_best(setting, decided) for setting in drawn]
    trials = [_planned(config, number, size_of) for config in map(SimCLRConfig.parse, settings)]
    trials = [
        replace(trial, required=n < required, method=grid.method, with_baselines=grid.with_baselines)
        for n, (trial, grid) in enumerate(zip(trials, grids, strict=True))
    ]
    if plan.smoke:
        from sweep.planning.smoke import shrink

        small = map(SimCLRConfig.parse, shrink(settings, plan, size_of))
        trials = [_made_small(trial, config) for trial, config in zip(trials, small, strict=True)]
    return _joined(replace(plan, pending=plan.pending[1:]), trials)


def propose(
    plan: Plan, stage: int, number: int, values: Mapping[str, Any], *, size_of: Callable[[str], DataSize]
) -> Plan:
    """Return the plan with setting `number` of a stage's search, a trial a seed; BadInputError as `make_plan`."""
    search = plan.space.stages[stage - 1].search
    assert search is not None
    grid = Grid(base={**search.base, **values})
    settings = list(_crossed(plan.space, grid, {}, plan.assignments))
    trials = [replace(_planned(config, stage, size_of), setting=number) for config in map(SimCLRConfig.parse, settings)]
    if plan.smoke:
        from sweep.planning.smoke import made_tiny

        trials = [
            _made_small(trial, SimCLRConfig.parse(made_tiny(s, plan)))
            for trial, s in zip(trials, settings, strict=True)
        ]
    return _joined(plan, trials)


def _joined(plan: Plan, trials: Sequence[PlannedTrial]) -> Plan:
    """Return the plan with more trials and their baselines, those left out that it has already."""
    trials = [*_baselines([trial for trial in trials if trial.with_baselines], plan.space), *trials]
    known = {trial.trial_id for trial in plan.trials}
    trials = [trial for trial in _without_repeats(trials) if trial.trial_id not in known]
    _check(trials, plan.workers)
    return replace(plan, trials=_named((*plan.trials, *trials), _searched(plan.space)))


def _searched(space: SearchSpace) -> set[str]:
    return {name for stage in space.stages if stage.search is not None for name in stage.search.over}


def _planned(config: SimCLRConfig, stage: int, size_of: Callable[[str], DataSize]) -> PlannedTrial:
    evaluation = size_of(config.evaluation_dataset) if config.evaluation_dataset else None
    return PlannedTrial(config, size_of(config.dataset), stage, None, evaluation)


def needs(stage: Stage, assignments: Assignments) -> list[Best]:
    """Return the results of earlier stages that a stage asks for."""
    wanted = []
    for grid in stage.grids:
        values = [(key, value) for part in (grid.base, *grid.points) for key, value in part.items()]
        wanted += [value for key, value in values if isinstance(value, Best) and key not in assignments]
    return list(dict.fromkeys(wanted))


def count_pending(plan: Plan, stage: Stage) -> int:
    """Return how many trials a pending stage will have."""
    search = stage.search if stage.search is not None and stage.search.method != "random" else None
    drawn = 0 if search is None else search.settings * len(plan.assignments.get("seed", plan.space.seeds))
    return len(list(_settings(plan.space, stage, plan.assignments))) + drawn


def settings_of_all_stages(plan: Plan) -> list[dict[str, Any]]:
    """Return every setting of the space, those of pending stages with Best in place of values."""
    return [setting for stage in plan.space.stages for setting in _settings(plan.space, stage, plan.assignments)]


def _settings(space: SearchSpace, stage: Stage, assignments: Assignments) -> Iterator[dict[str, Any]]:
    """Yield what is known before anything ran: required grids first, then the others, then a random search."""
    for grid in sorted(stage.grids, key=lambda grid: not grid.required):
        for point in grid.points:
            yield from _crossed(space, grid, point, assignments)
    if stage.search is not None and stage.search.method == "random":
        from sweep.planning.search import draw

        for number in range(stage.search.settings):
            grid = Grid(base={**stage.search.base, **draw(stage.search, number)})
            yield from _crossed(space, grid, {}, assignments)


def _required(space: SearchSpace, stage: Stage, assignments: Assignments) -> int:
    """Return how many of the stage's settings are required; they come first."""
    grids = tuple(grid for grid in stage.grids if grid.required)
    return len(list(_settings(space, replace(stage, grids=grids, search=None), assignments)))


def _grids(space: SearchSpace, stage: Stage, assignments: Assignments) -> list[Grid]:
    """Return the grid of each of a stage's settings; a random search's stand in one of their own."""
    grids = sorted(stage.grids, key=lambda grid: not grid.required)
    listed = [grid for grid in grids for point in grid.points for _ in _crossed(space, grid, point, assignments)]
    count = len(list(_settings(space, stage, assignments)))
    return listed + [Grid()] * (count - len(listed))


def _crossed(
    space: SearchSpace, grid: Grid, point: Mapping[str, Any], assignments: Assignments
) -> Iterator[dict[str, Any]]:
    base = {**space.base, **grid.base, **point}
    axes: dict[str, Sequence[Any]] = {**grid.axes, **({} if "seed" in base else {"seed": tuple(space.seeds)})}
    # A value from the command line replaces the field's axis, or its fixed value, in every grid.
    axes |= assignments
    for values in itertools.product(*axes.values()):
        yield {**base, **dict(zip(axes, values, strict=True))}


def _with_best(setting: dict[str, Any], decided: Mapping[Best, Any]) -> dict[str, Any]:
    return {key: decided[value] if isinstance(value, Best) else value for key, value in setting.items()}


def _made_small(trial: PlannedTrial, config: SimCLRConfig) -> PlannedTrial:
    changed = [name for name in SimCLRConfig.model_fields if getattr(trial.config, name) != getattr(config, name)]
    return replace(trial, config=config, stands_for={name: getattr(trial.config, name) for name in changed})


def _baselines(trials: Sequence[PlannedTrial], space: SearchSpace) -> Iterator[PlannedTrial]:
    for trial in trials:
        for baseline in space.baselines:
            config = _baseline_config(trial.config, baseline)
            yield replace(trial, config=config, baseline=baseline, stands_for={}, method="")


def _baseline_config(config: SimCLRConfig, baseline: Baseline) -> SimCLRConfig:
    kept = {name: getattr(config, name) for name in BASELINE_FIELDS}
    if baseline in UNTRAINABLE:
        kept = {name: kept[name] for name in kept if name not in ENCODER_FIELDS} | {"encoder": baseline}
    return SimCLRConfig.parse({**kept, "epochs": 0, "calibrate_batch_norm": baseline == "calibrated"})


def _without_repeats(trials: Sequence[PlannedTrial]) -> list[PlannedTrial]:
    return list({trial.trial_id: trial for trial in reversed(trials)}.values())[::-1]


def _check(trials: Sequence[PlannedTrial], workers: int) -> None:
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
        if trial.config.epochs and batch < workers:
            faults[f"batch_size: {batch} is less than one image for {workers} workers; choose fewer --workers"] = None
    if faults:
        raise BadInputError("\n".join(faults))


def _named(trials: Sequence[PlannedTrial], searched: Collection[str]) -> tuple[PlannedTrial, ...]:
    """Give each trial a name of the fields that are always said, and of those that else vary or are searched."""
    groups: dict[str, list[SimCLRConfig]] = defaultdict(list)
    for trial in trials:
        if trial.baseline is None:
            groups[trial.method].append(trial.config)
    varying = {}
    for method, configs in groups.items():
        different = set(varying_fields(configs)) | set(searched)
        varying[method] = [name for name in SimCLRConfig.model_fields if name in different and name not in NAMED_FIELDS]
    return tuple(replace(trial, name=_name(trial, varying.get(trial.method, []))) for trial in trials)


def _name(trial: PlannedTrial, varying: Sequence[str]) -> str:
    config = trial.config
    if trial.baseline in UNTRAINABLE:
        return f"{config.dataset}-{trial.baseline}-{trial.trial_id[:4]}"
    if trial.baseline:
        return f"{config.dataset}-{trial.baseline}-s{config.seed}-{trial.trial_id[:4]}"
    if trial.method:
        # Labels' shares are what its trials are told apart by; the id says the rest.
        parts = [config.dataset, trial.method.replace(" ", "_"), f"l{config.label_fraction:g}"]
        parts += [_spelled(config.initial_weights)] if "initial_weights" in varying else []
        return "-".join([*parts, f"s{config.seed}", trial.trial_id[:4]])
    parts = [config.dataset, f"b{config.batch_size}", f"t{config.temperature:g}", f"e{config.epochs}"]
    parts += [f"{name}_{_spelled(getattr(config, name))}" for name in varying]
    return "-".join([*parts, f"s{config.seed}"])


def _spelled(value: Any) -> str:
    if isinstance(value, tuple):
        return "_".join(_spelled(part) for part in value)
    if isinstance(value, str) and "#name=" in value:
        value = InitialWeights.parse(value).name
    return f"{value:g}" if isinstance(value, float) else re.sub(r"[/\s]+", "_", str(value))


def varying_fields(configs: Iterable[SimCLRConfig]) -> list[str]:
    """Return the fields that differ among the configurations of some one data set, in their order in SimCLRConfig.

    What differs between data sets only (their image sizes, say) goes without saying.
    """
    by_dataset: dict[str, list[SimCLRConfig]] = defaultdict(list)
    for config in configs:
        by_dataset[config.dataset].append(config)
    return [
        name
        for name in SimCLRConfig.model_fields
        if any(len({getattr(config, name) for config in group}) > 1 for group in by_dataset.values())
    ]
