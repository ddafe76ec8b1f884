"""Views of images of any bands, beside an oracle that goes pixel by pixel in plain Python."""

import colorsys
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainables import augment
from trainables.augment import numba_kernel
from trainables.augment.parameters import ViewDraws, draw_view
from trainables.augment.torch_ops import LUMA
from trainables.config import JITTER_OPERATIONS, TrialConfig
from trainables.randomness.counter_based import RandomStream

SIZE, CHANNELS, COLOURS = 8, 5, (3, 1, 2)
"""Whole images of 8 px in, so that nothing is resized; too small for a blur."""
CONFIG = TrialConfig(
    image_size=SIZE,
    crop_area=(1.0, 1.0),
    crop_aspect=(1.0, 1.0),
    flip_probability=0.0,
    jitter_probability=0.9,
    grayscale_probability=0.3,
)
Pixels = NDArray[np.float64]


def stored(count: int = 40, channels: int = CHANNELS) -> Tensor:
    random = np.random.default_rng(0)
    return torch.from_numpy(random.integers(0, 65536, (count, channels, SIZE, SIZE)).astype(np.uint16))


def drawn(config: TrialConfig, count: int = 40, channels: int = CHANNELS, colours: Any = COLOURS) -> ViewDraws:
    size = {"height": SIZE, "width": SIZE}
    return draw_view(config, RandomStream.VIEW_A, 0, count, **size, channels=channels, colours=colours)


def oracle(image: Pixels, draws: ViewDraws, number: int) -> Pixels:
    """The view of one image (C, H, W) in [0, 1], a pixel at a time."""
    image = image.copy()
    red, green, blue = draws.colours or (0, 0, 0)
    own = draws.band_factors.shape[2] > 0
    for place in draws.order[number] if draws.jitter[number] else ():
        name = JITTER_OPERATIONS[place] if place >= 0 else ""
        factor = draws.factors[number, place]
        means = [float(np.mean(band)) for band in image]
        for y in range(SIZE):
            for x in range(SIZE):
                pixel = image[:, y, x]
                for band in range(len(pixel)):
                    by = draws.band_factors[number, place, band] if own and place in (0, 1) else factor
                    if name == "brightness":
                        pixel[band] *= by
                    elif name == "contrast":
                        pixel[band] = (pixel[band] - means[band]) * by + means[band]
                if name in ("saturation", "hue"):
                    hue, saturation, value = colorsys.rgb_to_hsv(*pixel[[red, green, blue]].tolist())
                    if name == "hue":
                        hue = (hue + factor) % 1.0
                    else:
                        saturation = min(saturation * factor, 1.0)
                    pixel[[red, green, blue]] = colorsys.hsv_to_rgb(hue, saturation, value)
        image = image.clip(0.0, 1.0)
    if draws.grayscale[number]:
        image[:] = LUMA[0] * image[red] + LUMA[1] * image[green] + LUMA[2] * image[blue]
    for band in range(draws.dropped.shape[1]):
        if draws.dropped[number, band]:
            image[band] = 0.0
    return image


@pytest.mark.parametrize("colours", [COLOURS, None])
@pytest.mark.parametrize(
    "changes",
    [{}, {"jitter_per": "band"}, {"band_drop_probability": 0.4}, {"jitter_per": "band", "band_drop_probability": 0.4}],
)
def test_views_of_bands_are_those_of_the_oracle(changes: dict[str, Any], colours: Any) -> None:
    draws = drawn(CONFIG.model_copy(update=changes), colours=colours)
    pixels = stored()
    plain = augment.one_view(augment.unit_interval(pixels), draws, image_size=SIZE)
    wanted = np.stack([oracle(one / 65535.0, draws, number) for number, one in enumerate(pixels.numpy())])
    np.testing.assert_allclose(plain.numpy(), wanted, rtol=0, atol=1e-5)
    compiled = numba_kernel.view(pixels, draws, image_size=SIZE)
    np.testing.assert_allclose(compiled.numpy(), wanted, rtol=0, atol=1e-5)


def test_resized_bands_are_clipped_after_each_operation_in_the_kernel_too() -> None:
    """Bicubic resizing leaves [0, 1], and contrast has another mean if hue or saturation come first and don't clip."""
    draws = draw_view(
        CONFIG.model_copy(update={"crop_area": (0.1, 1.0), "image_size": 12}),
        *(RandomStream.VIEW_A, 0, 40),
        **{"height": SIZE, "width": SIZE, "channels": CHANNELS, "colours": COLOURS},
    )
    plain = augment.one_view(augment.unit_interval(stored()), draws, image_size=12)
    torch.testing.assert_close(numba_kernel.view(stored(), draws, image_size=12), plain, rtol=0, atol=1e-5)


@pytest.mark.parametrize("channels", [1, 2, 13])
def test_without_colours_the_default_views_leave_out_what_needs_them(channels: int) -> None:
    draws = drawn(CONFIG, 200, channels, None)
    assert not draws.grayscale.any()
    assert set(draws.order.ravel()) == {-1, JITTER_OPERATIONS.index("brightness"), JITTER_OPERATIONS.index("contrast")}
    with_colours = drawn(CONFIG, 200, 13, COLOURS)
    assert set(with_colours.order.ravel()) == {0, 1, 2, 3}
    np.testing.assert_array_equal(draws.factors, with_colours.factors)
    for view in augment.two_views(stored(200, channels), (draws, draws), image_size=SIZE):
        assert view.shape == (200, channels, SIZE, SIZE)


def test_draws_of_pictures_are_what_they_were_before_bands() -> None:
    plain, named = drawn(CONFIG, 40, 3, (0, 1, 2)), drawn(CONFIG, 40, 13, COLOURS)
    for field in ("boxes", "order", "factors", "grayscale", "jitter", "blur"):
        np.testing.assert_array_equal(getattr(plain, field), getattr(named, field))
    assert plain.dropped.shape == (40, 0)
    assert plain.band_factors.shape == (40, 2, 0)


def test_each_band_has_a_factor_of_its_own_and_one_band_is_always_kept() -> None:
    draws = drawn(CONFIG.model_copy(update={"jitter_per": "band", "band_drop_probability": 0.95}), 4000, 3)
    low, high = 0.2, 1.8
    assert draws.band_factors.min() >= low
    assert draws.band_factors.max() <= high
    np.testing.assert_allclose(draws.band_factors.mean((0, 1)), 1.0, atol=0.02)
    assert abs(np.corrcoef(draws.band_factors.reshape(-1, 3).T)[0, 1]) < 0.05
    assert not draws.dropped.all(axis=1).any()
    assert draws.dropped.mean() > 0.6
    half = drawn(CONFIG.model_copy(update={"band_drop_probability": 0.3}), 4000)
    np.testing.assert_allclose(half.dropped.mean(0), 0.3 * (1 - 0.3**4), atol=0.03)


def test_slices_and_joined_draws_keep_bands() -> None:
    draws = drawn(CONFIG.model_copy(update={"jitter_per": "band", "band_drop_probability": 0.3}))
    whole = numba_kernel.view(stored(), draws, image_size=SIZE)
    part = slice(7, 20)
    assert torch.equal(numba_kernel.view(stored()[part], draws.slice(part), image_size=SIZE), whole[part])
    assert torch.equal(numba_kernel.view(stored(), draws.joined(draws), image_size=SIZE), whole.repeat(2, 1, 1, 1))
