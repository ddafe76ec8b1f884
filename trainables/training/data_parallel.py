"""Data-parallel training: one model per rank, with gradients averaged over the ranks."""

import inspect
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from trainables.distributed import world_size


def data_parallel(model: nn.Module, device: torch.device) -> nn.Module:
    """Return the model wrapped for all ranks; on one rank the model itself."""
    if world_size() == 1:
        return model
    # Batch-norm buffers are equal on all ranks by construction, so no step begins with sending them. torch 2.14
    # renamed the option.
    renamed = "forward_sync_buffers" in inspect.signature(DistributedDataParallel).parameters
    option: dict[str, Any] = {"forward_sync_buffers" if renamed else "broadcast_buffers": False}
    devices = [device] if device.type == "cuda" else None
    return DistributedDataParallel(model, device_ids=devices, gradient_as_bucket_view=True, **option)
