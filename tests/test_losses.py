"""NT-Xent against the reference's numbers, a slow oracle in float64, closed forms and its invariances."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.sample_data import golden
from torch import Tensor
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from trainables import losses
from trainables.losses import ContrastiveResult, contrast, nt_xent
from trainables.memory import constants

FEW = settings(max_examples=30, deadline=None, database=None)
SEEDS = st.integers(0, 2**32 - 1)
TEMPERATURES = st.floats(0.05, 2.0)


def pairs(seed: int, count: int = 5, width: int = 7) -> tuple[Tensor, Tensor]:
    a, b = torch.from_numpy(np.random.default_rng(seed).normal(size=(2, count, width))).unbind()
    return a, b


def slow_contrast(z_a: Tensor, z_b: Tensor, temperature: float) -> tuple[Tensor, float, float]:
    """Return equation 2.3, accuracy and entropy as they are written, anchor by anchor."""
    count = len(z_a)
    unit = [z / (z @ z).sqrt() for z in (*z_a, *z_b)]
    plain = [z.detach() for z in unit]
    total = z_a.new_zeros(())
    for anchor in range(2 * count):
        exponentials = [(unit[anchor] @ other / temperature).exp() for other in unit]
        partner = exponentials[(anchor + count) % (2 * count)]
        total = total - torch.log(partner / sum(e for index, e in enumerate(exponentials) if index != anchor))
    right, entropy = 0, 0.0
    for anchor in range(count):
        row = [float(plain[anchor] @ plain[count + other]) for other in range(count)]
        right += row.index(max(row)) == anchor
        weights = [math.exp(value / temperature) for value in row]
        shares = [weight / sum(weights) for weight in weights]
        entropy -= sum(share * math.log(share + 1e-8) for share in shares)
    return total / (2 * count), right / count, entropy / count


@pytest.mark.parametrize("case", ["c0", "c1", "c2"])
def test_reference_values_and_gradient(case: str) -> None:
    numbers = golden("contrastive.npz")
    z = torch.from_numpy(numbers[f"{case}_z"]).requires_grad_()
    count = len(z) // 2
    found = contrast(z[:count], z[count:], temperature=float(numbers[f"{case}_temperature"]))
    twice = 2.0 * found.loss  # the reference sums the two directions
    twice.backward()  # type: ignore[no-untyped-call]
    assert z.grad is not None
    assert twice.item() == pytest.approx(float(numbers[f"{case}_loss_sum_of_directions"]), rel=1e-6)
    np.testing.assert_allclose(z.grad.numpy(), numbers[f"{case}_grad_of_that"], rtol=1e-5, atol=1e-7)
    assert found.accuracy.item() == pytest.approx(float(numbers[f"{case}_accuracy"]), abs=1e-7)
    assert found.entropy.item() == pytest.approx(float(numbers[f"{case}_entropy"]), rel=1e-6)


@pytest.mark.parametrize(("count", "temperature"), [(1, 0.5), (2, 0.1), (5, 0.25), (6, 1.0)])
def test_equals_the_slow_oracle_with_its_gradient(count: int, temperature: float) -> None:
    fast = [z.clone().requires_grad_() for z in pairs(count, count)]
    slow = [z.clone().requires_grad_() for z in pairs(count, count)]
    found = contrast(fast[0], fast[1], temperature=temperature)
    expected, accuracy, entropy = slow_contrast(slow[0], slow[1], temperature)
    torch.testing.assert_close(found.loss, expected, rtol=1e-12, atol=1e-12)
    assert found.accuracy.item() == pytest.approx(accuracy)
    assert found.entropy.item() == pytest.approx(entropy, rel=1e-12, abs=1e-7)
    found.loss.backward()  # type: ignore[no-untyped-call]
    expected.backward()  # type: ignore[no-untyped-call]
    for mine, theirs in zip(fast, slow, strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-10, atol=1e-12)


@FEW
@given(
    seed=SEEDS,
    count=st.integers(1, 10),
    width=st.integers(1, 40),
    temperature=st.floats(0.01, 0.05) | st.floats(0.05, 2.0),
    likeness=st.floats(-1.0, 1.0),
)
@example(seed=1, count=6, width=7, temperature=0.01, likeness=0.8)
@example(seed=1, count=6, width=7, temperature=0.01, likeness=-0.8)
def test_float32_keeps_to_the_oracle_at_any_size_and_temperature(
    seed: int, count: int, width: int, temperature: float, likeness: float
) -> None:
    """From opposite pairs to equal ones; exp(1 / 0.01) is beyond float32, float64 holds it, so the oracle stands.

    A cosine's rounding error grows by 1 / temperature in the loss and by its square in the gradient.
    """
    a, noise = pairs(seed, count, width)
    scale = torch.from_numpy(10.0 ** np.random.default_rng(seed).uniform(0, 4, size=(2, count, 1)))
    views = scale * torch.stack([a, likeness * a + (1 - abs(likeness)) * noise])
    small, wide = (views.float().to(dtype).requires_grad_() for dtype in (torch.float32, torch.float64))
    found = nt_xent(small[0], small[1], temperature=temperature)
    expected, _, _ = slow_contrast(wide[0], wide[1], temperature)
    assert found.item() == pytest.approx(expected.item(), rel=1e-5, abs=2e-6 / temperature)
    found.backward()  # type: ignore[no-untyped-call]
    expected.backward()  # type: ignore[no-untyped-call]
    assert small.grad is not None
    assert wide.grad is not None
    # Times the norm, on which a gradient doesn't depend otherwise.
    norms = views.norm(dim=2, keepdim=True)
    torch.testing.assert_close(small.grad * norms, wide.grad * norms, rtol=0, atol=2e-6 / temperature**2)


@pytest.mark.parametrize("count", [2, 3, 17])
def test_equal_embeddings_give_log_of_two_n_minus_one(count: int) -> None:
    z = torch.ones(count, 4, dtype=torch.float64)
    found = contrast(z, 3.0 * z, temperature=0.25)
    assert found.loss.item() == pytest.approx(math.log(2 * count - 1), rel=1e-12)
    assert found.entropy.item() == pytest.approx(math.log(count), rel=1e-6)


@pytest.mark.parametrize("temperature", [0.1, 0.25, 1.0])
def test_orthogonal_pairs_and_opposite_pairs_have_closed_forms(temperature: float) -> None:
    count = 4
    z = torch.eye(count, dtype=torch.float64)
    together = math.log(math.exp(1.0 / temperature) + 2 * count - 2) - 1.0 / temperature
    apart = math.log(math.exp(-1.0 / temperature) + 2 * count - 2) + 1.0 / temperature
    found = contrast(z, z, temperature=temperature)
    assert found.loss.item() == pytest.approx(together, rel=1e-12)
    assert found.accuracy.item() == 1.0
    assert nt_xent(z, -z, temperature=temperature).item() == pytest.approx(apart, rel=1e-12)
    assert contrast(z, -z, temperature=temperature).accuracy.item() == 0.0


@FEW
@given(seed=SEEDS, temperature=TEMPERATURES)
def test_scale_of_an_embedding_does_not_matter(seed: int, temperature: float) -> None:
    a, b = pairs(seed)
    scale = torch.from_numpy(10.0 ** np.random.default_rng(seed).uniform(-5, 5, size=(2, len(a), 1)))
    found, expected = (
        contrast(a * scale[0], b * scale[1], temperature=temperature),
        contrast(a, b, temperature=temperature),
    )
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-9)


@FEW
@given(seed=SEEDS, temperature=TEMPERATURES, order=st.permutations(range(5)))
def test_order_of_pairs_does_not_matter(seed: int, temperature: float, order: list[int]) -> None:
    a, b = pairs(seed)
    found, expected = contrast(a[order], b[order], temperature=temperature), contrast(a, b, temperature=temperature)
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-9)


@FEW
@given(seed=SEEDS, temperature=TEMPERATURES)
def test_views_can_be_swapped_and_space_can_be_turned(seed: int, temperature: float) -> None:
    a, b = pairs(seed)
    turn = torch.linalg.qr(torch.from_numpy(np.random.default_rng(seed).normal(size=(7, 7)))).Q
    expected = nt_xent(a, b, temperature=temperature)
    torch.testing.assert_close(nt_xent(b, a, temperature=temperature), expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(nt_xent(a @ turn, b @ turn, temperature=temperature), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("temperature", [0.01, 0.25])
@pytest.mark.parametrize("zeros", ["all", "one"])
def test_zero_vectors_are_orthogonal_to_all_and_give_no_nan(zeros: str, temperature: float) -> None:
    count = 4
    a, b = (z.float() for z in pairs(0, count))
    a[0], b[0] = 0.0, 0.0
    if zeros == "all":
        a, b = torch.zeros_like(a), torch.zeros_like(b)
    # Each view has a direction to itself, in which only its zero vectors point.
    apart = torch.eye(2)[:, None] * (torch.stack([a, b]) == 0).all(2, keepdim=True)
    a.requires_grad_()
    b.requires_grad_()
    found = contrast(a, b, temperature=temperature)
    found.loss.backward()  # type: ignore[no-untyped-call]
    if zeros == "all":
        assert found.loss.item() == pytest.approx(math.log(2 * count - 1), rel=1e-6)
    else:
        away = [torch.cat([z.detach(), extra], dim=1) for z, extra in zip((a, b), apart, strict=True)]
        assert found.loss.item() == pytest.approx(nt_xent(*away, temperature=temperature).item(), rel=1e-6)
    for value in (*found, a.grad, b.grad):
        assert value is not None
        assert torch.isfinite(value).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_narrow_embeddings_are_compared_in_float32(dtype: torch.dtype) -> None:
    a, b = (z.to(dtype) for z in pairs(3))
    loss = nt_xent(a, b, temperature=0.1)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, nt_xent(a.float(), b.float(), temperature=0.1), rtol=0, atol=0)


# By tiles


def tiled(z_a: Tensor, z_b: Tensor, temperature: float) -> ContrastiveResult:
    return ContrastiveResult(
        *losses._Tiled.apply(torch.cat([functional.normalize(z, dim=1) for z in (z_a, z_b)]), temperature)
    )


@pytest.mark.parametrize("temperature", [0.01, 0.1, 0.5])
@pytest.mark.parametrize(("count", "side"), [(1, 4), (7, 7), (9, 4), (23, 7)])
def test_tiles_equal_the_whole_matrix_with_its_gradient(
    count: int, side: int, temperature: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(constants.TILES, "cpu", side)
    found_pair = [z.clone().requires_grad_() for z in pairs(count, count)]
    expected_pair = [z.clone().requires_grad_() for z in pairs(count, count)]
    found, expected = tiled(*found_pair, temperature), contrast(*expected_pair, temperature=temperature)
    for mine, theirs in zip(found, expected, strict=True):
        assert mine.item() == pytest.approx(theirs.item(), rel=1e-12, abs=1e-12)
    (3.0 * found.loss).backward()  # type: ignore[no-untyped-call]
    (3.0 * expected.loss).backward()  # type: ignore[no-untyped-call]
    for mine, theirs in zip(found_pair, expected_pair, strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-9, atol=1e-12)


def test_the_nearest_of_equal_ones_is_the_first_by_tiles_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """All embeddings alike: each image's nearest is image 0, so that one in six is right."""
    monkeypatch.setitem(constants.TILES, "cpu", 4)
    same = torch.ones(6, 3, dtype=torch.float64)
    found = tiled(same, same, 0.5)
    assert float(found.accuracy) == pytest.approx(1 / 6)
    assert float(found.loss) == pytest.approx(math.log(11))


