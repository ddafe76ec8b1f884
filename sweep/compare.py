"""Compare a sweep's settings, or those of several sweeps: `python -m sweep.compare [SWEEP ...] [--html DIR]`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sweep.records.paths import DEFAULT_STORAGE

if TYPE_CHECKING:
    import pandas

    from sweep.comparison.merged_sweeps import Joint
    from sweep.records.sweep_storage import SweepStorage


@dataclass(frozen=True)
class Frames:
    """The tables of sweeps as data frames; the first column is the sweep, or those that have the setting or trial."""

    settings: "pandas.DataFrame"
    """One row a setting: axes, mean of each metric over seeds, the ends of its two intervals, hours."""
    trials: "pandas.DataFrame"
    """One row a trial: its fields, status, metrics of the last epoch, hours."""
    epochs: "pandas.DataFrame"
    """One row an epoch of a trial: its metrics."""


def load(*sweeps: str, storage: str | Path = DEFAULT_STORAGE) -> Frames:
    """Return the tables of sweeps for a notebook, of the latest one without a name; BadInputError for unknown ones.

    Sweeps that can be ranked together have one table, with each setting once.
    """
    import pandas

    from sweep.comparison.dataset_report import reports
    from sweep.records.sweep_storage import SweepStorage
    from sweep.report.csv_tables import comparison_rows, epoch_rows, trial_rows

    place = SweepStorage(storage)
    joints, _ = chosen(place, sweeps)
    parts = [(one.record.name, part) for one in joints for part in reports(one.record, place, one.sources)]
    frames = [
        pandas.DataFrame([{"sweep": name, **row} for name, part in parts for row in rows(part)])
        for rows in (comparison_rows, trial_rows, epoch_rows)
    ]
    return Frames(*frames)


def chosen(place: "SweepStorage", sweeps: Sequence[str]) -> "tuple[list[Joint], list[str]]":
    """Return sweeps by their names, the latest without one, as they are compared; and why not all with each other."""
    from sweep.comparison.merged_sweeps import joined

    records = [place.record(name) for name in sweeps] if sweeps else [place.record()]
    return joined(
        records,
        fingerprint=lambda entry: place.trial_of(entry).fingerprint(),
        finished=lambda entry: place.trial_of(entry).final() is not None,
    )


def main(
    sweeps: Annotated[
        list[str] | None, typer.Argument(help="Their names, several to compare them; the latest one if left out.")
    ] = None,
    storage: Annotated[str, typer.Option(help="Where the sweeps were run.")] = str(DEFAULT_STORAGE),
    html: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write the report, its figures and its tables into this folder.")
    ] = None,
    pictures: Annotated[
        bool, typer.Option(help="Draw the best trial's mistakes, neighbours and map of the data into the report.")
    ] = True,
) -> None:
    """Print the comparison of sweeps: one row a setting, best first, beside the baselines and published numbers."""
    from sweep.comparison.table import compare
    from sweep.comparison.terminal_table import print_apart, print_comparison
    from sweep.records.sweep_storage import SweepStorage
    from sweep.records.trial_result import result_of

    place = SweepStorage(storage)
    joints, apart = chosen(place, sweeps or ())
    for one in joints:
        tables = compare(one.record, lambda entry: result_of(place.trial_of(entry)), one.sources)
        print_comparison(one.record, tables)
    print_apart(apart)
    if html is not None:
        from sweep.report.pages import write_reports

        for page in write_reports(joints, apart, place, html, pictures=pictures):
            print(f"report: {page.absolute()}")


if __name__ == "__main__":
    from sweep.console.app import run_command

    run_command(main)
