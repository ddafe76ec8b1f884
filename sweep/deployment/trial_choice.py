"""Which trial is taken: named, or the best setting's first seed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trainables.errors import BadInputError

if TYPE_CHECKING:
    from sweep.comparison.dataset_report import DataSetReport
    from sweep.comparison.table import Row, Trial
    from sweep.records.sweep_storage import SweepStorage
    from trainables.data.catalog import StoreInfo
    from trainables.storage.trial_records import FinalRecord


@dataclass(frozen=True)
class Chosen:
    """The trial that is exported, and what is known of it."""

    part: "DataSetReport"
    row: "Row"
    trial: "Trial"
    final: "FinalRecord"
    store: "StoreInfo"
    head: str

    @property
    def config(self) -> Mapping[str, Any]:
        """The trial's fields."""
        return self.trial.entry.config

    @property
    def bits(self) -> int:
        """Of a pixel's channel."""
        return 16 if self.store.dtype == "uint16" else 8


def choose(storage: "SweepStorage", sweep: str | None, *, trial: str | None, best: str | None, head: str) -> Chosen:
    """Return the trial of this name or id, else the first seed of the best setting; BadInputError without one."""
    from trainables.data.catalog import StoreInfo

    part, row, found = find_trial(storage, sweep, trial=trial, best=best)
    final = storage.trial_of(found.entry).final()
    if final is None or found.entry.config["encoder"] in ("pixels", "colours"):
        raise BadInputError(f"--trial {found.entry.name}: has no weights to export; it is {found.result.status}")
    name = found.entry.config.get("evaluation_dataset") or found.entry.config["dataset"]
    info = StoreInfo.read(name)
    if info is None:
        raise BadInputError(f"data set {name!r}: isn't prepared here, and its image size is needed; prepare it first")
    return Chosen(part, row, found, final, info, head)


def find_trial(
    storage: "SweepStorage", sweep: str | None, *, trial: str | None = None, best: str | None = None
) -> "tuple[DataSetReport, Row, Trial]":
    """Return the trial of this name or id, else the first seed of the best setting by `best`; BadInputError without."""
    from sweep.comparison.dataset_report import reports

    record = storage.record(sweep)
    if best is not None:
        record = record.model_copy(update={"objective": best, "direction": "min" if best.endswith("loss") else "max"})
    parts = reports(record, storage)
    everything = [(part, row, one) for part in parts for row in part.rows for one in row.trials]
    if trial is not None:
        for part, row, one in everything:
            if trial in (one.entry.name, one.entry.trial_id):
                return part, row, one
        known = ", ".join(one.entry.name for _, _, one in everything)
        raise BadInputError(f"--trial {trial}: not in sweep {record.name!r}; its trials: {known}")
    if len(parts) > 1:
        raise BadInputError(f"sweep {record.name!r}: has {len(parts)} data sets, so several bests; name a --trial")
    winner = parts[0].table.best if parts else None
    if winner is None or winner.first is None:
        raise BadInputError(f"sweep {record.name!r}: no setting has {record.objective} yet; name a --trial")
    return parts[0], winner, winner.first
