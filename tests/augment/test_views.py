"""Views against the reference's pixels and crops, slow oracles and closed forms."""

import colorsys
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import settings
from numpy.typing import NDArray
from scipy.stats import ks_2samp
from support.sample_data import golden
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from trainables import augment
from trainables.augment.parameters import ViewDraws, draw_view
from trainables.config import TrialConfig
from trainables.randomness.counter_based import RandomStream

FEW = settings(max_examples=50, deadline=None, database=None)
PLAIN = TrialConfig(flip_probability=0.0, jitter_probability=0.0, grayscale_probability=0.0, blur_probability=0.0)
WHOLE = PLAIN.model_copy(update={"crop_area": (1.0, 1.0), "crop_aspect": (1.0, 1.0)})
Arrays = dict[str, NDArray[Any]]


@pytest.fixture(scope="module", params=[64, 120])
def reference(request: pytest.FixtureRequest) -> Arrays:
    return {**golden(f"augment{request.param}.npz"), "size": np.array(request.param)}


def images_u8(seed: int, count: int, height: int, width: int) -> Tensor:
    random = np.random.default_rng(seed)
    return torch.from_numpy(random.integers(0, 256, (count, 3, height, width), dtype=np.uint8))


def unit(pixels: Tensor) -> Tensor:
    return pixels.float() / 255.0


def draws(config: TrialConfig, count: int, *, size: tuple[int, int] = (64, 64), step: int = 3) -> ViewDraws:
    return draw_view(config, RandomStream.VIEW_A, step, count, height=size[0], width=size[1])


def column(values: NDArray[Any]) -> Tensor:
    return torch.from_numpy(values).view(-1, 1, 1, 1)


def pixels_of(reference: Arrays) -> Tensor:
    return torch.from_numpy(reference["images_u8"]).permute(0, 3, 1, 2)


# The reference's pixels


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


# Crop and resize


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


# Crop boxes


@pytest.mark.parametrize("size", [32, 64, 120])
def test_crops_are_distributed_as_tensorflows(size: int) -> None:
    theirs = golden("crop_boxes.npz")[f"boxes{size}"].astype(np.int64)
    mine = np.concatenate([draws(PLAIN, 10_000, size=(size, size), step=step).boxes for step in range(2)])

    def quantities(boxes: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
        top, left, height, width = boxes.T
        partial = (height < size) & (width < size)
        return {
            "area": height * width / size**2,
            "aspect": width / height,
            "top": top / 1.0,
            "left": left / 1.0,
            "share of the room above": top[partial] / (size - height[partial]),
            "share of the room to the left": left[partial] / (size - width[partial]),
        }

    found, expected = quantities(mine), quantities(theirs)
    for name in found:
        assert ks_2samp(found[name], expected[name], method="asymp").pvalue > 1e-3, name
    # torchvision's rule, area uniform, has mean 0.48 to 0.54; four standard errors of both samples.
    error = expected["area"].std() * math.sqrt(1 / len(mine) + 1 / len(theirs))
    assert found["area"].mean() == pytest.approx(expected["area"].mean(), abs=4 * error)
    assert found["area"].mean() < 0.44
    for number in range(4):
        assert abs(int(mine[:, number].min()) - int(theirs[:, number].min())) <= 1
        assert abs(int(mine[:, number].max()) - int(theirs[:, number].max())) <= 1


@pytest.mark.parametrize("size", [(32, 32), (40, 56), (90, 30)])
def test_crops_keep_their_bounds(size: tuple[int, int]) -> None:
    height, width = size
    config = PLAIN.model_copy(update={"crop_area": (0.3, 0.6), "crop_aspect": (0.5, 1.5)})
    boxes = draws(config, 5000, size=size).boxes
    area = boxes[:, 2] * boxes[:, 3] / (height * width)
    whole = (boxes == [0, 0, height, width]).all(axis=1)
    assert whole.mean() < 0.01
    assert ((area >= 0.3) & (area <= 0.6))[~whole].all()
    # Rounding the width moves the aspect by half a pixel.
    assert (np.abs(boxes[:, 3] - np.clip(boxes[:, 3], 0.5 * boxes[:, 2], 1.5 * boxes[:, 2]))[~whole] <= 0.5).all()
    assert (boxes[:, :2] >= 0).all()
    for start, length, room in ((boxes[:, 0], boxes[:, 2], height), (boxes[:, 1], boxes[:, 3], width)):
        assert (start + length < room + (length == room)).all()  # the upper end is excluded


def test_impossible_crops_end_as_the_whole_image() -> None:
    config = PLAIN.model_copy(update={"crop_area": (0.01, 0.02)})  # always under the 10 % that must be covered
    assert (draws(config, 4).boxes == [0, 0, 64, 64]).all()


# Colours, blur and the rest of a view


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
