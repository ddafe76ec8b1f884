"""Checkpoint that a trial resumes from: the newest valid one that every rank can read."""

from typing import Any

import torch
import torch.distributed as dist

from trainables.distributed import sum_over_ranks, world_size
from trainables.storage.trial_files import TrialFiles


def newest_checkpoint(files: TrialFiles, device: torch.device) -> dict[str, Any] | None:
    """Return the state of the newest readable checkpoint: the last or the one before it. None without a checkpoint.

    All ranks of a process group must call it together.

    Raises:
        OSError: The storage can't be reached.
    """
    for epoch in reversed(_agreed(files.checkpoint_epochs(), device)):
        state = _loaded(files, epoch, device)
        missing = sum_over_ranks(torch.tensor(int(state is None), device=device))
        if not int(missing):  # else ranks would go on from different epochs
            return state
        files.note = f"the checkpoint of epoch {epoch} can't be read; went on from before it"
    return None


def _loaded(files: TrialFiles, epoch: int, device: torch.device) -> dict[str, Any] | None:
    """Return the state of an epoch's checkpoint on this rank; None if it is missing or torn."""
    try:
        return files.load_checkpoint(epoch, device)
    except OSError as error:
        if not isinstance(error, FileNotFoundError):
            raise  # the storage is away: the checkpoint may be good
    except Exception:  # a torn file raises whatever the unpickler meets; the one before is good
        return None
    return None


def _agreed(epochs: list[int], device: torch.device) -> list[int]:
    """Return rank 0's last two checkpoint epochs on every rank (ranks may list a folder at different moments)."""
    newest = torch.tensor(([-1, -1, *epochs])[-2:], device=device)
    if world_size() > 1:
        dist.broadcast(newest, src=0)
    return [epoch for epoch in newest.tolist() if epoch >= 0]
