"""LARS step on the CPU as one compiled kernel: the step of lars.py in two passes over a parameter's values.

float32; equal to the plain version except for rounding, and identical for any number of threads. Needs numba.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainables.kernels.numba_compile import compiled, in_threads

REASSOCIATED = ("reassoc", "contract", "nsz")
"""Allowed optimisations: sums in any order; infinite and NaN values are preserved."""
BLOCK = 4096
"""Number of values summed in float32 before the sum continues in float64."""
ALONE = 1 << 18
"""Number of values below which one thread is faster than starting another."""


def takes(weight: Tensor, gradient: Tensor, velocity: Tensor) -> bool:
    """Return whether the kernel supports these tensors: float32, on the CPU, and all in one memory layout."""
    tensors = (weight, gradient, velocity)
    if any(each.dtype != torch.float32 or each.device.type != "cpu" for each in tensors):
        return False
    if all(each.is_contiguous() for each in tensors):
        return True
    return weight.dim() == 4 and all(each.is_contiguous(memory_format=torch.channels_last) for each in tensors)


def step(
    weights: Sequence[Tensor],
    gradients: Sequence[Tensor],
    velocities: Sequence[Tensor],
    *,
    lr: float,
    momentum: float,
    weight_decay: float,
    eeta: float,
    adapt: bool,
) -> None:
    """Step parameters in place, with torch's number of threads; each must pass `takes`."""
    numbers = (np.float32(lr), np.float32(momentum), np.float32(weight_decay), eeta, adapt)

    def work(part: list[tuple[NDArray[np.float32], ...]]) -> None:
        for arrays in part:
            _step(*arrays, *numbers)

    everything = zip(weights, gradients, velocities, strict=True)
    arrays = [tuple(_flat(tensor) for tensor in tensors) for tensors in everything]
    in_threads(work, _shares(arrays))


def _shares(arrays: list[tuple[NDArray[np.float32], ...]]) -> list[list[tuple[NDArray[np.float32], ...]]]:
    """Return the parameters of each thread, with about equal numbers of values."""
    total = sum(len(weight) for weight, *_ in arrays)
    threads = 1 if total < ALONE else min(torch.get_num_threads(), len(arrays))
    shares: list[list[tuple[NDArray[np.float32], ...]]] = [[] for _ in range(threads)]
    loads = [0] * threads
    for each in sorted(arrays, key=lambda each: -len(each[0])):
        least = loads.index(min(loads))
        shares[least].append(each)
        loads[least] += len(each[0])
    return shares


def _flat(tensor: Tensor) -> NDArray[np.float32]:
    return tensor.detach().as_strided((tensor.numel(),), (1,)).numpy()


@compiled(*REASSOCIATED)
def _step(weight, gradient, velocity, rate, momentum, decay, eeta, adapt):
    """Step one parameter."""
    if adapt:
        weight_square, gradient_square = _squares(weight, gradient, decay)
        if weight_square > 0.0 and gradient_square > 0.0:
            rate *= np.float32(eeta * np.sqrt(weight_square / gradient_square))
    for place in range(len(weight)):
        moved = momentum * velocity[place] + rate * (gradient[place] + decay * weight[place])
        velocity[place] = moved
        weight[place] -= moved


@compiled(*REASSOCIATED)
def _squares(weight, gradient, decay):
    """Return the squared norms of the weight and of its decayed gradient."""
    weight_square, gradient_square = np.float64(0.0), np.float64(0.0)
    for start in range(0, len(weight), BLOCK):
        values, slopes = weight[start : start + BLOCK], gradient[start : start + BLOCK]  # slices are vectorised
        ours, theirs = np.float32(0.0), np.float32(0.0)
        for place in range(len(values)):
            decayed = slopes[place] + decay * values[place]
            ours += values[place] * values[place]
            theirs += decayed * decayed
        weight_square += ours
        gradient_square += theirs
    return weight_square, gradient_square
