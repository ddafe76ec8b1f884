"""What a comparison says in two sentences; pure. Nothing is said that the numbers don't carry."""

import re
from collections.abc import Mapping
from typing import Any

from sweep.comparison.image_metrics import Pair
from sweep.comparison.statistics import Interval
from sweep.comparison.table import Row, Table, spelled
from sweep.records.sweep_record import SweepRecord
from trainables import metric_names as names

MOST_LISTED = 3
SPLITS = {"val": "validation", "test": "test"}
METHODS = {
    names.KNN: "nearest neighbours",
    names.CENTROID: "nearest class mean",
    names.LINEAR: "logistic regression",
    "": "linear probe",
}
WITHOUT_LABELS = (names.FEATURE_RANK, names.EMBEDDING_RANK, names.ALIGNMENT, names.UNIFORMITY, names.COLLAPSED)
WORDS = {
    names.TOP1: "top-1 accuracy",
    names.TOP5: "top-5 accuracy",
    "roc_auc": "ROC AUC",
    "pr_auc": "average precision",
}


def answer(sweep: SweepRecord, table: Table, pair: Pair | None = None) -> list[str]:
    """Return the answer for one data set; `pair` compares the first setting with the second image by image."""
    best = table.best
    if best is None:
        return [f"No setting on {table.dataset} has finished yet."]
    value = best.mean(sweep.objective)
    assert value is not None
    whose = f" ({best.sweeps})" if best.sweeps else ""
    said = f"On {table.dataset}, {described(best.config, table.axes)}{whose} does best"
    said += f" by {metric_words(sweep.objective)}: {_points(value)} %"
    if (interval := best.interval(sweep.objective)) is not None:
        said += f" (mean of {len(best.finished)} seeds, 95 % interval {_range(interval)} %)"
    sentences = [f"{said}.", *_against_others(table, best, pair), *_against_baselines(sweep, table, value)]
    return [sentence for sentence in sentences if sentence]


def described(config: Mapping[str, Any], axes: tuple[str, ...]) -> str:
    """Return a setting in words: batch size 256, temperature 0.25."""
    parts = [f"{axis.replace('_', ' ')} {spelled(config[axis])}" for axis in axes]
    return ", ".join(parts) or "the one setting"


def metric_words(metric: str) -> str:
    """Return a metric's name for a reader: test/linear_top1 as top-1 accuracy (logistic regression, test split)."""
    split, _, name = metric.partition("/")
    method, base = _method(name)
    what = WORDS.get(base, base.replace("_", " "))
    if split not in SPLITS:
        return f"{what} ({split})"
    told = "" if base in WITHOUT_LABELS else f"{method}, "
    return f"{what} ({told}{SPLITS[split]} split)"


def _method(name: str) -> tuple[str, str]:
    """Return in words what a metric is by, and its name without that."""
    if (found := re.match(r"knn(\d+)_", name)) is not None:
        return f"{found[1]} nearest neighbours", name.removeprefix(found[0])
    prefix = next(prefix for prefix in METHODS if name.startswith(prefix))
    return METHODS[prefix], name.removeprefix(prefix)


def _against_others(table: Table, best: Row, pair: Pair | None) -> list[str]:
    others = [row for row in table.settings if row is not best]
    if not others:
        return []
    known = [row for row in others if row.values(table.objective)]
    unknown = len(others) - len(known)
    tail = f" {unknown} of {len(table.settings)} settings have no result." if unknown else ""
    if best.maybe_best is not None:
        near = [described(row.config, table.axes) for row in known if row.maybe_best]
        if near:
            listed = f"{len(near)} of the other {len(known)} settings"
            if len(near) == len(known):
                listed = f"any of the other {len(known)} settings" if len(near) > 1 else near[0]
            elif len(near) <= MOST_LISTED:
                listed = "; ".join(near)
            return [f"These seeds can't tell it from {listed} (95 %).{tail}"]
        worse = "The other setting is" if len(known) == 1 else f"The other {len(known)} are"
        return [f"{worse} worse beyond what seeds explain (95 %).{tail}"]
    said = "With one seed a setting, how much of the order is chance isn't known"
    if pair is not None and pair.interval is not None and known:
        second = described(known[0].config, table.axes)
        above = "above" if pair.difference >= 0 else "below"
        apart = f"{_points(abs(pair.difference))} points {above}" if pair.difference else "as good as"
        said += f"; on the same images it is {apart} {second}"
        said += f" (95 % from {_points(pair.interval.low)} to {_points(pair.interval.high)})"
    return [f"{said}.{tail}"]


def _against_baselines(sweep: SweepRecord, table: Table, value: float) -> list[str]:
    sign = 1 if sweep.direction == "max" else -1
    better = [
        f"{row.label} ({_points(mean)} %)"
        for row in table.baselines
        if (mean := row.mean(sweep.objective)) is not None and sign * (mean - value) > 0
    ]
    return [f"No setting does better than {', '.join(better)}."] if better else []


def _points(share: float) -> str:
    return f"{100 * share:.1f}"


def _range(interval: Interval) -> str:
    return f"{_points(interval.low)} to {_points(interval.high)}"
