"""Compare a sweep's settings, or those of several sweeps: `python -m sweep.compare [SWEEP ...] [--html DIR]`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sweep.console import options
from sweep.console.printing import say
from sweep.records.paths import DEFAULT_STORAGE
from sweep.report.frames import ComparisonFrames, Frames, load

if TYPE_CHECKING:
    from sweep.comparison.table import ComparisonTable
    from sweep.records.sweep_record import SweepRecord
    from sweep.records.sweep_storage import SweepStorage

__all__ = ["ComparisonFrames", "Frames", "load", "main"]


def main(
    sweeps: Annotated[
        list[str] | None, typer.Argument(help="Names of one or more sweeps; default: the latest sweep.")
    ] = None,
    storage: options.Storage = str(DEFAULT_STORAGE),
    html: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder for the report as HTML, with its figures and CSV tables.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = None,
    pictures: Annotated[
        bool,
        typer.Option(
            help="Add the best trial's most certain errors, nearest neighbours and feature map to the report.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = True,
    overwrite: options.Overwrite = False,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Print one JSON value instead of the tables: settings, baselines, metrics with intervals, sentences.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = False,
) -> None:
    """Print the comparison of sweeps: one row per setting, best first, with baselines and published numbers.

    --json prints one value with the same content; docs/comparison.md describes its fields.
    """
    from sweep.comparison.dataset_report import dataset_reports, sweep_tables, with_leaks
    from sweep.comparison.merged_sweeps import merged_sweeps
    from sweep.records.sweep_storage import SweepStorage

    place = SweepStorage(storage)
    merged, not_comparable = merged_sweeps(place, sweeps or ())
    if html is None and not as_json:
        tables = [(one.record, with_leaks(sweep_tables(one.record, place, one.sources), place)) for one in merged]
        _print(tables, place, not_comparable)
        return
    if html is not None:
        from sweep.report.linked_pages import check_is_folder

        check_is_folder(html)
    reports = [dataset_reports(one.record, place, one.sources) for one in merged]
    if as_json:
        from sweep.comparison.split_comparison import reported_splits
        from sweep.console.printing import say_json
        from sweep.report.json_tables import comparison_value

        say_json(comparison_value(merged, reports, not_comparable, reported_splits(reports, place)))
    else:
        shown = zip(merged, reports, strict=True)
        _print([(one.record, [part.table for part in parts]) for one, parts in shown], place, not_comparable)
    if html is not None:
        from sweep.report.linked_pages import write_reports

        for page in write_reports(merged, reports, not_comparable, place, html, pictures=pictures, overwrite=overwrite):
            say(f"report: {page.absolute()}", error=as_json)


def _print(
    tables: "Sequence[tuple[SweepRecord, list[ComparisonTable]]]", place: "SweepStorage", not_comparable: Sequence[str]
) -> None:
    """Print the tables of each sweep, then settings on two splits, and why sweeps aren't ranked together."""
    from sweep.comparison.split_comparison import split_comparisons
    from sweep.comparison.trial_outputs import TrialOutputs
    from sweep.report.terminal_table import print_comparison, print_not_comparable, print_splits

    for record, own in tables:
        print_comparison(record, own, TrialOutputs(place))
    every = [(record, table) for record, own in tables for table in own]
    print_splits(split_comparisons(every, TrialOutputs(place)))
    print_not_comparable(not_comparable)


if __name__ == "__main__":
    from sweep.console.app import run_command

    run_command(main)
