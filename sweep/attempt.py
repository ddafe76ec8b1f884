"""One attempt at a trial in this process: opening it, and what its exceptions mean."""

import importlib
import traceback
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import torch

from sweep.tasks import TrialTask
from trainables.config import SimCLRConfig
from trainables.data.store import ImageStore
from trainables.errors import BadInputError, NonFiniteLossError
from trainables.storage import Storage
from trainables.trial_files import EpochRecord, TrialFiles

CRASH, NON_FINITE, OUT_OF_MEMORY, BAD_INPUT = "crash", "non_finite_loss", "out_of_memory", "bad_input"


@dataclass(frozen=True)
class Failure:
    """Why an attempt can't be mended by trying again."""

    kind: str
    message: str
    traceback: str = ""
    """Of a crash; for the log, not for the table."""

    def as_dict(self) -> dict[str, str]:
        """Return the fields, for a result or a message."""
        return asdict(self)


def open_records(task: TrialTask, device: torch.device) -> Iterator[EpochRecord]:
    """Return the generator that trains the task on this rank; BadInputError when config or data can't be used."""
    module, _, name = task.entry.partition(":")
    train = getattr(importlib.import_module(module), name)
    config = SimCLRConfig.parse(task.config)
    stores = {"store": ImageStore.at(task.store_address, task.fingerprint)}
    if task.evaluation_address:
        stores["evaluation_store"] = ImageStore.at(task.evaluation_address, task.evaluation_fingerprint)
    records: Iterator[EpochRecord] = train(
        config, **stores, files=TrialFiles(Storage.at(task.files_address)), device=device
    )
    return records


def failure_of(error: Exception) -> Failure:
    """Return what the exception of an attempt says to a person."""
    if isinstance(error, NonFiniteLossError):
        return Failure(NON_FINITE, str(error))
    if isinstance(error, BadInputError):
        return Failure(BAD_INPUT, str(error))
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        detail = str(error).split("\n", maxsplit=1)[0]
        return Failure(OUT_OF_MEMORY, f"out of memory: take a smaller batch or more workers ({detail})")
    lines = "".join(traceback.format_exception(error))
    return Failure(CRASH, "".join(traceback.format_exception_only(error)).strip(), lines)
