"""The context of a run of which only records and listeners matter."""

from typing import Any
from unittest.mock import MagicMock

from sweep.planning.launch import LaunchOptions
from sweep.records.sweep_storage import SweepStorage
from sweep.running.run_context import RunContext, RunOptions


def run_context(storage: SweepStorage, **parts: Any) -> RunContext:
    """Return the context of sweep `mine`; of what isn't given, the live ones are mocks."""
    mocks = {name: MagicMock() for name in ("sizing", "live", "progress", "tracker")}
    mocks["live"].taken_over = ""
    values = {"name": "mine", "launch": LaunchOptions(), "options": RunOptions(), **mocks, **parts}
    return RunContext(storage=storage, **values)
