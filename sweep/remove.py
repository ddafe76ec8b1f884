"""Remove or archive sweeps: records, checkpoints and MLflow's runs together: `python -m sweep.remove [SWEEP]`."""

from typing import TYPE_CHECKING, Annotated

import typer

from sweep.console import options
from sweep.console.printing import say
from sweep.records.paths import DEFAULT_STORAGE
from trainables.errors import BadInputError

if TYPE_CHECKING:
    from sweep.records.removal import SweepRemoval
    from sweep.records.sweep_record import SweepRecord
    from sweep.records.sweep_storage import SweepStorage

REMOVED = "What is removed"


def main(
    sweep: Annotated[str | None, typer.Argument(help="Name of the sweep.")] = None,
    older: Annotated[
        float | None,
        typer.Option(
            "--older-than",
            min=0.0,
            metavar="DAYS",
            help="Remove all sweeps that last ran more than this many days ago.",
            rich_help_panel=REMOVED,
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            "--archive",
            metavar="STORAGE",
            help="Copy the sweeps to this storage first.",
            rich_help_panel=options.WHERE,
        ),
    ] = None,
    checkpoints_only: Annotated[
        bool,
        typer.Option(
            "--checkpoints-only",
            help="Remove only the checkpoints of finished trials and keep all results.",
            rich_help_panel=REMOVED,
        ),
    ] = False,
    yes: Annotated[
        bool,
        typer.Option("--yes", help="Remove. Without it, only print what would be removed.", rich_help_panel=REMOVED),
    ] = False,
    storage: options.Storage = str(DEFAULT_STORAGE),
    tracking_uri: options.TrackingUri = None,
) -> None:
    """Remove sweeps with their records, checkpoints and MLflow runs. Trials that other sweeps use are kept."""
    from sweep.records.removal import older_than, plan_removal
    from sweep.records.sweep_storage import SweepStorage

    place = SweepStorage(storage)
    if (sweep is None) == (older is None):
        raise BadInputError("give a sweep's name, or --older-than DAYS")
    if target is not None and checkpoints_only:
        raise BadInputError(f"--archive {target}: copies whole sweeps, not with --checkpoints-only; give one of them")
    names = [sweep] if sweep is not None else older_than(place, older or 0.0)
    for name in names:
        record = place.record(name)
        removal = plan_removal(place, record)
        if checkpoints_only:
            _remove_checkpoints(place, record, yes=yes)
            continue
        _print_removal(removal)
        if yes:
            _remove(place, removal, target, tracking_uri, record.experiment)
    if not names:
        say(f"no sweep last ran more than {older:g} days ago")
    if not yes and names:
        say("nothing was removed; add --yes to remove")


def _remove_checkpoints(place: "SweepStorage", record: "SweepRecord", *, yes: bool) -> None:
    from sweep.console.formatting import GIB
    from sweep.records.removal import delete_files, finished_checkpoints

    files = finished_checkpoints(place, record)
    size = sum(size for _, size in files)
    say(f"{record.name}: {len(files)} checkpoints of finished trials, {size / GIB:.3f} GiB")
    if yes:
        delete_files(place, [file for file, _ in files])


def _print_removal(removal: "SweepRemoval") -> None:
    from sweep.console.formatting import GIB

    say(f"{removal.name}: {removal.files} files, {removal.size / GIB:.3f} GiB, and its runs in MLflow")
    if removal.shared:
        say(f"  {len(removal.shared)} trials are kept, since other sweeps use them: {', '.join(removal.shared)}")


def _remove(
    place: "SweepStorage", removal: "SweepRemoval", target: str | None, tracking_uri: str | None, experiment: str
) -> None:
    """Copy a sweep to the target, if there is one; then delete its MLflow runs, and last its files."""
    from sweep.records.removal import archive_sweep, delete_sweep
    from sweep.tracking.removal import remove_runs
    from trainables.storage.filesystem import Storage

    name = removal.name
    if target is not None:
        archive_sweep(place, removal, Storage.at(target))
        say(f"  copied to {target}; see it: python -m sweep.compare {name} --storage {target}")
    runs = remove_runs(tracking_uri, place.storage.address(), name, experiment)
    delete_sweep(place, removal)
    say(f"  removed, with {runs} runs")


if __name__ == "__main__":
    from sweep.console.app import run_command

    run_command(main)
