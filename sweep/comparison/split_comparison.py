"""Comparison of a random split with a spatial split of the same images: the optimistic bias of the random one.

Neighbouring images are alike, so a random split tests on near copies of train images. Two stores are compared if, by
their metadata on this machine, they have the same images and differ only in the split.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sweep.comparison.cells import ComparisonCell, ComparisonCells
from sweep.comparison.pool_leaks import LEAKS, PoolLeaks
from sweep.comparison.ranking import setting_key
from sweep.comparison.table import REPLICATED, ComparisonRow, ComparisonTable
from sweep.comparison.trial_outputs import TrialOutputs
from sweep.comparison.wording import short_words
from sweep.console.formatting import number, signed_interval, signed_number
from sweep.statistics.intervals import seed_interval
from sweep.statistics.share_intervals import ConfidenceInterval, unpaired_interval
from trainables.config import TrialConfig
from trainables.data.store_info import StoreInfo, readable_info
from trainables.metrics.names import better_when, bounds, is_share

if TYPE_CHECKING:
    from sweep.comparison.dataset_report import DataSetReport
    from sweep.records.sweep_record import SweepRecord, TrialEntry
    from sweep.records.sweep_storage import SweepStorage

RANDOM = ("random", "exact", "thesis")
SPATIAL = ("block", "tile", "longitude", "place")
SPLIT_OPTIONS = ("splits", "test split", "block size", "buffer", "labels of")
"""Options of a store that may differ between two splits of the same images."""
SPLIT_FIELDS = ("dataset", "evaluation_dataset", "validation_fraction")
"""Fields of a trial that may differ between the splits: a split by longitude has a validation split of its own."""
MOST_SAMPLED = 40
"""Maximum number of settings with an interval over images, the best ones on the spatial split."""


@dataclass(frozen=True)
class SplitStore:
    """Store that settings were evaluated on, with its split rule in words."""

    dataset: str
    rule: str
    distance: str
    """Distance between train and test as a sentence; empty if unknown."""
    sweeps: tuple[str, ...]
    leaks: tuple[PoolLeaks, ...]
    """Leaks between the images that settings were trained on and the test images."""

    @property
    def marked(self) -> bool:
        """Whether the split is marked for its leaks."""
        return any(leaks.marked for leaks in self.leaks)


@dataclass(frozen=True)
class SplitRow:
    """One setting, or baseline, on both splits."""

    label: str
    baseline: bool
    random: ComparisonCell
    spatial: ComparisonCell
    difference: float
    """Random minus spatial."""
    images: ConfidenceInterval | None
    """95 % interval of the difference over the test images, which differ between the splits."""
    seeds: ConfidenceInterval | None
    """95 % interval of the difference over seeds: in pairs if both have the same, else as independent samples."""


@dataclass(frozen=True)
class SplitComparison:
    """Values of settings on a random split and on a spatial split, by rank on the spatial split."""

    metric: str
    random: SplitStore
    spatial: SplitStore
    rows: tuple[SplitRow, ...]
    """Settings, then baselines."""

    def is_of(self, sweeps: Sequence[str]) -> bool:
        """Whether one of these sweeps is compared."""
        return any(name in sweeps for split in self.sides.values() for name in split.sweeps)

    @property
    def sides(self) -> Mapping[str, SplitStore]:
        """Both splits by name."""
        return {"random": self.random, "spatial": self.spatial}

    @property
    def title(self) -> str:
        """Title of the table."""
        return f"Random beside spatial split: {self.random.dataset} and {self.spatial.dataset}"

    @property
    def sentences(self) -> tuple[str, ...]:
        """The result in words: the first row on both splits, whether both have one best setting, the distance."""
        first, metric = self.rows[0], self.metric
        unit = " %" if is_share(metric) else ""
        values = [f"{number(metric, cell.mean)}{unit}" for cell in (first.random, first.spatial)]
        told = (
            f"{first.label[:1].upper()}{first.label[1:]}: {short_words(metric)} {values[0]} on test of "
            f"{self.random.dataset} (split {self.random.rule}), {values[1]} of {self.spatial.dataset} (split "
            f"{self.spatial.rule}). {self._verdict(first)}."
        )
        settings = [row for row in self.rows if not row.baseline]
        return tuple(filter(None, (told, self._leaks(), self._choice(settings), self.spatial.distance)))

    def _leaks(self) -> str:
        leaking = " and ".join(split.dataset for split in self.sides.values() if split.marked)
        if not leaking:
            return ""
        return (
            f"{LEAKS}: test images of {leaking} recur among the training images, so the difference isn't due to the "
            "split alone."
        )

    def _verdict(self, row: SplitRow) -> str:
        ends, over = (row.images, "test images") if row.images is not None else (row.seeds, "seeds")
        better = row.difference > 0 if better_when(self.metric) == "max" else row.difference < 0
        unit = " points" if is_share(self.metric) else ""
        by = f"{signed_number(self.metric, row.difference)}{unit}"
        if ends is None:
            return f"The random split shows {by}, without an interval"
        by += f" ({signed_interval(self.metric, ends)}, 95 % interval over {over})"
        if ends.low <= 0.0 <= ends.high:
            return f"It is open whether the random split is optimistic: {by}"
        return f"The random split is optimistic: {by}" if better else f"The random split isn't optimistic: {by}"

    def _choice(self, settings: Sequence[SplitRow]) -> str:
        if len(settings) < 2:
            return ""
        turn = 1.0 if better_when(self.metric) == "max" else -1.0
        best = max(settings, key=lambda row: turn * (row.random.mean or 0.0))
        if best.spatial.mean == settings[0].spatial.mean:
            return "On test the same setting is best on both splits."
        return f"On test of the random split another setting is best: {best.label}."


@dataclass(frozen=True)
class _Side:
    """A table whose settings were evaluated on one store, with the store's metadata."""

    sweep: "SweepRecord"
    table: ComparisonTable
    info: StoreInfo
    rule: str

    @property
    def store(self) -> SplitStore:
        sweeps = tuple(self.sweep.name.split(" + "))
        apart = self.info.decisions.get("distance between splits", "")
        distance = f"In {self.info.name} {apart}." if apart else ""
        return SplitStore(self.info.name, self.rule, distance, sweeps, self.table.leaks)


