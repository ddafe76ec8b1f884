"""Crops resized, and the view that is evaluated, against slow oracles."""

import math

import numpy as np
import pytest
import torch
from support.views import WHOLE, draws, images_u8, unit

from trainables import augment


def slow_resize(rows: list[list[float]], size: int, *, table: bool) -> list[list[float]]:
    """Resize (h, w) numbers to (size, size) by Keys' kernel, pixel by pixel, weights renormalised at the border."""

    def kernel(distance: float) -> float:
        if distance <= 1:
            return 1.5 * distance**3 - 2.5 * distance**2 + 1
        return -0.5 * distance**3 + 2.5 * distance**2 - 4 * distance + 2 if distance < 2 else 0.0

    def taps(place: int, length: int) -> list[tuple[int, float]]:
        centre = (place + 0.5) * length / size - 0.5
        first = math.floor(centre)
        offset = round((centre - first) * 1024) / 1024 if table else centre - first
        weights = [(first + k, kernel(abs(offset - k))) for k in (-1, 0, 1, 2) if 0 <= first + k < length]
        total = sum(weight for _, weight in weights)
        return [(index, weight / total) for index, weight in weights]

    down = [taps(top, len(rows)) for top in range(size)]
    across = [taps(left, len(rows[0])) for left in range(size)]
    return [[sum(a * b * rows[y][x] for y, a in vertical for x, b in flat) for flat in across] for vertical in down]


@pytest.mark.parametrize("size", [6, 16, 21])
@pytest.mark.parametrize(
    ("content", "table", "tolerance"), [("smooth", False, 2e-4), ("noise", False, 1e-3), ("noise", True, 1e-6)]
)
def test_crop_and_resize_equals_the_slow_oracle(size: int, content: str, table: bool, tolerance: float) -> None:
    """Exact weights differ by the table's step, most where neighbours differ most; the table's own by nothing."""
    random = np.random.default_rng(0)
    y, x = np.ogrid[:12, :10]
    waves = [0.5 + 0.25 * np.sin(y / 3 + phase) + 0.25 * np.cos(x / 2 - phase) for phase in range(3)]
    image = torch.from_numpy(np.stack(waves) if content == "smooth" else random.uniform(size=(3, 12, 10)))
    boxes = np.array([[0, 0, 12, 10], [3, 1, 7, 9], [11, 9, 1, 1], [5, 0, 2, 10]])
    found = augment.crop_and_resize(image.expand(len(boxes), 3, 12, 10), boxes, size)
    for number, (top, left, height, width) in enumerate(boxes.tolist()):
        for channel in range(3):
            crop = image[channel, top : top + height, left : left + width].tolist()
            expected = slow_resize(crop, size, table=table)
            np.testing.assert_allclose(found[number, channel].numpy(), expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("size", [32, 64, 120])
@pytest.mark.parametrize("source", [(33, 47), (120, 64)])
def test_crop_and_resize_equals_the_slow_oracle_at_the_sizes_of_the_data(size: int, source: tuple[int, int]) -> None:
    """Enlarged and made smaller, from odd and non-square images, in the float32 of a trial."""
    height, width = source
    images = torch.rand(3, 1, height, width, generator=torch.Generator().manual_seed(0))
    boxes = np.array([[0, 0, height, width], [5, 2, 17, 31], [height - 11, width - 9, 11, 9]])
    found = augment.crop_and_resize(images, boxes, size)
    for number, (top, left, rows, columns) in enumerate(boxes.tolist()):
        crop = images[number, 0, top : top + rows, left : left + columns].tolist()
        expected = slow_resize(crop, size, table=True)
        np.testing.assert_allclose(found[number, 0].numpy(), expected, rtol=0, atol=2e-6)


def test_whole_image_at_its_own_size_is_left_alone() -> None:
    images = unit(images_u8(0, 2, 24, 24))
    boxes = np.tile([0, 0, 24, 24], (2, 1))
    torch.testing.assert_close(augment.crop_and_resize(images, boxes, 24), images, rtol=0, atol=1e-7)
    found = augment.one_view(images, draws(WHOLE, 2, size=(24, 24)), image_size=24)
    torch.testing.assert_close(found, images, rtol=0, atol=1e-7)


def test_crop_sees_nothing_outside_its_box_and_constants_stay() -> None:
    images = torch.zeros(1, 3, 20, 20)
    images[:, :, 4:11, 6:15] = 0.625
    found = augment.crop_and_resize(images, np.array([[4, 6, 7, 9]]), 32)
    torch.testing.assert_close(found, torch.full((1, 3, 32, 32), 0.625), rtol=0, atol=1e-6)


@pytest.mark.parametrize("size", [32, 64, 120])
@pytest.mark.parametrize("source", [(33, 47), (50, 33), (64, 64)])
def test_evaluation_view_equals_the_slow_oracle(size: int, source: tuple[int, int]) -> None:
    """Over 32 px the central square of 7/8 of the shorter side, an odd rest's larger half before it; else the whole."""
    pixels = images_u8(0, 1, *source)
    top = left = 0
    height, width = source
    if size > 32:
        side = {33: 29, 64: 56}[min(source)]
        top, left = math.ceil((height - side) / 2), math.ceil((width - side) / 2)
        height = width = side
    found = augment.evaluation_view(pixels, image_size=size)[0].numpy()
    for channel in range(3):
        crop = pixels[0, channel, top : top + height, left : left + width].double() / 255.0
        expected = np.clip(slow_resize(crop.tolist(), size, table=True), 0.0, 1.0)
        np.testing.assert_allclose(found[channel], expected, rtol=0, atol=2e-6)


def test_evaluation_leaves_small_images_alone_and_resizes_others_whole() -> None:
    pixels = images_u8(0, 2, 32, 32)
    assert torch.equal(augment.evaluation_view(pixels, image_size=32), unit(pixels))
    found = augment.evaluation_view(images_u8(0, 2, 8, 8), image_size=32)
    whole = augment.crop_and_resize(unit(images_u8(0, 2, 8, 8)), np.tile([0, 0, 8, 8], (2, 1)), 32)
    torch.testing.assert_close(found, whole.clamp(0, 1), rtol=0, atol=1e-6)
