"""Remove or archive sweeps: records, checkpoints and MLflow's runs together: `python -m sweep.remove [SWEEP]`."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sweep.records.paths import DEFAULT_STORAGE
from trainables.errors import BadInputError

if TYPE_CHECKING:
    from sweep.records.sweep_record import SweepRecord, SweepStorage
    from trainables.storage.filesystem import Storage

GIB = 2**30
DAY_MS = 86_400_000


@dataclass(frozen=True)
class Removal:
    """What goes with a sweep."""

    name: str
    folders: tuple[str, ...]
    """Its own, and those of trials that no other sweep lists."""
    shared: tuple[str, ...]
    """Trials that stay, since other sweeps list them too."""
    files: int
    size: int
    """Bytes."""


def plan_removal(storage: "SweepStorage", record: "SweepRecord") -> Removal:
    """Return what would go with a sweep; BadInputError while it runs."""
    from sweep.records.lease import lease

    held = lease(storage, record.name)
    if held is not None and held.alive:
        raise BadInputError(
            f"sweep {record.name}: is running ({held.described()}); stop it: python -m sweep.stop {record.name}"
        )
    others = [storage.sweep(name) for name in storage.sweep_names() if name != record.name]
    kept = {entry.folder for other in others if other is not None for entry in other.trials}
    own = [entry.folder for entry in record.trials]
    # The sweep's own folder last: until then the same command finishes what was cut short.
    folders = (*(f"trials/{folder}" for folder in own if folder not in kept), f"sweeps/{record.name}")
    sizes = [size for folder in folders for _, size in contents(storage.storage, folder)]
    return Removal(record.name, folders, tuple(sorted(set(own) & kept)), len(sizes), sum(sizes))


def contents(storage: "Storage", folder: str) -> Iterator[tuple[str, int]]:
    """Yield the files below a folder by their names in the storage, with their sizes."""
    from pyarrow import fs

    selector = fs.FileSelector(f"{storage.root}/{folder}", recursive=True, allow_not_found=True)
    for info in storage.filesystem.get_file_info(selector):
        if info.is_file:
            yield info.path.removeprefix(f"{storage.root}/"), info.size


def archive(storage: "Storage", target: "Storage", names: Iterable[str]) -> None:
    """Copy files; BadInputError when one arrived with another size."""
    for name in names:
        content = storage.read(name)
        if content is None:
            continue
        target.write(name, content)
        written = target.read(name)
        if written != content:
            raise BadInputError(f"--archive {target.address(name)}: isn't what was written; nothing was removed")


def remove_runs(tracking_uri: str | None, storage: str, name: str) -> int:
    """Delete a sweep's runs in MLflow, the children before their parent; return how many."""
    from sweep.tracking.runs import PARENT, SWEEP
    from sweep.tracking.store import EXPERIMENT, TrackingStore

    client: Any = TrackingStore.choose(tracking_uri, storage=storage, experiment=EXPERIMENT).connect()
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is None:
        return 0
    removed = 0
    for parent in client.search_runs([experiment.experiment_id], f"tags.`{SWEEP}` = '{name}'"):
        wanted = f"tags.`{PARENT}` = '{parent.info.run_id}'"
        while children := client.search_runs([experiment.experiment_id], wanted):
            for child in children:
                client.delete_run(child.info.run_id)
                removed += 1
        client.delete_run(parent.info.run_id)
        removed += 1
    return removed


def older_than(storage: "SweepStorage", days: float) -> list[str]:
    """Return the sweeps that were last run so many days ago."""
    limit = time.time_ns() // 1_000_000 - days * DAY_MS
    records = [record for name in storage.sweep_names() if (record := storage.sweep(name)) is not None]
    return [record.name for record in records if _last_ms(storage, record) < limit]


def _last_ms(storage: "SweepStorage", record: "SweepRecord") -> int:
    attempts = (attempt for entry in record.trials for attempt in storage.trial_of(entry).attempts())
    own = [attempt.ended_ms or attempt.started_ms for attempt in attempts if attempt.sweep == record.name]
    return max([record.time_ms, *own])


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
    from sweep.records.sweep_record import SweepStorage
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
