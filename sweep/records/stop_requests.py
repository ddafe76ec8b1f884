"""Requests to stop a sweep, or one of its trials, as files in the storage: sweeps/NAME/stops/all, or a trial's id."""

from sweep.records.sweep_storage import SweepStorage
from trainables.storage.record_files import record_names

EVERYTHING = "all"


def request_stop(storage: SweepStorage, name: str, what: str = EVERYTHING) -> None:
    """Ask a sweep to stop, or to stop a trial by its id."""
    storage.storage.write(f"sweeps/{name}/stops/{what}", b"")


def stops(storage: SweepStorage, name: str) -> list[str]:
    """Return a sweep's requests to stop: EVERYTHING, or ids of trials."""
    return record_names(storage.storage, f"sweeps/{name}/stops", r"[A-Za-z0-9][A-Za-z0-9_.+-]*")


def clear_stops(storage: SweepStorage, name: str) -> None:
    """Delete all requests to stop a sweep and its trials."""
    for what in stops(storage, name):
        storage.storage.delete(f"sweeps/{name}/stops/{what}")
