"""Report pages of several sweeps: one for all of them and one for each, linked to each other."""

import errno
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from sweep.comparison.dataset_report import DataSetReport, dataset_reports
from sweep.comparison.effects import NotComputed
from sweep.comparison.merged_sweeps import MergedSweep, merged_sweeps
from sweep.comparison.split_comparison import SplitComparison, reported_splits
from sweep.console.output_files import check_outputs, file_name
from sweep.records.sweep_storage import SweepStorage
from sweep.report.page import PAGE, write_report
from sweep.report.trial_images import picture_figures
from trainables.errors import BadInputError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Errors of a file that can't grow."""


def report_sweeps(
    sweeps: Sequence[str], storage: str, folder: Path, *, pictures: bool = True, overwrite: bool = False
) -> list[Path]:
    """Write the pages of sweeps, by default of the latest sweep; return their paths as `write_reports` does."""
    place = SweepStorage(storage)
    merged, not_comparable = merged_sweeps(place, sweeps)
    reports = [dataset_reports(one.record, place, one.sources) for one in merged]
    return write_reports(merged, reports, not_comparable, place, folder, pictures=pictures, overwrite=overwrite)


def write_reports(
    merged: Sequence[MergedSweep],
    reports: Sequence[Sequence[DataSetReport]],
    not_comparable: Sequence[str],
    storage: SweepStorage,
    folder: Path,
    *,
    pictures: bool = True,
    overwrite: bool = False,
) -> list[Path]:
    """Write the pages of compared sweeps, with the reports of each; return their paths, the merged page first.

    The page of a single sweep, or of sweeps that are all merged, is in the folder itself. Each of several sweeps has
    its page in a subfolder of its name. `not_comparable` are the sentences on sweeps that can't be compared.

    Raises:
        BadInputError: Another program wrote files of these names, and `overwrite` is False; nothing is written.
    """
    storage.check_not_own("--html", folder)
    names = list(dict.fromkeys(name for one in merged for name in one.sweeps))
    splits = reported_splits(reports, storage)
    if len(names) == 1:
        _check_folder(folder, overwrite=overwrite)
        return [write_page(reports[0], storage, folder, pictures=pictures, splits=splits)]
    together = [(one, parts) for one, parts in zip(merged, reports, strict=True) if len(one.sweeps) > 1]
    places = [folder if len(together) == 1 else folder / file_name("-".join(one.sweeps)) for one, _ in together]
    for place in (*places, *(folder / name for name in names)):
        _check_folder(place, overwrite=overwrite)
    pages = []
    for (one, parts), place in zip(together, places, strict=True):
        links = {f"{name} alone": _from(place, folder / name) for name in one.sweeps}
        own = [found for found in splits if found.is_of(one.sweeps)]
        pages.append(
            write_page(parts, storage, place, pictures=pictures, not_comparable=not_comparable, links=links, splits=own)
        )
    for name in names:
        around = zip(together, places, strict=True)
        links = {one.record.name: _from(folder / name, place) for (one, _), place in around if name in one.sweeps}
        alone = dataset_reports(storage.record(name), storage)
        own = [found for found in splits if found.is_of([name])]
        pages.append(write_page(alone, storage, folder / name, pictures=pictures, links=links, splits=own))
    return pages


def write_page(
    parts: Sequence[DataSetReport],
    storage: SweepStorage,
    folder: Path,
    *,
    pictures: bool = True,
    not_comparable: Sequence[str] = (),
    links: Mapping[str, str] | None = None,
    splits: Sequence[SplitComparison] | None = None,
) -> Path:
    """Write the page of one sweep, or of merged ones, by `write_report`.

    `pictures` takes up to two minutes and needs the prepared data set. `splits` None: those of the data sets.

    Raises:
        BadInputError: The folder can't be written.
    """
    left_out = NotComputed("left out by --no-pictures")
    images = [picture_figures(part, storage) if pictures else left_out for part in parts]
    splits = reported_splits([parts], storage) if splits is None else splits
    try:
        return write_report(parts, images, storage, folder, not_comparable=not_comparable, links=links, splits=splits)
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise BadInputError(
            f"--html {folder}: incomplete, as it can't be written to its end ({error.strerror}); make room, or name "
            "another folder"
        ) from error


def check_is_folder(folder: Path) -> None:
    """Create a report's folder; BadInputError if that can't be done, as where a parent is a file."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        places = (folder, *folder.parents)
        file = next((place for place in places if error.errno != errno.ENAMETOOLONG and place.is_file()), None)
        why = f"{file} is a file" if file is not None else f"can't be written ({error.strerror})"
        raise BadInputError(f"--html {folder}: {why}; name a folder (a missing one is created)") from error


def _check_folder(folder: Path, *, overwrite: bool) -> None:
    """Raise BadInputError for a folder with files of a report's names that belong to no report."""
    check_is_folder(folder)

    def is_report() -> bool:
        with (folder / PAGE).open("rb") as file:
            return b": comparison</title>" in file.read(4096)

    check_outputs([folder / name for name in (PAGE, "figures", "tables")], overwrite=overwrite, is_own=is_report)


def _from(place: Path, other: Path) -> str:
    """Return the relative address of the page in another folder."""
    return Path(os.path.relpath(other / PAGE, place)).as_posix()
