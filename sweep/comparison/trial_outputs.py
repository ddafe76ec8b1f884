"""Per-image outputs of trials' classifiers, read from the trials' files."""

from functools import lru_cache
from typing import TYPE_CHECKING

from sweep.comparison.table import ComparisonRow
from sweep.statistics.image_metrics import AnyOutputs, outputs_of

if TYPE_CHECKING:
    import pyarrow as pa

    from sweep.records.sweep_record import TrialEntry
    from sweep.records.sweep_storage import SweepStorage
    from trainables.storage.trial_records import FinalRecord

KEPT = 8
"""Number of outputs (one trial, one split) kept in memory, so that all metrics of a setting need one reading."""


class TrialOutputs:
    """Per-image outputs of a storage's trials; the last ones used are cached in memory."""

    def __init__(self, storage: "SweepStorage") -> None:
        self._storage = storage
        self._read = lru_cache(maxsize=KEPT)(self._read_files)

    def of_trial(self, entry: "TrialEntry", metric: str) -> AnyOutputs | None:
        """Return the outputs of the classifier that a metric belongs to; None if none are stored."""
        final, table = self._read(entry.folder, metric.partition("/")[0])
        return None if final is None or table is None else outputs_of(table, final.classes, final.positive, metric)

    def fingerprint(self, entry: "TrialEntry") -> str | None:
        """Return the fingerprint of the data that a trial was evaluated on; None if it hasn't started."""
        known = self._storage.trial_of(entry).fingerprint()
        return None if known is None else known.rpartition("+")[2]

    def of_row(self, row: ComparisonRow, metric: str) -> list[AnyOutputs]:
        """Return the outputs of a setting's finished trials; an empty list if one of them has none."""
        found = [self.of_trial(trial.entry, metric) for trial in row.finished]
        return [outputs for outputs in found if outputs is not None] if all(found) else []

    def _read_files(self, folder: str, split: str) -> "tuple[FinalRecord | None, pa.Table | None]":
        files = self._storage.trial(folder)
        return files.final(), files.outputs(split)
