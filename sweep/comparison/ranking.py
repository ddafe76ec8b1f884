"""Ranking of a sweep's settings by the objective; pure: records in, comparison tables out."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sweep.comparison.default_columns import default_columns
from sweep.comparison.table import METHOD, REPLICATED, WEIGHTS, ComparedTrial, ComparisonRow, ComparisonTable
from sweep.comparison.wording import spelled
from sweep.planning.expansion import BASELINE_FIELDS
from sweep.planning.trial_names import varying_fields
from sweep.statistics.hypothesis_tests import candidates_for_best
from sweep.statistics.share_intervals import LEVEL
from trainables.config import TrialConfig

if TYPE_CHECKING:
    from sweep.records.sweep_record import PublishedRow, SweepRecord, TrialEntry
    from sweep.records.trial_result import TrialResult

Sources = Mapping[str, tuple[str, ...]]
"""Names of the sweeps that contain a trial, by the trial's id."""
METHOD_AXES = (METHOD, WEIGHTS, "label_fraction")
"""Axes listed first in a sweep with several methods, since other axes may be determined by them."""


def compare(
    sweep: "SweepRecord", results: "Callable[[TrialEntry], TrialResult]", sources: Sources | None = None
) -> list[ComparisonTable]:
    """Return one comparison table per data set; metrics on different data sets can't be ranked together.

    Args:
        sweep: Record of the sweep.
        results: Returns the result of a trial so far.
        sources: Sweeps of each trial, if the record merges several (sweep/comparison/merged_sweeps.py).
    """
    configs = {entry.trial_id: TrialConfig.parse(entry.setting_known) for entry in sweep.trials}
    sweep = sweep.model_copy(update={"trials": tuple(_complete(e, configs[e.trial_id]) for e in sweep.trials)})
    settings = [entry for entry in sweep.trials if entry.baseline is None]
    varied = varying_fields([configs[e.trial_id] for e in settings])
    axes = tuple(name for name in varied if name not in ("dataset", "evaluation_dataset", *REPLICATED))
    rows = _folded(sweep, results, sources or {})
    tables = []
    for dataset in dict.fromkeys(data_of(entry.config) for entry in settings):
        own = [row for row in rows if data_of(row.config) == dataset]
        halved = tuple(row for row in own if row.halved and not row.label)
        ranked = sorted((row for row in own if not row.halved and not row.label), key=lambda row: _rank(row, sweep))
        baselines = _told_apart([row for row in own if row.label], axes)
        varying = _independent([*ranked, *halved], axes)
        judged, worse = _judged(ranked, sweep)
        tables.append(
            ComparisonTable(dataset, varying, sweep.objective, _shown(sweep, own), judged, baselines, halved, worse)
        )
    return tables


def _complete(entry: "TrialEntry", config: TrialConfig) -> "TrialEntry":
    """Return a trial with all fields; an older record lacks fields that were added later."""
    if TrialConfig.model_fields.keys() <= entry.config.keys():
        return entry
    return entry.model_copy(update={"config": config.model_dump(mode="json")})


def setting_key(entry: "TrialEntry") -> str:
    """Return a key that replicates of one setting share and other settings don't."""
    setting = {name: value for name, value in entry.config.items() if name not in REPLICATED}
    setting[WEIGHTS] = spelled(setting.get(WEIGHTS))  # of each seed its own, by one name
    return json.dumps([entry.baseline, entry.method, setting], sort_keys=True)


def _folded(
    sweep: "SweepRecord", results: "Callable[[TrialEntry], TrialResult]", sources: Sources
) -> list[ComparisonRow]:
    """Return one row per setting, in the order of its first trial."""
    groups: dict[str, list[TrialEntry]] = {}
    for entry in sweep.trials:
        groups.setdefault(setting_key(entry), []).append(entry)
    return [
        ComparisonRow(
            tuple(ComparedTrial(entry, results(entry), sources.get(entry.trial_id, ())) for entry in entries),
            _published({**entries[0].config, **entries[0].stands_for}, sweep.published),
        )
        for entries in groups.values()
    ]


