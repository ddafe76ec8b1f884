"""Delivery of a sweep's summary to `--on-end`: sweeps/NAME/on_end.json, without the command or URL."""

from pydantic import BaseModel, ConfigDict

from sweep.records.sweep_storage import SweepStorage
from trainables.storage.record_files import find_record
from trainables.storage.trial_records import now_ms


class EndReport(BaseModel):
    """Outcome of the last delivery of a sweep's summary."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    time_ms: int
    fault: str
    """Error in words; empty if the summary was delivered."""


def write_end_report(storage: SweepStorage, name: str, fault: str) -> None:
    """Write the outcome of the delivery."""
    report = EndReport(time_ms=now_ms(), fault=fault)
    storage.storage.write(_path(name), report.model_dump_json().encode())


def end_report(storage: SweepStorage, name: str) -> EndReport | None:
    """Return the outcome of the last delivery; None if there was none or its record can't be read."""
    return find_record(storage.storage, _path(name), EndReport)


def _path(name: str) -> str:
    return f"sweeps/{name}/on_end.json"
