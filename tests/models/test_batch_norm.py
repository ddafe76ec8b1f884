"""Batch norm over two ranks against one rank that holds the whole batch, and its kernels against plain sums."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from support.process_group import on_ranks
from torch import Tensor

from trainables.models import batch_norm
from trainables.models.batch_norm import GlobalBatchNorm

CHANNELS = 5
LAYOUTS = {"contiguous": torch.contiguous_format, "channels last": torch.channels_last}
SHAPES: dict[str, tuple[int, ...]] = {"maps": (9, CHANNELS, 4, 3), "vectors": (9, CHANNELS)}
UNEVEN = (slice(0, 6), slice(6, 9))


def batch(shape: tuple[int, ...], layout: str, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return values whose mean lies many times their spread from zero, and gradients of the output."""
    generator = torch.Generator().manual_seed(3)
    values = 40.0 + 2.0 * torch.randn(shape, generator=generator, dtype=torch.float64)
    upstream = torch.randn(shape, generator=generator, dtype=torch.float64)
    if len(shape) == 2:
        return values.to(dtype), upstream.to(dtype)
    return tuple(each.to(dtype).contiguous(memory_format=LAYOUTS[layout]) for each in (values, upstream))  # type: ignore[return-value]


def layer(dtype: torch.dtype, shift: bool) -> GlobalBatchNorm:
    made = GlobalBatchNorm(CHANNELS, shift=shift).to(dtype)
    with torch.no_grad():
        made.weight.copy_(torch.linspace(0.5, 1.5, CHANNELS))
        if made.bias is not None:
            made.bias.copy_(torch.linspace(-1.0, 1.0, CHANNELS))
    return made


def passed(norm: GlobalBatchNorm, values: Tensor, upstream: Tensor) -> dict[str, Tensor]:
    """Return what a pass forward and back makes."""
    values = values.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    output = norm(values)
    output.backward(upstream)
    assert values.grad is not None
    assert values.grad.dtype == output.dtype == values.dtype
    shares = {name: weight.grad for name, weight in norm.named_parameters()}
    found = {"output": output.detach(), "input": values.grad, **shares, **dict(norm.named_buffers())}
    return {name: tensor for name, tensor in found.items() if tensor is not None}


def _rank(shape: tuple[int, ...], layout: str, dtype: torch.dtype, shift: bool, folder: str) -> None:
    part = UNEVEN[dist.get_rank()]
    found = passed(
        layer(dtype if dtype == torch.float64 else torch.float32, shift),
        *(x[part] for x in batch(shape, layout, dtype)),
    )
    torch.save(found, Path(folder, f"{dist.get_rank()}.pt"))


@pytest.mark.parametrize("shift", [True, False], ids=["with beta", "without"])
@pytest.mark.parametrize(
    ("shape", "layout", "dtype"),
    [
        ("vectors", "contiguous", torch.float64),
        ("maps", "contiguous", torch.float64),
        ("maps", "channels last", torch.float64),
        ("maps", "channels last", torch.float32),
        ("maps", "channels last", torch.bfloat16),
    ],
)
def test_two_ranks_with_unlike_shares_are_one(
    shape: str, layout: str, dtype: torch.dtype, shift: bool, tmp_path: Path
) -> None:
    on_ranks(2, tmp_path, _rank, SHAPES[shape], layout, dtype, shift, str(tmp_path))
    ranks = [torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1)]
    wide = [each.double() for each in batch(SHAPES[shape], layout, dtype)]
    expected = passed(layer(torch.float64, shift), *wide)
    tolerance: dict[str, Any] = {"rtol": 1e-10, "atol": 1e-10}
    if dtype != torch.float64:
        tolerance = {"rtol": 4.0 * torch.finfo(dtype).eps, "atol": 5e-5 if dtype == torch.float32 else 0.1}
    for name in ("output", "input"):
        together = torch.cat([rank[name] for rank in ranks]).double()
        torch.testing.assert_close(together, expected[name], **tolerance, msg=lambda said, name=name: f"{name}: {said}")
    for name in expected.keys() & {"weight", "bias"}:
        torch.testing.assert_close(ranks[0][name].double() + ranks[1][name].double(), expected[name], **tolerance)
    for name in ("running_mean", "running_var"):
        for rank in ranks:
            torch.testing.assert_close(rank[name].double(), expected[name], **tolerance)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_kernels_of_the_cpu_equal_the_plain_sums(layout: str, dtype: torch.dtype) -> None:
    values, upstream = batch(SHAPES["maps"], layout, dtype)
    tolerance: dict[str, Any] = {"rtol": 100 * torch.finfo(dtype).eps, "atol": 1000 * torch.finfo(dtype).eps}
    mean, variance = batch_norm._statistics(values)
    for found, plain in zip((mean, variance), batch_norm._plain_statistics(values), strict=True):
        torch.testing.assert_close(found, plain, **tolerance)
    arguments = (upstream, values, mean, variance, 1e-5)
    torch.testing.assert_close(
        batch_norm._gradient_sums(*arguments), batch_norm._plain_gradient_sums(*arguments), **tolerance
    )
