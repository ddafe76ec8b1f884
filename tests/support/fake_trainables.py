"""Stand-ins for `trainables.simclr.train` that workers import: they count epochs, and fail as their names say."""

import os
import signal
import time
from collections.abc import Iterator

import torch
import torch.distributed as dist

from trainables.config import TrialConfig
from trainables.data.store import ImageStore
from trainables.distributed import rank, world_size
from trainables.errors import NonFiniteLossError
from trainables.storage.trial_files import TrialFiles
from trainables.storage.trial_records import EpochRecord


def counts(config: TrialConfig, *, store: ImageStore, files: TrialFiles, device: torch.device) -> Iterator[EpochRecord]:
    """Count the epochs, from the last one recorded; the metrics say which processes did."""
    done = len(files.epochs())
    if world_size() > 1:
        dist.barrier()
    for epoch in range(done + 1, config.epochs + 1):
        rank = dist.get_rank() if world_size() > 1 else 0
        processes = torch.zeros(world_size(), dtype=torch.float64)
        processes[rank] = os.getpid()
        if world_size() > 1:
            dist.all_reduce(processes)
        metrics = {f"pid/{number}": process for number, process in enumerate(processes.tolist())}
        record = EpochRecord(epoch=epoch, time_ms=time.time_ns() // 1_000_000, seconds=0.0, metrics=metrics)
        if rank == 0:
            files.write_epoch(record)
        yield record


def raises(config: TrialConfig, *, store: ImageStore, files: TrialFiles, device: torch.device) -> Iterator[EpochRecord]:
    """Fail after the first epoch, on the last rank only."""
    yield from _one(config, store=store, files=files, device=device)
    if world_size() == 1 or dist.get_rank() > 0:
        raise LookupError("no such thing")
    dist.barrier()


def raises_once(
    config: TrialConfig, *, store: ImageStore, files: TrialFiles, device: torch.device
) -> Iterator[EpochRecord]:
    """Fail after the first epoch of the first attempt, on the last rank only."""
    if len(files.epochs()) == 0:
        yield from raises(config, store=store, files=files, device=device)
    yield from counts(config, store=store, files=files, device=device)


def diverges(
    config: TrialConfig, *, store: ImageStore, files: TrialFiles, device: torch.device
) -> Iterator[EpochRecord]:
    """Fail after the first epoch as training does when the loss isn't finite."""
    yield from _one(config, store=store, files=files, device=device)
    raise NonFiniteLossError("the loss is nan at step 7")


def runs_out(
    config: TrialConfig, *, store: ImageStore, files: TrialFiles, device: torch.device
) -> Iterator[EpochRecord]:
    """Fail after the first epoch as torch does on a full GPU."""
    yield from _one(config, store=store, files=files, device=device)
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")


def killed_once(
    config: TrialConfig, *, store: ImageStore, files: TrialFiles, device: torch.device
) -> Iterator[EpochRecord]:
    """Lose the last rank's process after the first epoch of the first attempt."""
    if len(files.epochs()) == 0:
        yield from _one(config, store=store, files=files, device=device)
        if world_size() == 1 or dist.get_rank() > 0:
            os.kill(os.getpid(), signal.SIGKILL)
        dist.barrier()
    yield from counts(config, store=store, files=files, device=device)


def always_killed(
    config: TrialConfig, *, store: ImageStore, files: TrialFiles, device: torch.device
) -> Iterator[EpochRecord]:
    """Lose the process in every attempt."""
    os.kill(os.getpid(), signal.SIGKILL)
    yield from ()


def hangs_once(
    config: TrialConfig, *, store: ImageStore, files: TrialFiles, device: torch.device
) -> Iterator[EpochRecord]:
    """Take no step after the first epoch of the first attempt, on the last rank."""
    if len(files.epochs()) == 0:
        yield from _one(config, store=store, files=files, device=device)
        if world_size() == 1 or dist.get_rank() > 0:
            time.sleep(600)
        dist.barrier()
    files.clear_failure()
    yield from counts(config, store=store, files=files, device=device)


def freezes_once(
    config: TrialConfig, *, store: ImageStore, files: TrialFiles, device: torch.device
) -> Iterator[EpochRecord]:
    """Stop the whole process after the first epoch of the first attempt, so that its watchdog can't look either."""
    if len(files.epochs()) == 0:
        yield from _one(config, store=store, files=files, device=device)
        os.kill(os.getpid(), signal.SIGSTOP)
    yield from counts(config, store=store, files=files, device=device)


def dawdles(
    config: TrialConfig, *, store: ImageStore, files: TrialFiles, device: torch.device
) -> Iterator[EpochRecord]:
    """Take a second an epoch."""
    for record in counts(config, store=store, files=files, device=device):
        time.sleep(1.0)
        yield record


def dawdles_longer(
    config: TrialConfig, *, store: ImageStore, files: TrialFiles, device: torch.device
) -> Iterator[EpochRecord]:
    """Take four seconds an epoch after the first."""
    for record in counts(config, store=store, files=files, device=device):
        yield record
        time.sleep(4.0)


def writes_late(
    config: TrialConfig, *, store: ImageStore, files: TrialFiles, device: torch.device
) -> Iterator[EpochRecord]:
    """Take another second, when told to stop, to write a checkpoint."""
    records = counts(config, store=store, files=files, device=device)
    try:
        yield from records
    finally:
        time.sleep(1.0)
        if rank() == 0:
            files.save_checkpoint(len(files.epochs()), {})


def _one(config: TrialConfig, *, store: ImageStore, files: TrialFiles, device: torch.device) -> Iterator[EpochRecord]:
    first = config.model_copy(update={"epochs": 1})
    yield from counts(first, store=store, files=files, device=device)
