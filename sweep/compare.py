"""Compare a sweep's settings, or those of several sweeps: `python -m sweep.compare [SWEEP ...] [--html DIR]`."""

from pathlib import Path
from typing import Annotated

import typer

from sweep.console import options
from sweep.console.printing import say
from sweep.records.paths import DEFAULT_STORAGE
from sweep.report.frames import ComparisonFrames, Frames, load

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
    from sweep.comparison.split_comparison import reported_splits, split_comparisons
    from sweep.comparison.trial_outputs import TrialOutputs
    from sweep.records.sweep_storage import SweepStorage
    from sweep.report.terminal_table import print_comparison, print_not_comparable, print_splits

    place = SweepStorage(storage)
    merged, not_comparable = merged_sweeps(place, sweeps or ())
    if html is None and not as_json:
        tables = [(one.record, with_leaks(sweep_tables(one.record, place, one.sources), place)) for one in merged]
        for record, own in tables:
            print_comparison(record, own, TrialOutputs(place))
        every = [(record, table) for record, own in tables for table in own]
        print_splits(split_comparisons(every, TrialOutputs(place)))
        print_not_comparable(not_comparable)
        return
    if html is not None:
        from sweep.report.linked_pages import check_is_folder

        check_is_folder(html)
    reports = [dataset_reports(one.record, place, one.sources) for one in merged]
    if as_json:
        from sweep.console.printing import say_json
        from sweep.report.json_tables import comparison_value

        say_json(comparison_value(merged, reports, not_comparable, reported_splits(reports, place)))
    else:
        for one, parts in zip(merged, reports, strict=True):
            print_comparison(one.record, [part.table for part in parts], TrialOutputs(place))
        print_splits(reported_splits(reports, place))
        print_not_comparable(not_comparable)
    if html is not None:
        from sweep.report.linked_pages import write_reports

        for page in write_reports(merged, reports, not_comparable, place, html, pictures=pictures, overwrite=overwrite):
            say(f"report: {page.absolute()}", error=as_json)


if __name__ == "__main__":
    from sweep.console.app import run_command

    run_command(main)
