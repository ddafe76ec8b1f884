"""Views against the pixels of the reference, slow oracles and closed forms."""

import colorsys
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import settings
from numpy.typing import NDArray
from support.sample_data import golden
from support.views import PLAIN, WHOLE, draws, images_u8, unit
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from trainables import augment
from trainables.config import TrialConfig

FEW = settings(max_examples=50, deadline=None, database=None)


Arrays = dict[str, NDArray[Any]]


@pytest.fixture(scope="module", params=[64, 120])
def reference(request: pytest.FixtureRequest) -> Arrays:
    return {**golden(f"augment{request.param}.npz"), "size": np.array(request.param)}


def column(values: NDArray[Any]) -> Tensor:
    return torch.from_numpy(values).view(-1, 1, 1, 1)


def pixels_of(reference: Arrays) -> Tensor:
    return torch.from_numpy(reference["images_u8"]).permute(0, 3, 1, 2)


def by_crop(pixels: Tensor, g: Arrays) -> Tensor:
    return augment.crop_and_resize(unit(pixels), g["crop_box_y_x_h_w"], int(g["size"]))


def by_blur(pixels: Tensor, g: Arrays) -> Tensor:
    return augment.gaussian_blur(unit(pixels), g["sigma"].astype(float), int(g["size"]) // 10 // 2).clamp(0, 1)


def by_jitter(pixels: Tensor, g: Arrays) -> Tensor:
    factors = np.stack([g[name] for name in ("brightness", "contrast", "saturation", "hue")], axis=1).astype(float)
    return augment.jitter_colours(unit(pixels), factors, g["jitter_order_0b_1c_2s_3h"], np.ones(len(factors), bool))


OPERATIONS: dict[str, tuple[Callable[[Tensor, Arrays], Tensor], float]] = {
    "brightness": (lambda p, g: augment.adjust_brightness(unit(p), column(g["brightness"])).clamp(0, 1), 1e-6),
    "contrast": (lambda p, g: augment.adjust_contrast(unit(p), column(g["contrast"])).clamp(0, 1), 1e-6),
    "saturation": (lambda p, g: augment.adjust_saturation(unit(p), column(g["saturation"])).clamp(0, 1), 1e-5),
    "hue": (lambda p, g: augment.adjust_hue(unit(p), column(g["hue"])).clamp(0, 1), 1e-5),
    "grayscale": (lambda p, g: augment.grayscale(unit(p)), 1e-6),
    "blur": (by_blur, 1e-6),
    "eval_crop": (lambda p, g: augment.evaluation_view(p, image_size=int(g["size"])), 1e-6),
    "crop_resize_unclipped": (by_crop, 1e-6),
    "jitter": (by_jitter, 2e-6),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_operation_gives_the_pixels_of_the_reference(name: str, reference: Arrays) -> None:
    operation, tolerance = OPERATIONS[name]
    found = operation(pixels_of(reference), reference).permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(found, reference[f"after_{name}"], rtol=0, atol=tolerance)


def test_hue_and_saturation_equal_pythons_colorsys() -> None:
    corners = np.array(np.meshgrid([0.0, 0.5, 1.0], [0.0, 0.5, 1.0], [0.0, 0.5, 1.0])).reshape(3, -1).T
    colours = np.concatenate([corners, np.random.default_rng(0).uniform(size=(37, 3))])
    images = torch.from_numpy(colours.T.reshape(1, 3, 8, 8).copy())
    for offset, factor in ((-0.2, 1.8), (0.13, 0.4), (0.0, 0.0), (1 / 3, 1.0)):
        turned = augment.adjust_hue(images, torch.tensor(offset).double().view(1, 1, 1, 1))
        stretched = augment.adjust_saturation(images, torch.tensor(factor).double().view(1, 1, 1, 1))
        for number, colour in enumerate(colours):
            h, s, v = colorsys.rgb_to_hsv(*colour)
            y, x = divmod(number, 8)
            np.testing.assert_allclose(turned[0, :, y, x], colorsys.hsv_to_rgb((h + offset) % 1.0, s, v), atol=1e-6)
            expected = colorsys.hsv_to_rgb(h, min(max(s * factor, 0.0), 1.0), v)
            np.testing.assert_allclose(stretched[0, :, y, x], expected, atol=1e-6)


def test_colour_operations_have_closed_forms() -> None:
    images = unit(images_u8(0, 2, 8, 8))
    one, zero = torch.ones(2, 1, 1, 1), torch.zeros(2, 1, 1, 1)
    for operation in (augment.adjust_brightness, augment.adjust_contrast, augment.adjust_saturation):
        torch.testing.assert_close(operation(images, one), images, rtol=0, atol=1e-6)
    torch.testing.assert_close(augment.adjust_hue(images, zero), images, rtol=0, atol=1e-6)
    third = augment.adjust_hue(images, one / 3)
    torch.testing.assert_close(third, images.roll(1, dims=1), rtol=0, atol=1e-5)  # red becomes green
    assert not augment.adjust_brightness(images, zero).any()
    flat = augment.adjust_contrast(images, zero)
    torch.testing.assert_close(flat, images.mean((2, 3), keepdim=True).expand_as(images), rtol=0, atol=1e-6)
    value = images.max(dim=1, keepdim=True).values.expand_as(images)
    torch.testing.assert_close(augment.adjust_saturation(images, zero), value, rtol=0, atol=1e-6)
    grey = images[:, :1].expand_as(images)
    torch.testing.assert_close(augment.grayscale(grey), grey * 0.9999, rtol=0, atol=1e-6)  # the luma's weights' sum


def test_jitter_follows_each_images_own_order_and_clips_between() -> None:
    images = unit(images_u8(0, 4, 8, 8))
    factors = np.array([[1.7, 1.6, 0.3, 0.1]] * 4)
    order = np.array([[0, 1, 2, 3], [3, 2, 1, 0], [1, 0, 3, 2], [0, 1, 2, 3]])
    found = augment.jitter_colours(images, factors, order, np.array([True, True, True, False]))
    names = (augment.adjust_brightness, augment.adjust_contrast, augment.adjust_saturation, augment.adjust_hue)
    for number in range(3):
        expected = images[number : number + 1]
        for operation in order[number]:
            factor = torch.full((1, 1, 1, 1), factors[number, operation], dtype=torch.float32)
            expected = names[operation](expected, factor).clamp(0, 1)
        torch.testing.assert_close(found[number : number + 1], expected, rtol=0, atol=1e-6)
    assert torch.equal(found[3], images[3])


def test_blur_equals_the_slow_oracle_with_black_beyond_the_border() -> None:
    image = np.random.default_rng(0).uniform(size=(2, 3, 7, 6))
    sigma, radius = np.array([0.3, 1.7]), 2
    found = augment.gaussian_blur(torch.from_numpy(image), sigma, radius).numpy()
    for number in range(2):
        taps = {k: math.exp(-(k**2) / (2 * sigma[number] ** 2)) for k in range(-radius, radius + 1)}
        total = sum(taps.values()) ** 2
        for y, x in np.ndindex(7, 6):
            expected = sum(
                a * b / total * image[number, :, y + dy, x + dx]
                for dy, a in taps.items()
                for dx, b in taps.items()
                if 0 <= y + dy < 7 and 0 <= x + dx < 6
            )
            np.testing.assert_allclose(found[number, :, y, x], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", [32, 33, 47, 64, 120])
def test_blur_of_a_view_has_the_references_kernel_at_every_size(size: int) -> None:
    """The whole square of taps at once, in float64, as wide as the size says."""
    pixels = images_u8(0, 2, size, size)
    config = WHOLE.model_copy(update={"blur_probability": 1.0, "blur_sigma": (1.0, 2.0), "blur_sigma_per": "image"})
    drawn = draws(config, 2, size=(size, size))
    found = augment.one_view(unit(pixels), drawn, image_size=size).numpy()
    radius = {32: 1, 33: 1, 47: 2, 64: 3, 120: 6}[size]
    black = np.pad(pixels.double().numpy() / 255.0, ((0, 0), (0, 0), (radius, radius), (radius, radius)))
    for number, sigma in enumerate(drawn.sigma):
        distances = np.arange(-radius, radius + 1) ** 2
        kernel = np.exp(-(distances[:, None] + distances) / (2.0 * sigma**2))
        expected = sum(
            kernel[y, x] / kernel.sum() * black[number, :, y : y + size, x : x + size]
            for y, x in np.ndindex(kernel.shape)
        )
        np.testing.assert_allclose(found[number], expected, rtol=0, atol=2e-6)


def test_probabilities_of_zero_leave_the_plain_crop() -> None:
    images = unit(images_u8(0, 16, 48, 48))
    drawn = draws(PLAIN, 16, size=(48, 48))
    expected = augment.crop_and_resize(images, drawn.boxes, 40).clamp(0, 1)
    assert torch.equal(augment.one_view(images, drawn, image_size=40), expected)


def test_certain_flip_mirrors_certain_grayscale_drops_colours() -> None:
    images = unit(images_u8(0, 3, 64, 64))
    flipped = draws(WHOLE.model_copy(update={"flip_probability": 1.0}), 3)
    torch.testing.assert_close(augment.one_view(images, flipped, image_size=64), images.flip(3), rtol=0, atol=1e-6)
    grey = draws(WHOLE.model_copy(update={"grayscale_probability": 1.0}), 3)
    found = augment.one_view(images, grey, image_size=64)
    torch.testing.assert_close(found, augment.grayscale(images), rtol=0, atol=1e-6)
    still = draws(WHOLE.model_copy(update={"jitter_probability": 1.0, "jitter_strength": 0.0}), 3)
    torch.testing.assert_close(augment.one_view(images, still, image_size=64), images, rtol=0, atol=5e-6)


def test_blur_touches_the_chosen_images_alone_and_none_below_20_pixels() -> None:
    images = unit(images_u8(0, 12, 64, 64))
    drawn = draws(WHOLE.model_copy(update={"blur_probability": 0.5, "blur_sigma": (1.0, 2.0)}), 12)
    changed = (augment.one_view(images, drawn, image_size=64) - images).abs().amax((1, 2, 3)) > 0.01
    assert changed.tolist() == drawn.blur.tolist()
    assert 0 < drawn.blur.sum() < 12
    plain = augment.crop_and_resize(images, drawn.boxes, 19).clamp(0, 1)
    assert torch.equal(augment.one_view(images, drawn, image_size=19), plain)


@pytest.mark.parametrize("size", [(40, 56), (90, 30)])
def test_images_need_not_be_square(size: tuple[int, int]) -> None:
    pixels = images_u8(0, 4, *size)
    pair = (draws(TrialConfig(), 4, size=size), draws(TrialConfig(), 4, size=size, step=4))
    for view in augment.two_views(pixels, pair, image_size=48):
        assert view.shape == (4, 3, 48, 48)
        assert view.dtype == torch.float32
        assert view.min() >= 0.0
        assert view.max() <= 1.0
    side = round(0.875 * min(size))
    top, left = (size[0] - side + 1) // 2, (size[1] - side + 1) // 2
    square = unit(pixels)[:, :, top : top + side, left : left + side]
    expected = augment.crop_and_resize(square, np.tile([0, 0, side, side], (4, 1)), 48).clamp(0, 1)
    found = augment.evaluation_view(pixels, image_size=48)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_view_of_a_slice_is_the_slice_of_the_view() -> None:
    images = unit(images_u8(0, 10, 64, 64))
    drawn = draws(TrialConfig(), 10)
    whole = augment.one_view(images, drawn, image_size=64)
    for part in (slice(0, 5), slice(5, 10), slice(3, 4), slice(1, None, 3)):
        assert len(drawn.slice(part)) == len(images[part])
        found = augment.one_view(images[part], drawn.slice(part), image_size=64)
        torch.testing.assert_close(found, whole[part], rtol=0, atol=1e-6)


def test_two_views_are_each_ones_own() -> None:
    config = TrialConfig(vertical_flip_probability=0.5, rotation_probability=0.5)
    pixels, pair = images_u8(0, 10, 64, 64), (draws(config, 10), draws(config, 10, step=4))
    for found, drawn in zip(augment.two_views(pixels, pair, image_size=48), pair, strict=True):
        torch.testing.assert_close(found, augment.one_view(unit(pixels), drawn, image_size=48), rtol=0, atol=1e-5)


class Operations(TorchDispatchMode):
    """The names of all operations, in their order."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(function.overloadpacket.__name__)
        return function(*args, **(kwargs or {}))


def test_a_view_takes_few_operations_and_none_reads_a_value_back() -> None:
    """As many for any number of images, since a GPU's small kernels cost what it takes to start them."""
    config = TrialConfig(vertical_flip_probability=0.5, rotation_probability=0.5)
    counts = []
    for count in (60, 60, 240):  # the first makes the table of weights, too
        with Operations() as taken:
            augment.one_view(unit(images_u8(0, count, 32, 32)), draws(config, count, size=(32, 32)), image_size=32)
        counts.append(len(taken.names))
        assert not {"_local_scalar_dense", "nonzero", "equal", "is_nonzero"} & set(taken.names)
    assert counts[1] == counts[2] < 400  # a third are views of memory
