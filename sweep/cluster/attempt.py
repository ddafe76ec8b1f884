"""One attempt at a trial in this process: start, watchdog, and the mapping from exceptions to failures."""

import importlib
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from sweep.cluster.watchdog import HeartbeatWatchdog
from sweep.scheduling.failure import AttemptFailure
from sweep.scheduling.task import TrialTask
from trainables import heartbeat
from trainables.config import TrialConfig
from trainables.data.store import ImageStore
from trainables.errors import BadInputError, NonFiniteLossError, StorageAwayError
from trainables.storage.deferred_writes import DeferredWrites
from trainables.storage.filesystem import Storage
from trainables.storage.trial_files import TrialFiles
from trainables.storage.trial_records import EpochRecord


@dataclass(frozen=True)
class ReportedEpoch:
    """Record of a newly trained epoch."""

    record: EpochRecord
    durable: bool
    """Whether the record is already in the storage."""
    note: str = ""
    """Note for the user on the start of the attempt."""


def open_records(task: TrialTask, device: torch.device) -> Iterator[ReportedEpoch]:
    """Return the generator that trains a task on this rank, one item per epoch.

    During training, a watchdog ends the process if no step is taken for `task.hang_seconds`.

    Raises:
        BadInputError: The configuration or the data can't be used.
    """
    module, _, name = task.entry.partition(":")
    train = getattr(importlib.import_module(module), name)
    config = TrialConfig.parse(task.config)
    options: dict[str, Any] = {"store": ImageStore.at(task.store_address, task.fingerprint)}
    if task.evaluation_address:
        options["evaluation_store"] = ImageStore.at(task.evaluation_address, task.evaluation_fingerprint)
    if task.recompute:
        options["recompute"] = True
    files = TrialFiles(Storage.at(task.files_address), DeferredWrites())
    HeartbeatWatchdog.of_this_process().watch(files, task.hang_seconds)
    return _watched(train(config, **options, files=files, device=device), files)


def _watched(records: Iterator[EpochRecord], files: TrialFiles) -> Iterator[ReportedEpoch]:
    try:
        while True:
            heartbeat.beat()
            record = next(records, None)
            heartbeat.rest()
            if record is None:
                return
            yield ReportedEpoch(record, not files.behind, files.note)
    finally:
        heartbeat.rest()
        close = getattr(records, "close", None)
        if close is not None:
            close()


def failure_of(error: Exception) -> AttemptFailure:
    """Return the failure that an attempt's exception stands for."""
    if isinstance(error, NonFiniteLossError):
        return AttemptFailure(AttemptFailure.NON_FINITE, str(error))
    if isinstance(error, BadInputError):
        return AttemptFailure(AttemptFailure.BAD_INPUT, str(error))
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        detail = str(error).split("\n", maxsplit=1)[0]
        return AttemptFailure(AttemptFailure.OUT_OF_MEMORY, detail or type(error).__name__)
    kind = AttemptFailure.STORAGE if isinstance(error, OSError | StorageAwayError) else AttemptFailure.CRASH
    lines = "".join(traceback.format_exception(error))
    return AttemptFailure(kind, "".join(traceback.format_exception_only(error)).strip(), lines)
