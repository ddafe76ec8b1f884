"""Tables of sweeps as pandas data frames, for notebooks and programs."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sweep.console.argument_types import checked
from sweep.records.paths import DEFAULT_STORAGE

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class ComparisonFrames:
    """Tables of sweeps as data frames; the first column is the sweep, or the sweeps with the setting or trial."""

    settings: "pandas.DataFrame"
    """One row per completed setting: axes, mean of each metric over seeds, ends of the interval, hours."""
    trials: "pandas.DataFrame"
    """One row per trial: its fields, status, last epoch with its metrics, hours."""
    epochs: "pandas.DataFrame"
    """One row per epoch of a trial: its metrics."""


Frames = ComparisonFrames
"""Earlier name, for notebooks that import it."""


@checked()
def load(*sweeps: str, storage: str | Path = DEFAULT_STORAGE) -> ComparisonFrames:
    """Return the tables of sweeps for a notebook, by default of the latest sweep.

    Sweeps that can be ranked together have one table, with each setting once.

    Raises:
        BadInputError: A sweep is unknown.
    """
    import pandas

    from sweep.comparison.dataset_report import dataset_reports
    from sweep.comparison.merged_sweeps import merged_sweeps
    from sweep.records.sweep_storage import SweepStorage
    from sweep.report.csv_tables import comparison_rows, epoch_rows, trial_rows

    place = SweepStorage(storage)
    merged, _ = merged_sweeps(place, sweeps)
    parts = [(one.record.name, part) for one in merged for part in dataset_reports(one.record, place, one.sources)]
    frames = [
        pandas.DataFrame([{"sweep": name, **row} for name, part in parts for row in rows(part)])
        for rows in (comparison_rows, trial_rows, epoch_rows)
    ]
    return ComparisonFrames(*frames)
