"""What the ranks of one trial tell each other; on one rank everything here is the identity.

Convention: every rank computes the loss of the whole global batch from gathered embeddings, and a parameter's gradient
is the *sum* of the ranks' gradients. The gather's backward is then just this rank's slice, with no communication.
"""

from typing import Any

import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor


def world_size() -> int:
    """Return the number of ranks of this trial."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Return this process's number among the ranks."""
    return dist.get_rank() if world_size() > 1 else 0


def to_device(values: Tensor | NDArray[Any], device: torch.device) -> Tensor:
    """Return the values on the device, copied from page-locked memory so that neither side waits."""
    tensor = values if isinstance(values, Tensor) else torch.from_numpy(values)
    return tensor if device.type == "cpu" else tensor.pin_memory().to(device, non_blocking=True)


def gather_with_gradient(values: Tensor) -> Tensor:
    """Return (world * N, ...), all ranks' (N, ...) in order, differentiable in this rank's part."""
    return values if world_size() == 1 else _Gather.apply(values)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        ctx.start, ctx.count = dist.get_rank() * len(values), len(values)
        parts = [torch.empty_like(values) for _ in range(world_size())]
        dist.all_gather(parts, values.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0].narrow(0, ctx.start, ctx.count)


def sum_over_ranks(values: Tensor) -> Tensor:
    """Return the sum of the ranks' tensors of one shape, on every rank."""
    if world_size() > 1:
        values = values.clone()
        dist.all_reduce(values)
    return values


def gather_rows(values: Tensor, total: int) -> Tensor:
    """Return (total, ...) rows in order, on every rank, of rows dealt out in turn: rank r holds rows r, r + world, ...

    The ranks' shares may differ by one row; short ones are padded for the transfer and cut again.
    """
    world = world_size()
    if world == 1:
        return values
    longest = -(-total // world)
    padded = values.new_zeros((longest, *values.shape[1:]))
    padded[: len(values)] = values
    parts = [torch.empty_like(padded) for _ in range(world)]
    dist.all_gather(parts, padded)
    return torch.stack(parts, dim=1).flatten(0, 1)[:total]
