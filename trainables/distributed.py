"""Collective operations over the ranks of one trial; on one rank each is the identity.

Convention: every rank computes the loss of the whole global batch from gathered embeddings, and a parameter's gradient
is the *sum* of the ranks' gradients. The gather's backward pass is then this rank's slice, without communication.
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
    """Return the rank of this process, from 0."""
    return dist.get_rank() if world_size() > 1 else 0


def to_device(values: Tensor | NDArray[Any], device: torch.device) -> Tensor:
    """Return the values on the device, copied asynchronously from page-locked memory."""
    tensor = values if isinstance(values, Tensor) else torch.from_numpy(values)
    return tensor if device.type == "cpu" else tensor.pin_memory().to(device, non_blocking=True)


def slice_of(rank: int, world: int, total: int) -> slice:
    """Return a rank's slice of a batch of `total` images; slice lengths differ by at most one."""
    return slice(rank * total // world, (rank + 1) * total // world)


def gather_with_gradient(values: Tensor, total: int) -> Tensor:
    """Return (total, ...): the parts of all ranks (`slice_of`) in order; differentiable in this rank's part."""
    return values if world_size() == 1 else _Gather.apply(values, total)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, total: int) -> Tensor:
        world = world_size()
        slices = [slice_of(number, world, total) for number in range(world)]
        lengths = [part.stop - part.start for part in slices]
        ctx.start, ctx.count = slices[dist.get_rank()].start, len(values)
        longest = max(lengths)
        padded = values.contiguous()
        if len(values) < longest:
            padded = torch.cat([values, values.new_zeros((longest - len(values), *values.shape[1:]))])
        parts = [torch.empty_like(padded) for _ in range(world)]
        dist.all_gather(parts, padded)
        return torch.cat([part[:length] for part, length in zip(parts, lengths, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0].narrow(0, ctx.start, ctx.count), None


def sum_over_ranks(values: Tensor) -> Tensor:
    """Return on every rank the sum of all ranks' tensors, which have the same shape."""
    if world_size() > 1:
        values = values.clone()
        dist.all_reduce(values)
    return values


def gather_rows(values: Tensor, total: int) -> Tensor:
    """Return on every rank all rows (total, ...) in order; before, rank r holds the rows r, r + world, ...

    The ranks may hold numbers of rows that differ by one; shorter parts are padded for the transfer.
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
