"""LARS and the learning rate against the reference's numbers; every step of a run is counted once."""

import copy
import math
from fractions import Fraction
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from support.sample_data import golden
from torch import Tensor, nn

from trainables.lars import LARS
from trainables.schedule import TrainingSteps, learning_rate, scaled_learning_rate

FEW = settings(max_examples=100, deadline=None, database=None)
EXCLUDED = ("batch_normalization", "bias", "head_supervised")


def lars(adapted: list[nn.Parameter], excluded: list[nn.Parameter], *, weight_decay: float = 1e-6) -> LARS:
    groups: list[dict[str, Any]] = [{"params": adapted}, {"params": excluded, "adapt": False, "weight_decay": 0.0}]
    return LARS(groups, lr=1.0, weight_decay=weight_decay)


def parameters(seed: int) -> list[nn.Parameter]:
    random = np.random.default_rng(seed)
    return [nn.Parameter(torch.from_numpy(random.normal(size=shape))) for shape in ((4, 3), (5,), (2, 3, 2, 2))]


def give_gradients(weights: list[nn.Parameter], seed: int) -> None:
    random = np.random.default_rng(seed)
    for weight in weights:
        weight.grad = torch.from_numpy(random.normal(size=weight.shape))


def slow_step(
    weight: NDArray[Any],
    gradient: NDArray[Any],
    velocity: NDArray[Any],
    *,
    lr: float,
    weight_decay: float,
    adapt: bool,
    momentum: float = 0.9,
    eeta: float = 0.001,
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return weight and velocity after one step of the reference, number by number."""
    flat = [g + weight_decay * w for g, w in zip(gradient.ravel().tolist(), weight.ravel().tolist(), strict=True)]
    weight_norm = math.sqrt(sum(w * w for w in weight.ravel().tolist()))
    gradient_norm = math.sqrt(sum(g * g for g in flat))
    ratio = eeta * weight_norm / gradient_norm if adapt and weight_norm > 0 and gradient_norm > 0 else 1.0
    moved = [momentum * v + lr * ratio * g for v, g in zip(velocity.ravel().tolist(), flat, strict=True)]
    new_velocity = np.array(moved).reshape(weight.shape)
    return weight - new_velocity, new_velocity


def test_twelve_steps_of_the_reference() -> None:
    numbers = golden("lars.npz")
    names = [key.removeprefix("init:") for key in numbers if key.startswith("init:")]
    weights = {name: nn.Parameter(torch.from_numpy(numbers[f"init:{name}"])) for name in names}
    excluded = [name for name in names if any(part in name for part in EXCLUDED)]
    assert len(excluded) == 3
    optimiser = lars(
        [weights[name] for name in names if name not in excluded],
        [weights[name] for name in excluded],
        weight_decay=float(numbers["weight_decay"]),
    )
    for step in range(int(numbers["steps"])):
        for group in optimiser.param_groups:
            group["lr"] = float(numbers[f"lr:{step}"])
        for name, weight in weights.items():
            weight.grad = torch.from_numpy(numbers[f"grad:{step}:{name}"])
        optimiser.step()
        for name, weight in weights.items():
            after = numbers[f"after:{step}:{name}"]
            difference = np.abs(weight.detach().numpy() - after).max()
            assert difference <= 1e-6 * np.abs(after).max(), (step, name)


def test_equals_the_slow_oracle() -> None:
    weights = parameters(0)
    weights[1].data.zero_()
    optimiser = lars([weights[0], weights[1]], [weights[2]], weight_decay=0.05)
    values = [weight.detach().numpy().copy() for weight in weights]
    velocities = [np.zeros_like(value) for value in values]
    for step in range(4):
        give_gradients(weights, step)
        if step == 2:
            for weight in weights:
                weight.grad = torch.zeros_like(weight)
        for group in optimiser.param_groups:
            group["lr"] = 1.0 / (step + 1)
        for index, weight in enumerate(weights):
            assert weight.grad is not None
            values[index], velocities[index] = slow_step(
                values[index],
                weight.grad.numpy(),
                velocities[index],
                lr=1.0 / (step + 1),
                weight_decay=0.05 if index < 2 else 0.0,
                adapt=index < 2,
            )
        optimiser.step()
        for weight, value in zip(weights, values, strict=True):
            np.testing.assert_allclose(weight.detach().numpy(), value, rtol=1e-12, atol=1e-14)


def test_each_group_keeps_its_own_settings() -> None:
    weights = parameters(7)
    settings_of = [
        {"lr": 0.5, "momentum": 0.0, "weight_decay": 0.1, "eeta": 0.01, "adapt": True},
        {"lr": 2.0, "momentum": 0.99, "weight_decay": 0.2, "eeta": 0.1, "adapt": True},
        {"lr": 0.1, "momentum": 0.5, "weight_decay": 0.3, "eeta": 0.2, "adapt": False},
    ]
    optimiser = LARS([{"params": [w], **own} for w, own in zip(weights, settings_of, strict=True)], lr=9.0)
    values = [weight.detach().numpy().copy() for weight in weights]
    velocities = [np.zeros_like(value) for value in values]
    for step in range(3):
        give_gradients(weights, step)
        for index, own in enumerate(settings_of):
            gradient = weights[index].grad
            assert gradient is not None
            values[index], velocities[index] = slow_step(values[index], gradient.numpy(), velocities[index], **own)  # type: ignore[arg-type]
        optimiser.step()
        for weight, value in zip(weights, values, strict=True):
            np.testing.assert_allclose(weight.detach().numpy(), value, rtol=1e-12, atol=1e-14)


def test_first_step_of_an_adapted_weight_has_the_length_of_the_trust_coefficient() -> None:
    """||w|| * eeta, whatever the gradient's scale; an unadapted weight moves by the gradient."""
    for scale in (1e-6, 1.0, 1e6):
        adapted, plain, _ = parameters(1)
        before = [adapted.detach().clone(), plain.detach().clone()]
        give_gradients([adapted, plain], 2)
        assert adapted.grad is not None
        assert plain.grad is not None
        adapted.grad *= scale
        lars([adapted], [plain], weight_decay=0.0).step()
        assert (adapted - before[0]).norm().item() == pytest.approx(0.001 * before[0].norm().item(), rel=1e-9)
        torch.testing.assert_close(plain.detach(), before[1] - plain.grad, rtol=1e-12, atol=0)


def test_zero_weights_zero_gradients_and_absent_gradients() -> None:
    zero, still, absent = parameters(3)
    zero.data.zero_()
    give_gradients([zero], 4)
    still.grad = torch.zeros_like(still)
    before = [still.detach().clone(), absent.detach().clone()]
    lars([zero, still, absent], [], weight_decay=0.0).step()
    assert zero.grad is not None
    torch.testing.assert_close(zero.detach(), -zero.grad, rtol=0, atol=0)  # ratio 1
    assert torch.equal(still.detach(), before[0])
    assert torch.equal(absent.detach(), before[1])


def test_state_goes_through_a_file_and_the_run_goes_on(tmp_path: Path) -> None:
    def three_steps(optimiser: LARS, weights: list[nn.Parameter]) -> list[Tensor]:
        for step in range(10, 13):
            give_gradients(weights, step)
            optimiser.step()
        return [weight.detach().clone() for weight in weights]

    weights = parameters(5)
    optimiser = lars(weights[:2], weights[2:])
    give_gradients(weights, 6)
    optimiser.step()
    torch.save(optimiser.state_dict(), tmp_path / "state.pt")
    copies = copy.deepcopy(weights)
    restored = LARS([{"params": copies[:2]}, {"params": copies[2:]}], lr=7.0, momentum=0.1, weight_decay=0.5)
    restored.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert [group["adapt"] for group in restored.param_groups] == [True, False]
    for mine, theirs in zip(three_steps(restored, copies), three_steps(optimiser, weights), strict=True):
        assert torch.equal(mine, theirs)


def test_closure_is_called_with_gradients_on() -> None:
    weight = nn.Parameter(torch.ones(2))
    optimiser = lars([], [weight])

    def closure() -> float:
        optimiser.zero_grad()
        loss = (weight**2).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.item()

    assert optimiser.step(closure) == 2.0
    assert weight.tolist() == [-1.0, -1.0]


def slow_rate(step: int, *, peak: float, warmup_steps: int, total_steps: int) -> float:
    """Return the reference's learning rate; half a cosine is the square of a quarter of a sine, run backwards."""
    if step < warmup_steps:
        return float(Fraction(step, warmup_steps) * Fraction(peak))
    left = Fraction(max(total_steps - step, 0), max(total_steps - warmup_steps, 1))
    return peak * math.sin(math.pi / 2 * left) ** 2


@pytest.mark.parametrize("case", ["c0", "c1", "c2", "c3"])
def test_learning_rates_of_the_reference(case: str) -> None:
    """The reference's at the steps that it gives, and a slow oracle's at every step."""
    numbers = golden("schedule.npz")
    names = ("num_examples", "batch_size", "epochs", "warmup_epochs")
    count, size, epochs, warmup = (int(numbers[f"{case}_{name}"]) for name in names)
    scaling: Literal["linear", "sqrt"] = "sqrt" if str(numbers[f"{case}_scaling"]) == "sqrt" else "linear"
    base, total = float(numbers[f"{case}_base"]), int(numbers[f"{case}_total_steps"])
    assert TrainingSteps(count, size, epochs).total == total
    run: dict[str, Any] = {"base": base, "batch_size": size, "num_examples": count, "epochs": epochs}
    found = np.array([learning_rate(step, **run, warmup_epochs=warmup, scaling=scaling) for step in range(total + 2)])
    # Keras computes in float32: to a part in a million of the peak.
    peak = base * math.sqrt(size) if scaling == "sqrt" else base * size / 256
    np.testing.assert_allclose(
        found[numbers[f"{case}_steps"]], numbers[f"{case}_learning_rate"], rtol=0, atol=1e-6 * peak
    )
    shape: dict[str, Any] = {"peak": peak, "warmup_steps": warmup * count // size, "total_steps": total}
    expected = [slow_rate(step, **shape) for step in range(total + 2)]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-14 * peak)


@FEW
@given(
    data=st.data(),
    batch_size=st.integers(2, 300),
    epochs=st.integers(1, 9),
    warmup_epochs=st.sampled_from([0.0, 0.25, 1.0, 2.5, 10.0, 400.0]),
    scaling=st.sampled_from(["linear", "sqrt"]),
)
def test_learning_rate_equals_the_slow_oracle_at_every_step_of_any_run(
    data: st.DataObject, batch_size: int, epochs: int, warmup_epochs: float, scaling: Literal["linear", "sqrt"]
) -> None:
    """No warm-up, fractions of an epoch, and warm-ups that outlast the run included."""
    count = data.draw(st.integers(batch_size, 20 * batch_size))
    total = count * epochs // batch_size + 1
    peak = 0.3 * math.sqrt(batch_size) if scaling == "sqrt" else 0.3 * batch_size / 256
    warmup_steps = int(Fraction(warmup_epochs) * count / batch_size)
    for step in range(total):
        found = learning_rate(
            step,
            base=0.3,
            batch_size=batch_size,
            num_examples=count,
            epochs=epochs,
            warmup_epochs=warmup_epochs,
            scaling=scaling,
        )
        expected = slow_rate(step, peak=peak, warmup_steps=warmup_steps, total_steps=total)
        assert found == pytest.approx(expected, rel=0, abs=1e-14 * peak)


SMALL_RUN: dict[str, Any] = {"base": 0.5, "batch_size": 64, "num_examples": 1000, "epochs": 8}


def rates(warmup_epochs: float, **changes: Any) -> list[float]:
    run = {**SMALL_RUN, **changes}
    total = TrainingSteps(run["num_examples"], run["batch_size"], run["epochs"]).total
    return [learning_rate(step, warmup_epochs=warmup_epochs, **run) for step in range(total + 2)]


def test_warm_up_is_a_line_and_the_rest_half_a_cosine() -> None:
    peak, warmup, total = 0.5 * 64 / 256, 2 * 1000 // 64, 8 * 1000 // 64 + 1
    found = rates(2.0)
    np.testing.assert_allclose(found[:warmup], peak * np.arange(warmup) / warmup, rtol=1e-12)
    shares = np.arange(total - warmup) / (total - warmup)
    np.testing.assert_allclose(found[warmup:total], peak * np.cos(np.pi / 2 * shares) ** 2, rtol=1e-9)
    assert found[total:] == [0.0, 0.0]
    assert max(found) == found[warmup] == peak


def test_no_warm_up_starts_at_the_peak() -> None:
    found = rates(0.0)
    assert found[0] == 0.5 * 64 / 256
    assert all(later < earlier for earlier, later in pairwise(found[:-1]))


@pytest.mark.parametrize("warmup_epochs", [8.1, 20.0, 1e6])
def test_warm_up_longer_than_the_run_rises_to_the_end_and_stays_below_the_peak(warmup_epochs: float) -> None:
    total = TrainingSteps(1000, 64, 8).total
    found = rates(warmup_epochs)[:total]
    steps = round(warmup_epochs * 1000 // 64)
    np.testing.assert_allclose(found, 0.125 * np.arange(total) / steps, rtol=1e-12)
    assert found[-1] < 0.125


def test_warm_up_of_exactly_the_run_and_fractions_of_an_epoch() -> None:
    assert max(rates(8.0)) == rates(8.0)[125] == 0.125
    assert rates(0.5).index(0.125) == 7  # round(0.5 * 1000 // 64)
    assert rates(0.01).index(0.125) == 0


def test_root_scaling() -> None:
    assert scaled_learning_rate(0.075, 4096, "sqrt") == pytest.approx(4.8)
    assert scaled_learning_rate(0.3, 4096, "linear") == pytest.approx(4.8)
    np.testing.assert_allclose(rates(2.0, scaling="sqrt"), np.array(rates(2.0)) * 8 * 256 / 64, rtol=1e-12)


@FEW
@given(data=st.data(), batch_size=st.integers(1, 300), epochs=st.integers(1, 60))
def test_every_step_belongs_to_exactly_one_epoch(data: st.DataObject, batch_size: int, epochs: int) -> None:
    count = data.draw(st.integers(batch_size, 2000))
    steps = TrainingSteps(count, batch_size, epochs)
    by_epoch = [list(steps.of_epoch(epoch)) for epoch in range(1, epochs + 1)]
    assert list(chain(*by_epoch)) == list(range(steps.total))
    assert all(by_epoch)
    assert steps.total == count * epochs // batch_size + 1
    assert (steps.total - 1) * batch_size <= count * epochs < steps.total * batch_size
    for epoch, own in enumerate(by_epoch, start=1):
        for step in own:
            end = (step + 1) * batch_size
            assert (epoch - 1) * count < end
            assert end <= epoch * count or step == steps.total - 1
