"""The comparison of a sweep's trials, from its records: `python -m sweep.compare [SWEEP]`.

Computing is pure (records in, tables out); sweep/compare_table.py draws them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import typer

from sweep.paths import DEFAULT_STORAGE
from sweep.plan import varying_fields
from sweep.records import PublishedRow, SweepRecord, SweepStorage, TrialEntry
from trainables import metric_names as names
from trainables.config import SimCLRConfig
from trainables.errors import BadInputError
from trainables.trial_files import TrialFiles

BASELINE_LABELS = {
    "untrained": "untrained encoder",
    "calibrated": "untrained, batch norm calibrated",
    "pixels": "raw pixels",
    "colours": "mean and deviation of each channel",
}
Status = Literal["finished", "failed", "running", "waiting"]


@dataclass(frozen=True)
class Result:
    """What there is of one trial."""

    status: Status
    metrics: Mapping[str, float]
    """Those of the last epoch so far."""
    epoch: int
    seconds: float
    failure: str = ""

    @property
    def collapsed(self) -> bool:
        """Whether the embeddings hardly tell images apart: the collapse alarm."""
        return any(value == 1.0 for name, value in self.metrics.items() if name.endswith(f"/{names.COLLAPSED}"))


@dataclass(frozen=True)
class Row:
    """One trial of a table."""

    entry: TrialEntry
    result: Result
    published: Mapping[str, float]
    """The published metrics of this setting, empty where there are none."""

    @property
    def label(self) -> str:
        """What stands in place of a setting for a baseline."""
        return "" if self.entry.baseline is None else BASELINE_LABELS[self.entry.baseline]


@dataclass(frozen=True)
class Table:
    """The trials of one data set, best first, then those without a result; baselines apart."""

    dataset: str
    axes: tuple[str, ...]
    metrics: tuple[str, ...]
    """The objective first."""
    settings: tuple[Row, ...]
    baselines: tuple[Row, ...]


def result_of(files: TrialFiles) -> Result:
    """Read a trial's result so far."""
    epochs = files.epochs()
    metrics = epochs[-1].metrics if epochs else {}
    failure = files.failure()
    status: Status = "running" if epochs else "waiting"
    if files.final() is not None:
        status = "finished"
    elif failure is not None:
        status = "failed"
    return Result(
        status,
        metrics,
        epochs[-1].epoch if epochs else 0,
        sum(record.seconds for record in epochs),
        f"{failure.kind}: {failure.message}" if failure and status == "failed" else "",
    )


def compare(sweep: SweepRecord, results: Callable[[str], Result]) -> list[Table]:
    """Return one table a data set, since shares of different data sets can't be ranked against each other."""
    configs = {entry.trial_id: SimCLRConfig.parse(entry.config) for entry in sweep.trials}
    settings = [entry for entry in sweep.trials if entry.baseline is None]
    varied = varying_fields([configs[e.trial_id] for e in settings])
    axes = tuple(name for name in varied if name not in ("dataset", "evaluation_dataset"))
    rows = [
        Row(e, results(e.trial_id), _published({**e.config, **e.stands_for}, sweep.published)) for e in sweep.trials
    ]
    tables = []
    for dataset in dict.fromkeys(_data(entry.config) for entry in settings):
        own = [row for row in rows if _data(row.entry.config) == dataset]
        ranked = sorted((row for row in own if row.entry.baseline is None), key=lambda row: _rank(row, sweep))
        baselines = tuple(row for row in own if row.entry.baseline is not None)
        varying = tuple(name for name in axes if len({str(row.entry.config[name]) for row in ranked}) > 1)
        tables.append(Table(dataset, varying, _shown(sweep, own), tuple(ranked), baselines))
    return tables


def _data(config: Mapping[str, Any]) -> str:
    """Return what a trial pretrains on, and evaluates on where that is another data set."""
    evaluated = config.get("evaluation_dataset")
    return str(config["dataset"]) if evaluated is None else f"{config['dataset']}, evaluated on {evaluated}"


def _rank(row: Row, sweep: SweepRecord) -> tuple[bool, float]:
    value = row.result.metrics.get(sweep.objective)
    usable = row.result.status == "finished" and value is not None and value == value
    if not usable or value is None:
        return True, 0.0
    return False, -value if sweep.direction == "max" else value


def _shown(sweep: SweepRecord, rows: Sequence[Row]) -> tuple[str, ...]:
    """Return the columns for which some row has a number, ours or a published one."""
    wanted = dict.fromkeys((sweep.objective, *sweep.columns))
    return tuple(name for name in wanted if any(name in row.result.metrics or name in row.published for row in rows))


def _published(config: Mapping[str, Any], published: Sequence[PublishedRow]) -> Mapping[str, float]:
    for row in published:
        if all(config.get(name) == value for name, value in row.setting.items()):
            return row.metrics
    return {}


def load(storage: SweepStorage, name: str | None) -> SweepRecord:
    """Return the record of a sweep, of the latest one without a name; BadInputError when there is none."""
    names = storage.sweep_names()
    if not names:
        raise BadInputError(
            f"--storage {storage.storage.address()}: no sweep here; run one: python -m sweep.run --help"
        )
    record = storage.sweep(name or names[-1])
    if record is None:
        raise BadInputError(f"sweep {name!r}: not in {storage.storage.address()}; there are: {', '.join(names)}")
    return record


def main(
    sweep: Annotated[str | None, typer.Argument(help="The sweep's name; the latest one if left out.")] = None,
    storage: Annotated[str, typer.Option(help="Where the sweep was run.")] = str(DEFAULT_STORAGE),
) -> None:
    """Print the comparison of a sweep: one row a trial, best first, beside the baselines and published numbers."""
    from sweep.compare_table import print_comparison

    place = SweepStorage(storage)
    record = load(place, sweep)
    print_comparison(record, compare(record, lambda trial_id: result_of(place.trial(trial_id))))


if __name__ == "__main__":
    from sweep.command_line import run_command

    run_command(main)
