"""Remove or archive sweeps: records, checkpoints and MLflow's runs together: `python -m sweep.remove [SWEEP]`."""

from typing import TYPE_CHECKING, Annotated

import typer

from sweep.records.paths import DEFAULT_STORAGE
from sweep.records.removal import archive, contents, older_than, plan_removal
from sweep.tracking.removal import remove_runs
from trainables.errors import BadInputError

if TYPE_CHECKING:
    from sweep.records.sweep_record import SweepRecord
    from sweep.records.sweep_storage import SweepStorage

GIB = 2**30


def main(
    sweep: Annotated[str | None, typer.Argument(help="The sweep's name.")] = None,
    older: Annotated[
        float | None, typer.Option("--older-than", metavar="DAYS", help="All sweeps last run so long ago.")
    ] = None,
    target: Annotated[
        str | None, typer.Option("--archive", metavar="STORAGE", help="Copy them to another storage first.")
    ] = None,
    checkpoints_only: Annotated[
        bool, typer.Option("--checkpoints-only", help="Only the checkpoints of finished trials; results stay.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without, what would go is printed.")] = False,
    storage: Annotated[str, typer.Option(help="Where the sweep was run.")] = str(DEFAULT_STORAGE),
    tracking_uri: Annotated[str | None, typer.Option(help="MLflow's, as for sweep.run.")] = None,
) -> None:
    """Remove a sweep, or old ones: records, checkpoints, MLflow's runs. Trials that other sweeps list stay."""
    from sweep.records.sweep_storage import SweepStorage
    from trainables.storage.filesystem import Storage

    place = SweepStorage(storage)
    if (sweep is None) == (older is None):
        raise BadInputError("give a sweep's name, or --older-than DAYS")
    names = [sweep] if sweep is not None else older_than(place, older or 0.0)
    for name in names:
        record = place.record(name)
        removal = plan_removal(place, record)
        if checkpoints_only:
            _drop_checkpoints(place, record, yes=yes)
            continue
        print(f"{name}: {removal.files} files, {removal.size / GIB:.3f} GiB, and its runs in MLflow")
        if removal.shared:
            print(f"  {len(removal.shared)} trials stay, other sweeps list them: {', '.join(removal.shared)}")
        if not yes:
            continue
        if target is not None:
            files = [file for folder in removal.folders for file, _ in contents(place.storage, folder)]
            shared = [file for trial in removal.shared for file, _ in contents(place.storage, f"trials/{trial}")]
            archive(place.storage, Storage.at(target), [*files, *shared])
            print(f"  copied to {target}; see it: python -m sweep.compare {name} --storage {target}")
        runs = remove_runs(tracking_uri, storage, name)
        for folder in removal.folders:
            place.storage.filesystem.delete_dir(f"{place.storage.root}/{folder}")
        place.storage.delete(f"live/{name}.json")
        print(f"  removed, with {runs} runs")
    if not yes and names:
        print("nothing was removed; --yes does it")


def _drop_checkpoints(storage: "SweepStorage", record: "SweepRecord", *, yes: bool) -> None:
    finished = [entry.folder for entry in record.trials if storage.trial_of(entry).final() is not None]
    files = [found for folder in finished for found in contents(storage.storage, f"trials/{folder}/checkpoints")]
    print(f"{record.name}: {len(files)} checkpoints of finished trials, {sum(s for _, s in files) / GIB:.3f} GiB")
    for name, _ in files if yes else ():
        storage.storage.delete(name)


if __name__ == "__main__":
    from sweep.console.app import run_command

    run_command(main)