def _independent(rows: Sequence[ComparisonRow], axes: Sequence[str]) -> tuple[str, ...]:
    """Return the axes that vary. With several methods, METHOD_AXES come first and determined axes are left out."""
    if not any(row.config[METHOD] for row in rows):
        return tuple(name for name in axes if len({spelled(row.config[name], name) for row in rows}) > 1)
    kept: list[str] = []
    for name in (*METHOD_AXES, *(axis for axis in axes if axis not in METHOD_AXES)):
        if _cells(rows, [*kept, name]) > _cells(rows, kept):
            kept.append(name)
    return tuple(kept)


def _cells(rows: Sequence[ComparisonRow], axes: Sequence[str]) -> int:
    return len({tuple(spelled(row.config.get(axis), axis) for axis in axes) for row in rows})


def _told_apart(baselines: Sequence[ComparisonRow], axes: Sequence[str]) -> tuple[ComparisonRow, ...]:
    """Return the baselines with labels that name the fields in which baselines of one kind differ."""
    fields = [name for name in axes if name in BASELINE_FIELDS]
    alike = {row.kind: [other for other in baselines if other.kind == row.kind] for row in baselines}
    return tuple(
        replace(row, told=tuple(name for name in fields if _cells(alike[row.kind], [name]) > 1)) for row in baselines
    )


def _judged(ranked: Sequence[ComparisonRow], sweep: "SweepRecord") -> tuple[tuple[ComparisonRow, ...], bool]:
    """Return the rows with `maybe_best` set, and whether all other settings are worse than the best.

    Dropping all others is a stronger claim than dropping each one: of two equally good settings, either may drop out.
    If m are equally good, the claim is false only if m - 1 of them drop out, so half the error per setting suffices
    for any m > 1.
    """
    values = [_by_seed(row, sweep) for row in ranked]
    usable = [number for number, own in enumerate(values) if own]
    groups, seeds = ([list(part(values[number])) for number in usable] for part in (dict.values, dict.keys))
    verdicts = dict(zip(usable, candidates_for_best(groups, seeds=seeds) or (), strict=False))
    surer = candidates_for_best(groups, seeds=seeds, level=(1.0 + LEVEL) / 2)
    judged = tuple(replace(row, maybe_best=verdicts.get(number)) for number, row in enumerate(ranked))
    return judged, surer is not None and sum(surer) == 1


def _by_seed(row: ComparisonRow, sweep: "SweepRecord") -> dict[Any, float]:
    """Return the objective of a setting's finished trials by seed and label draw; larger is better.

    Empty if one of them isn't finite: the setting has no mean, and so no rank.
    """
    sign = 1 if sweep.direction == "max" else -1
    found = {
        tuple(trial.entry.config.get(name) for name in REPLICATED): sign * trial.result.metrics[sweep.objective]
        for trial in row.finished
        if sweep.objective in trial.result.metrics
    }
    return found if all(map(math.isfinite, found.values())) else {}


def data_of(config: Mapping[str, Any]) -> str:
    """Return the name of a trial's pretraining data set; a different evaluation data set is added."""
    evaluated = config.get("evaluation_dataset")
    return str(config["dataset"]) if evaluated is None else f"{config['dataset']}, evaluated on {evaluated}"


def _rank(row: ComparisonRow, sweep: "SweepRecord") -> tuple[bool, float]:
    if not row.is_defined(sweep.objective):
        return True, 0.0
    value = row.known_mean(sweep.objective)
    return False, -value if sweep.direction == "max" else value


def _shown(sweep: "SweepRecord", rows: Sequence[ComparisonRow]) -> tuple[str, ...]:
    """Return the columns for which at least one row has a value, measured or published.

    Without any besides the objective, the default columns are shown.
    """
    measured = {name for row in rows for trial in row.trials for name in trial.result.metrics}
    known = measured.union(*(row.published for row in rows))
    columns = [name for name in sweep.columns if name in known] or default_columns(sweep.objective, measured)
    return tuple(name for name in dict.fromkeys((sweep.objective, *columns)) if name in known)


def _published(config: Mapping[str, Any], published: "Sequence[PublishedRow]") -> Mapping[str, float]:
    for row in published:
        if all(config.get(name) == value for name, value in row.setting.items()):
            return row.metrics
    return {}
