"""Choice of the trial to export: by name, or the first seed of the best setting."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from trainables.errors import BadInputError, nearest
from trainables.metrics.names import better_when, has_direction

if TYPE_CHECKING:
    from sweep.comparison.table import ComparedTrial, ComparisonRow, ComparisonTable
    from sweep.records.sweep_record import SweepRecord
    from sweep.records.sweep_storage import SweepStorage
    from trainables.data.store_info import StoreInfo
    from trainables.storage.trial_records import FinalRecord


class FoundTrial(NamedTuple):
    """Trial of a sweep, with its setting and comparison table."""

    table: "ComparisonTable"
    row: "ComparisonRow"
    trial: "ComparedTrial"
    sweep: "SweepRecord"


@dataclass(frozen=True)
class ChosenTrial:
    """Trial to export, and its facts."""

    found: FoundTrial
    final: "FinalRecord"
    store: "StoreInfo"
    head: str

    @property
    def sweep(self) -> "SweepRecord":
        """Return the sweep of the trial."""
        return self.found.sweep

    @property
    def trial(self) -> "ComparedTrial":
        """Return the compared trial."""
        return self.found.trial

    @property
    def config(self) -> Mapping[str, Any]:
        """Return the trial's configuration."""
        return self.trial.entry.config

    @property
    def predicts_number(self) -> bool:
        """Return whether the model predicts a number in place of classes."""
        return self.config.get("target") == "number"

    @property
    def bits(self) -> int:
        """Return the bits per channel of the pixels."""
        return 16 if self.store.dtype == "uint16" else 8


def choose(
    storage: "SweepStorage", sweep: str | None, *, trial: str | None, best: str | None, head: str
) -> ChosenTrial:
    """Return the trial to export: by name or id, else the first seed of the best setting.

    Raises:
        BadInputError: No such trial exists, it has no classifier or no weights, or its data set isn't prepared here
            as it was.
    """
    from trainables.config import UNTRAINABLE
    from trainables.data.store_info import StoreInfo
    from trainables.models.inference import HEADS

    if head not in HEADS:
        raise BadInputError(f"--head {head}: give {' or '.join(HEADS)}{nearest(head, HEADS)}")
    found = find_trial(storage, sweep, trial=trial, best=best)
    entry, status = found.trial.entry, found.trial.result.status
    final = storage.trial_of(entry).final()
    if final is not None and not final.classes and entry.config.get("target") != "number":
        raise BadInputError(
            f"--trial {entry.name}: has no classifier to export, as its data have no classes; evaluate it on a "
            "labelled data set (python -m sweep.evaluate) and export from there"
        )
    if final is None or entry.config["encoder"] in UNTRAINABLE:
        raise BadInputError(f"--trial {entry.name}: has no weights to export; it is {status}")
    name = entry.config.get("evaluation_dataset") or entry.config["dataset"]
    info = StoreInfo.read(name)
    if info is None:
        raise BadInputError(f"data set {name!r}: isn't prepared here, and its image size is needed: prepare it first")
    evaluated = storage.trial_of(entry).fingerprint()
    if evaluated is not None and evaluated.rpartition("+")[2] != info.fingerprint:
        raise BadInputError(
            f"data set {name!r}: isn't the one that {entry.name} was evaluated on: its images, labels or preparation "
            "changed, and the exported model is described by them; prepare or label it as before"
        )
    return ChosenTrial(found, final, info.with_bands(tuple(entry.config.get("bands") or ())), head)


def find_trial(
    storage: "SweepStorage", sweep: str | None, *, trial: str | None = None, best: str | None = None
) -> FoundTrial:
    """Return a trial by name or id; without `trial`, the first seed of the best setting by the metric `best`."""
    from sweep.comparison.dataset_report import sweep_tables

    record = storage.record(sweep)
    if best is not None and not has_direction(best):
        raise BadInputError(f"--best {best}: doesn't say which setting is better; give the name of a score or an error")
    if best is not None:
        record = record.model_copy(update={"objective": best, "direction": better_when(best)})
    tables = sweep_tables(record, storage)
    everything = [
        FoundTrial(table, row, one, record)
        for table in tables
        for row in (*table.settings, *table.baselines, *table.halved)
        for one in row.trials
    ]
    return _named(record, everything, trial) if trial is not None else _best(record, tables, everything)


def _named(record: "SweepRecord", everything: Sequence[FoundTrial], trial: str) -> FoundTrial:
    """Return the trial with this name or id; BadInputError with the sweep's trials if there is none."""
    for found in everything:
        if trial in (found.trial.entry.name, found.trial.entry.trial_id):
            return found
    known = ", ".join(found.trial.entry.name for found in everything)
    raise BadInputError(f"--trial {trial}: not in sweep {record.name!r}; its trials: {known}")


def _best(record: "SweepRecord", tables: "Sequence[ComparisonTable]", everything: Sequence[FoundTrial]) -> FoundTrial:
    """Return the first seed of the best setting; BadInputError if none is best, or each data set has its own."""
    if len(tables) > 1:
        raise BadInputError(
            f"sweep {record.name!r}: has {len(tables)} data sets, so there are several best settings; name a --trial"
        )
    winner = tables[0].best if tables else None
    if tables and tables[0].undefined:
        raise BadInputError(
            f"sweep {record.name!r}: no setting is best: {record.objective} is undefined (NaN) in all; name a --trial, "
            "or another metric"
        )
    if winner is None or winner.first is None:
        measured = {name for found in everything for name in found.trial.result.metrics}
        hint = nearest(record.objective, measured - {record.objective})
        raise BadInputError(f"sweep {record.name!r}: no setting has {record.objective} yet{hint}; name a --trial")
    return FoundTrial(tables[0], winner, winner.first, record)
