"""The compiled step of LARS against the plain one, which the reference's numbers hold true."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from trainables import lars

pytest.importorskip("numba", reason="numba isn't installed: there is no compiled step to test")

from trainables.kernels import lars_kernel

SHAPES = ((1,), (7,), (130, 33), (64, 32, 3, 3), (300, 200, 1, 1), (3, 5, 7, 7))
SETTINGS: tuple[dict[str, Any], ...] = (
    {"lr": 0.7, "momentum": 0.9, "weight_decay": 1e-4, "eeta": 0.001, "adapt": True},
    {"lr": 0.3, "momentum": 0.5, "weight_decay": 0.0, "eeta": 0.02, "adapt": True},
    {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.0, "eeta": 0.001, "adapt": False},
)


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def parameters(layout: torch.memory_format = torch.contiguous_format) -> list[list[nn.Parameter]]:
    """Return some for each of the settings; among them weights of zeros and gradients of zeros."""
    torch.manual_seed(1)
    groups = [[nn.Parameter(torch.randn(shape)) for shape in SHAPES] for _ in SETTINGS]
    for group in groups:
        group[1].data.zero_()
        for weight in group[3:]:
            weight.data = weight.data.contiguous(memory_format=layout)
    return groups


def give_gradients(groups: list[list[nn.Parameter]], seed: int) -> None:
    torch.manual_seed(seed)
    for group in groups:
        for weight in group:
            weight.grad = torch.randn_like(weight)
        group[2].grad = torch.zeros_like(group[2])


def optimiser_of(groups: list[list[nn.Parameter]]) -> lars.LARS:
    return lars.LARS([{"params": group, **own} for group, own in zip(groups, SETTINGS, strict=True)], lr=9.0)


def three_steps(groups: list[list[nn.Parameter]]) -> list[Tensor]:
    """Return weights and velocities after three steps."""
    optimiser = optimiser_of(groups)
    for seed in range(3):
        give_gradients(groups, seed)
        optimiser.step()
    weights = [weight for group in groups for weight in group]
    return [each.detach().clone() for w in weights for each in (w, optimiser.state[w]["momentum_buffer"])]


def plainly(monkeypatch: pytest.MonkeyPatch, groups: list[list[nn.Parameter]]) -> list[Tensor]:
    with monkeypatch.context() as patched:
        patched.setattr(lars, "available", lambda: False)
        return three_steps(groups)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["contiguous", "channels last"])
def test_equals_the_plain_step(monkeypatch: pytest.MonkeyPatch, layout: torch.memory_format) -> None:
    for ours, plain in zip(three_steps(parameters(layout)), plainly(monkeypatch, parameters(layout)), strict=True):
        torch.testing.assert_close(ours, plain, rtol=3e-6, atol=3e-7)


def test_threads_change_no_bit(threads: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lars_kernel, "ALONE", 0)
    torch.set_num_threads(1)
    alone = three_steps(parameters())
    torch.set_num_threads(5)
    for several, one in zip(three_steps(parameters()), alone, strict=True):
        assert torch.equal(several, one)


def test_takes_what_lies_in_one_order_and_leaves_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    weight = torch.randn(4, 3, 5, 5)
    last = weight.contiguous(memory_format=torch.channels_last)
    pointwise = torch.randn(8, 4, 1, 1)
    assert lars_kernel.takes(weight, weight, weight)
    assert lars_kernel.takes(last, last, last)
    assert lars_kernel.takes(pointwise, pointwise.contiguous(memory_format=torch.channels_last), pointwise)
    assert not lars_kernel.takes(weight, last, weight)
    assert not lars_kernel.takes(weight.double(), weight.double(), weight.double())
    assert not lars_kernel.takes(weight[:, ::2], weight[:, ::2], weight[:, ::2])

    def mixed() -> list[list[nn.Parameter]]:
        groups = parameters()
        groups[0][4] = nn.Parameter(groups[0][4].data.double())
        groups[1][3] = nn.Parameter(groups[1][3].data.transpose(0, 1))
        return groups

    for ours, plain in zip(three_steps(mixed()), plainly(monkeypatch, mixed()), strict=True):
        torch.testing.assert_close(ours, plain, rtol=3e-6, atol=3e-7)


def test_what_is_not_finite_stays_so() -> None:
    for broken in (float("nan"), float("inf")):
        weight = nn.Parameter(torch.ones(5000))
        weight.grad = torch.ones(5000)
        weight.grad[17] = broken
        lars.LARS([weight], lr=1.0).step()
        assert not weight.isfinite().all()


def test_the_trial_s_groups_take_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    stepped: list[int] = []
    step = lars_kernel.step
    monkeypatch.setattr(
        lars_kernel,
        "step",
        lambda weights, *rest, **numbers: (stepped.append(len(weights)), step(weights, *rest, **numbers)),
    )
    groups = parameters()
    give_gradients(groups, 0)
    optimiser_of(groups).step()
    assert stepped == [len(SHAPES)] * len(SETTINGS)
