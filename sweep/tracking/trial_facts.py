"""Facts of a trial that its MLflow run shows."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from trainables.data.store_info import StoreInfo, readable_info

if TYPE_CHECKING:
    from sweep.records.sweep_record import TrialEntry
    from sweep.records.sweep_storage import SweepStorage
    from trainables.storage.trial_files import TrialFiles


@dataclass(frozen=True)
class TrialFacts:
    """Facts of a trial for its child run, and the location of its files."""

    trial_id: str
    name: str
    config: Mapping[str, Any]
    data: Mapping[str, StoreInfo]
    """Image stores by use: training, and evaluation if that is another store."""
    files: "TrialFiles"

    @classmethod
    def of(cls, entry: "TrialEntry", storage: "SweepStorage") -> Self:
        """Return the facts of a sweep's trial; data sets that this machine lacks are left out."""
        names = {"training": entry.config["dataset"], "evaluation": entry.config.get("evaluation_dataset")}
        stores = {context: info for context, name in names.items() if name and (info := readable_info(name))}
        return cls(entry.trial_id, entry.name, entry.config, stores, storage.trial_of(entry))