def reported_splits(
    reports: "Iterable[Iterable[DataSetReport]]", storage: "SweepStorage"
) -> tuple[SplitComparison, ...]:
    """Return the split comparisons among the data sets of reports."""
    parts = [part for own in reports for part in own]
    return split_comparisons([(part.sweep, part.table) for part in parts], TrialOutputs(storage))


def split_comparisons(
    tables: "Iterable[tuple[SweepRecord, ComparisonTable]]", outputs: TrialOutputs
) -> tuple[SplitComparison, ...]:
    """Return each pair of a random and a spatial split of the same images on which a setting was evaluated.

    Args:
        tables: Comparison tables with the records of their sweeps.
        outputs: Outputs of the trials, for intervals over images.
    """
    sides = [side for sweep, table in tables if (side := _side(sweep, table, outputs)) is not None]
    random = [side for side in sides if side.rule in RANDOM]
    spatial = [side for side in sides if side.rule in SPATIAL and random]
    pairs = [(one, other) for one in random for other in spatial if _images(one.info) == _images(other.info)]
    found = (_compared(one, other, ComparisonCells(outputs)) for one, other in pairs)
    return tuple(comparison for comparison in found if comparison is not None)


def _side(sweep: "SweepRecord", table: ComparisonTable, outputs: TrialOutputs) -> _Side | None:
    """Return a table with the store that it was evaluated on; None if this machine doesn't have that store."""
    finished = next((row.finished[0].entry for row in (*table.settings, *table.baselines) if row.finished), None)
    if finished is None:
        return None
    info = readable_info(str(finished.config.get("evaluation_dataset") or finished.config["dataset"]))
    if info is None or info.fingerprint != outputs.fingerprint(finished):
        return None
    return _Side(sweep, table, info, _rule(info))