class Largest(TorchDispatchMode):
    """Remembers the elements of the largest tensor that was made."""

    elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else [result]:
            if isinstance(tensor, Tensor):
                self.elements = max(self.elements, tensor.numel())
        return result


def test_many_embeddings_need_no_matrix_of_all_similarities() -> None:
    few, many = constants.WHOLE_ROWS // 2, constants.WHOLE_ROWS // 2 + 100
    largest = {}
    for count in (few, many):
        z_a, z_b = (torch.randn(count, 2, generator=torch.Generator().manual_seed(view)) for view in (0, 1))
        with Largest() as mode:
            contrast(z_a.requires_grad_(), z_b.requires_grad_(), temperature=0.5).loss.backward()  # type: ignore[no-untyped-call]
        largest[count] = mode.elements
    assert largest[few] == (2 * few) ** 2
    assert largest[many] == constants.TILES["cpu"] ** 2


@pytest.mark.parametrize(("dtype", "scale"), [(torch.float32, 1e37), (torch.float64, 1e300)])
def test_embeddings_of_any_finite_norm_count_by_their_direction(dtype: torch.dtype, scale: float) -> None:
    """Squares overflow from 1e19 on in float32: such rows are no zero vectors."""
    a, b = (z.to(dtype) for z in pairs(3))
    large = a * torch.tensor([1.0, scale, scale / 1e6, scale / 1e16, 1.0], dtype=dtype)[:, None]
    large.requires_grad_()
    found = nt_xent(large, b, temperature=0.2)
    torch.testing.assert_close(found, nt_xent(a, b, temperature=0.2))
    found.backward()
    assert large.grad is not None
    assert torch.isfinite(large.grad).all()
