"""Writes the pages of several sweeps: what they have in common, and each alone, linked."""

import os
from collections.abc import Sequence
from pathlib import Path

from sweep.comparison.merged_sweeps import Joint
from sweep.records.sweep_storage import SweepStorage
from sweep.report.page import PAGE, slug, write_report


def write_reports(
    joints: Sequence[Joint], apart: Sequence[str], storage: SweepStorage, folder: Path, *, pictures: bool = True
) -> list[Path]:
    """Write the pages of sweeps as they are compared; return them, what is joined first.

    A sweep alone, or sweeps that are all compared as one, have their page in the folder itself; each sweep of several
    has its own in a folder of its name. `apart` says what isn't compared with each other.
    """
    names = list(dict.fromkeys(name for one in joints for name in one.sweeps))
    if len(names) == 1:
        return [write_report(joints[0].record, storage, folder, pictures=pictures)]
    together = [one for one in joints if len(one.sweeps) > 1]
    places = [folder if len(together) == 1 else folder / slug("-".join(one.sweeps)) for one in together]
    pages = []
    for one, place in zip(together, places, strict=True):
        links = {f"{name} alone": _from(place, folder / name) for name in one.sweeps}
        pages.append(
            write_report(one.record, storage, place, pictures=pictures, sources=one.sources, apart=apart, links=links)
        )
    for name in names:
        around = zip(together, places, strict=True)
        links = {one.record.name: _from(folder / name, place) for one, place in around if name in one.sweeps}
        pages.append(write_report(storage.record(name), storage, folder / name, pictures=pictures, links=links))
    return pages


def _from(place: Path, other: Path) -> str:
    """Return the relative address of the page in another folder."""
    return Path(os.path.relpath(other / PAGE, place)).as_posix()