def _rule(info: StoreInfo) -> str:
    """Return the rule of a store's split; a rule that fell back to a hash of the names is random."""
    rule = str(info.options.get("splits", "")).partition(":")[0]
    return "random" if rule == "own" and info.decisions.get("splits", "").startswith("hashed") else rule


def _images(info: StoreInfo) -> tuple[Any, ...]:
    """Return the metadata that two stores share if they differ only in the split."""
    options = {name: value for name, value in info.options.items() if name not in SPLIT_OPTIONS}
    # The labels of a label set are digested in the order of its rows, of which a buffer leaves some out.
    state = "" if "labels of" in info.options else info.source_state
    labels = info.class_names, info.multi_label, info.number
    return (
        info.data_set,
        info.source,
        state,
        info.image_size,
        info.channels,
        labels,
        json.dumps(options, sort_keys=True),
    )


def _compared(random: _Side, spatial: _Side, cells: ComparisonCells) -> SplitComparison | None:
    metric = _metric(spatial.sweep)
    on_random, on_spatial = (_by_setting(side.table, metric) for side in (random, spatial))
    shared = [key for key in on_spatial if key in on_random]
    if not shared:
        return None
    turn = -1.0 if better_when(metric) == "max" else 1.0
    shared.sort(key=lambda key: (bool(on_spatial[key].label), turn * on_spatial[key].known_mean(metric)))
    rows = tuple(
        _row(on_random[key], on_spatial[key], metric, spatial.table.axes, cells, sampled=number < MOST_SAMPLED)
        for number, key in enumerate(shared)
    )
    return SplitComparison(metric, random.store, spatial.store, rows)


def _metric(sweep: "SweepRecord") -> str:
    """Return the objective on test."""
    split, _, name = sweep.objective.partition("/")
    return f"test/{name}" if split == "val" else sweep.objective


def _by_setting(table: ComparisonTable, metric: str) -> dict[str, ComparisonRow]:
    rows = (*table.settings, *table.baselines)
    return {_key(row.trials[0].entry): row for row in rows if row.is_defined(metric)}


def _key(entry: "TrialEntry") -> str:
    """Return a key of a setting that is the same on every split of the images."""
    plain = {name: TrialConfig.model_fields[name].default for name in SPLIT_FIELDS}
    return setting_key(entry.model_copy(update={"config": {**entry.config, **plain}}))


def _row(
    random: ComparisonRow,
    spatial: ComparisonRow,
    metric: str,
    axes: tuple[str, ...],
    cells: ComparisonCells,
    *,
    sampled: bool,
) -> SplitRow:
    one, other = (cells.of(row, metric, over_images=sampled) for row in (random, spatial))
    first, second = random.known_mean(metric), spatial.known_mean(metric)
    images = _unpaired(first, one.images, second, other.images)
    by_seed, others = _by_seed(random, metric), _by_seed(spatial, metric)
    if by_seed.keys() == others.keys():
        seeds = seed_interval([value - others[seed] for seed, value in by_seed.items()])
    else:  # the difference of the means is over more seeds than both have
        seeds = _unpaired(first, one.seeds, second, other.seeds)
    label = spatial.words(axes)
    return SplitRow(label, bool(spatial.label), one, other, first - second, images, _within(metric, seeds))


def _unpaired(
    one: float, of_one: ConfidenceInterval | None, other: float, of_other: ConfidenceInterval | None
) -> ConfidenceInterval | None:
    return None if of_one is None or of_other is None else unpaired_interval(one, of_one, other, of_other)


def _within(metric: str, found: ConfidenceInterval | None) -> ConfidenceInterval | None:
    """Return an interval of a difference within what the metric's bounds allow."""
    if found is None:
        return None
    low, high = bounds(metric)
    return ConfidenceInterval(max(low - high, found.low), min(high - low, found.high))


def _by_seed(row: ComparisonRow, metric: str) -> Mapping[Any, float]:
    return {
        tuple(trial.entry.config.get(name) for name in REPLICATED): trial.result.metrics[metric]
        for trial in row.finished
        if metric in trial.result.metrics
    }
