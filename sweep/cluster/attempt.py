"""One attempt at a trial in this process: opening it, watching it, and what its exceptions mean."""

import faulthandler
import importlib
import os
import tempfile
import threading
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from sweep.scheduling.task import Failure, TrialTask
from trainables import heartbeat
from trainables.config import SimCLRConfig
from trainables.data.store import ImageStore
from trainables.errors import BadInputError, NonFiniteLossError, StorageAwayError
from trainables.storage.deferred_writes import Backlog
from trainables.storage.filesystem import Storage
from trainables.storage.trial_files import TrialFiles
from trainables.storage.trial_records import EpochRecord, FailureRecord, now_ms

HUNG_EXIT_CODE = 70
_LAST_WORDS_SECONDS = 5.0


@dataclass(frozen=True)
class News:
    """A newly trained epoch."""

    record: EpochRecord
    durable: bool
    """Whether the record is in the storage already."""
    note: str = ""
    """What a person should know of how the attempt began."""


def open_records(task: TrialTask, device: torch.device) -> Iterator[News]:
    """Return the generator that trains the task on this rank; BadInputError when config or data can't be used.

    While it trains, a watchdog ends the process when no step is taken for `task.hang_seconds`.
    """
    module, _, name = task.entry.partition(":")
    train = getattr(importlib.import_module(module), name)
    config = SimCLRConfig.parse(task.config)
    options: dict[str, Any] = {"store": ImageStore.at(task.store_address, task.fingerprint)}
    if task.evaluation_address:
        options["evaluation_store"] = ImageStore.at(task.evaluation_address, task.evaluation_fingerprint)
    if task.recompute:
        options["recompute"] = True
    files = TrialFiles(Storage.at(task.files_address), Backlog())
    _Watchdog.of_this_process().watch(files, task.hang_seconds)
    return _watched(train(config, **options, files=files, device=device), files)


def _watched(records: Iterator[EpochRecord], files: TrialFiles) -> Iterator[News]:
    try:
        while True:
            heartbeat.beat()
            record = next(records, None)
            heartbeat.rest()
            if record is None:
                return
            yield News(record, not files.behind, files.note)
    finally:
        heartbeat.rest()
        close = getattr(records, "close", None)
        if close is not None:
            close()


class _Watchdog:
    """A thread that ends this process when the trial under way stops showing signs of life."""

    _only: "_Watchdog | None" = None

    def __init__(self) -> None:
        self._files: TrialFiles | None = None
        self._limit = float("inf")
        self._wake = threading.Event()
        threading.Thread(target=self._look, name="watchdog", daemon=True).start()

    @classmethod
    def of_this_process(cls) -> "_Watchdog":
        if cls._only is None:
            cls._only = cls()
        return cls._only

    def watch(self, files: TrialFiles, limit: float) -> None:
        self._files, self._limit = TrialFiles(files.storage), limit
        self._wake.set()

    def _look(self) -> None:
        while True:
            self._wake.wait(min(self._limit / 10, 5.0))
            self._wake.clear()
            silence = heartbeat.silence()
            if silence > self._limit:
                self._end(silence)

    def _end(self, silence: float) -> None:
        message = f"process {os.getpid()} took no step for {silence:.0f} s: {_where_it_stands()}"
        # In a thread of its own: the storage may be what hangs.
        words = threading.Thread(target=self._last_words, args=(message,), daemon=True)
        words.start()
        words.join(_LAST_WORDS_SECONDS)
        os._exit(HUNG_EXIT_CODE)

    def _last_words(self, message: str) -> None:
        assert self._files is not None
        self._files.write_failure(FailureRecord(time_ms=now_ms(), kind=Failure.HUNG, message=message))


def _where_it_stands() -> str:
    """Return the innermost line of each thread, for the message."""
    with tempfile.TemporaryFile("w+") as file:
        faulthandler.dump_traceback(file)
        file.seek(0)
        frames = file.read().split("\n\n")
    tops = [lines[1].strip() for block in frames if len(lines := block.splitlines()) > 1]
    return "; ".join(top for top in tops if __file__ not in top and "threading.py" not in top)[:500]


def failure_of(error: Exception) -> Failure:
    """Return what the exception of an attempt says to a person."""
    if isinstance(error, NonFiniteLossError):
        return Failure(Failure.NON_FINITE, str(error))
    if isinstance(error, BadInputError):
        return Failure(Failure.BAD_INPUT, str(error))
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        detail = str(error).split("\n", maxsplit=1)[0]
        return Failure(Failure.OUT_OF_MEMORY, detail or type(error).__name__)
    kind = Failure.STORAGE if isinstance(error, OSError | StorageAwayError) else Failure.CRASH
    lines = "".join(traceback.format_exception(error))
    return Failure(kind, "".join(traceback.format_exception_only(error)).strip(), lines)
