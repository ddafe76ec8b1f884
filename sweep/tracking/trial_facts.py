"""Facts of a trial that its MLflow run shows."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from sweep.planning.expansion import baseline_fields
from trainables.data.bands import band_words
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
    """Its fields; of a baseline those on which it depends, since the others are defaults without an effect."""
    data: Mapping[str, StoreInfo]
    """Image stores by use: training, and evaluation if that is another store."""
    files: "TrialFiles"

    @classmethod
    def of(cls, entry: "TrialEntry", storage: "SweepStorage") -> Self:
        """Return the facts of a sweep's trial; data sets that this machine lacks are left out."""
        names = {"training": entry.config["dataset"], "evaluation": entry.config.get("evaluation_dataset")}
        stores = {context: info for context, name in names.items() if name and (info := readable_info(name))}
        return cls(entry.trial_id, entry.name, _effective(entry), stores, storage.trial_of(entry))


def _effective(entry: "TrialEntry") -> Mapping[str, Any]:
    """Return the fields on which the trial's result depends, a choice of bands by its short name."""
    kept = entry.config if entry.baseline is None else baseline_fields(entry.baseline)
    config = {name: value for name, value in entry.config.items() if name in kept}
    return {**config, "bands": band_words(config["bands"])} if "bands" in config else config
