"""Comparing two trajectories: in float64, where only rounding makes them differ."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

AGREEMENT = 1e-9


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Compute in `dtype`: in float64 what only rounding makes differ agrees to 1e-9."""
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


def largest_difference(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> float:
    """Return the largest difference of a tensor in units of its largest value; NaN where one of them has one."""
    assert found.keys() == expected.keys()
    pairs = [(found[name].double(), tensor.double()) for name, tensor in expected.items()]
    differing = [(a - b).abs().max() / b.abs().max() for a, b in pairs if not torch.equal(a, b)]
    return float(torch.stack(differing).max()) if differing else 0.0
