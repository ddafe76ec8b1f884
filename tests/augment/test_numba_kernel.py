"""The compiled views against the plain ones, which the reference's pixels and slow oracles hold true."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from trainables import augment
from trainables.augment.parameters import ViewDraws, draw_view
from trainables.config import JITTER_OPERATIONS, TrialConfig
from trainables.randomness.counter_based import RandomStream

numba = pytest.importorskip("numba", reason="numba isn't installed: there are no compiled views to test")

from trainables.augment import numba_kernel  # noqa: E402

COUNT = 48
EVERYTHING = TrialConfig(
    vertical_flip_probability=0.5, rotation_probability=0.6, blur_sigma_per="image", jitter_strength=1.2
)
NOTHING: dict[str, Any] = {
    "flip_probability": 0.0,
    "jitter_probability": 0.0,
    "grayscale_probability": 0.0,
    "blur_probability": 0.0,
}
BANDS: dict[str, Any] = {"jitter_operations": ("brightness", "contrast"), "grayscale_probability": 0.0}
TOLERANCE = 1e-5


def images(size: tuple[int, int] = (64, 64), channels: int = 3, dtype: Any = np.uint8, count: int = COUNT) -> Tensor:
    """Return noise, smooth and one-coloured pictures, black and white ones among them, as a store gives them."""
    random = np.random.default_rng(sum(size) + channels)
    full = np.iinfo(dtype).max
    noise = random.integers(0, full, (count, *size, channels), endpoint=True).astype(dtype)
    noise[1::4] = np.sort(noise[1::4], axis=1)
    noise[2::4] = noise[2::4, :1, :1]
    noise[2], noise[6] = 0, full
    noise[3::8, :, :, 0] = 0  # one channel without anything
    return torch.from_numpy(noise).permute(0, 3, 1, 2)


def draws(config: TrialConfig, pictures: Tensor) -> ViewDraws:
    height, width = pictures.shape[-2:]
    return draw_view(config, RandomStream.VIEW_A, 3, len(pictures), height=height, width=width)


def both(config: TrialConfig, pictures: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Return the compiled view and the plain one."""
    drawn = draws(config, pictures)
    plain = augment.one_view(augment.unit_interval(pictures), drawn, image_size=size)
    return numba_kernel.view(pictures, drawn, image_size=size), plain


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("size", [16, 19, 32, 64, 120])
@pytest.mark.parametrize("source", [(64, 64), (33, 90), (8, 8)])
def test_equals_the_plain_view(size: int, source: tuple[int, int]) -> None:
    found, expected = both(EVERYTHING, images(source), size)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=0, atol=TOLERANCE)
    assert float((found - expected).abs().mean()) < 5e-7


@pytest.mark.parametrize("operation", JITTER_OPERATIONS)
def test_each_operation_alone_equals_the_plain_one(operation: str) -> None:
    config = TrialConfig(**{**NOTHING, "jitter_probability": 1.0, "jitter_operations": (operation,)})
    found, expected = both(config, images(), 64)
    torch.testing.assert_close(found, expected, rtol=0, atol=TOLERANCE)
    untouched, _ = both(TrialConfig(**NOTHING), images(), 64)
    assert float((found - untouched).abs().mean()) > 1e-3  # it did something


@pytest.mark.parametrize("field", ["flip", "vertical_flip", "rotation", "grayscale", "blur"])
def test_each_coin_alone_equals_the_plain_one(field: str) -> None:
    config = TrialConfig(**{**NOTHING, f"{field}_probability": 0.7, "blur_sigma_per": "image"})
    found, expected = both(config, images(), 64)
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize(("channels", "dtype"), [(1, np.uint8), (13, np.uint16)])
def test_any_number_of_channels_and_16_bits(channels: int, dtype: Any) -> None:
    found, expected = both(EVERYTHING.model_copy(update=BANDS), images((40, 30), channels, dtype), 32)
    torch.testing.assert_close(found, expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("changes", [{"jitter_operations": ("hue",)}, {"grayscale_probability": 1.0}])
def test_colours_without_colours_are_refused(changes: dict[str, Any]) -> None:
    pictures = images(channels=2, count=8)
    drawn = draws(TrialConfig(**{**NOTHING, "jitter_probability": 1.0, **BANDS, **changes}), pictures)
    with pytest.raises(ValueError, match="need red, green and blue"):
        numba_kernel.view(pictures, replace(drawn, colours=None), image_size=32)


def test_threads_and_slices_change_no_bit(threads: None) -> None:
    pictures = images()
    drawn = draws(EVERYTHING, pictures)
    torch.set_num_threads(1)
    alone = numba_kernel.view(pictures, drawn, image_size=64)
    torch.set_num_threads(5)
    assert torch.equal(numba_kernel.view(pictures, drawn, image_size=64), alone)
    for part in (slice(0, 11), slice(40, 48), slice(1, None, 3), slice(7, 7)):
        found = numba_kernel.view(pictures[part], drawn.slice(part), image_size=64)
        assert torch.equal(found, alone[part])


def test_draws_of_two_views_go_through_the_images_twice() -> None:
    pictures = images()
    pair = tuple(
        draw_view(EVERYTHING, stream, 3, COUNT, height=64, width=64)
        for stream in (RandomStream.VIEW_A, RandomStream.VIEW_B)
    )
    for given in (pictures, augment.unit_interval(pictures)):
        joined = augment.joined_views(given, (pair[0], pair[1]), image_size=64)
        alone = [augment.one_view(given, drawn, image_size=64) for drawn in pair]
        torch.testing.assert_close(joined, torch.cat(alone), rtol=0, atol=0 if given is pictures else 1e-6)


def test_pixels_are_not_written_to() -> None:
    pictures = images()
    before = pictures.clone()
    both(EVERYTHING, pictures, 64)
    assert torch.equal(pictures, before)


def test_stored_images_take_the_kernel_and_without_numba_the_plain_way(monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = images()
    drawn = draws(EVERYTHING, pictures)
    assert torch.equal(
        augment.one_view(pictures, drawn, image_size=64), numba_kernel.view(pictures, drawn, image_size=64)
    )
    monkeypatch.setattr("trainables.augment.views.available", lambda: False)
    plain = augment.one_view(pictures, drawn, image_size=64)
    assert torch.equal(plain, augment.one_view(augment.unit_interval(pictures), drawn, image_size=64))
