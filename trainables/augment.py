"""Views made in batches on the device (reference: data_util.py, model.py).

Order of a view: crop and resize, flips, quarter turns, colour jitter, grayscale, clip, blur, clip. Here they are plain
vectorised torch, each function on float images (N, C, H, W) in [0, 1] with one parameter an image; C is 1 to 13, and 3
for hue, saturation and grayscale, which mean nothing elsewhere. Nothing here reads a value back from the device. On a
CPU with numba a compiled kernel makes the same views in a fraction of the time (fused_views.py).
"""

import importlib.util
from collections.abc import Callable
from functools import cache, partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainables.config import JITTER_OPERATIONS
from trainables.distributed import to_device
from trainables.draws import ViewDraws

EVALUATION_CROP = 0.875
LUMA = (0.2989, 0.5870, 0.1140)
CUBIC = -0.5  # Keys' kernel as in TensorFlow; PyTorch's bicubic has -0.75
TABLE_STEPS = 1024  # TensorFlow reads bicubic weights from a table with so many steps a pixel


def two_views(images_u8: Tensor, draws: tuple[ViewDraws, ViewDraws], *, image_size: int) -> tuple[Tensor, Tensor]:
    """Return two independent views (N, C, image_size, image_size) float32 in [0, 1] of (N, C, H, W) uint8 images."""
    return one_view(images_u8, draws[0], image_size=image_size), one_view(images_u8, draws[1], image_size=image_size)


def one_view(images: Tensor, draws: ViewDraws, *, image_size: int) -> Tensor:
    """Return the view that `draws` describes, (N, C, image_size, image_size), of stored images or those in [0, 1].

    Stored ones are uint8 or uint16; float32 on the CPU, by the kernel.
    """
    if not images.is_floating_point():
        kernel = _kernel() if images.device.type == "cpu" and torch.get_default_dtype() == torch.float32 else None
        if kernel is not None:
            return kernel(images, draws, image_size=image_size)
        images = unit_interval(images)
    view = crop_and_resize(images, draws.boxes, image_size)
    view = _where(draws.flip, view, lambda chosen: chosen.flip(-1))
    view = _where(draws.vertical_flip, view, lambda chosen: chosen.flip(-2))
    view = quarter_turns(view, draws.quarter_turns)
    view = jitter_colours(view, draws.factors, draws.order, draws.jitter)
    view = _where(draws.grayscale, view, grayscale).clamp(0.0, 1.0)
    radius = image_size // 10 // 2
    if radius == 0:
        return view
    return _where(
        draws.blur, view, lambda chosen: gaussian_blur(chosen, draws.sigma[draws.blur], radius).clamp(0.0, 1.0)
    )


@cache
def _kernel() -> Callable[..., Tensor] | None:
    """Return the compiled kernel, or None where numba isn't installed."""
    if importlib.util.find_spec("numba") is None:
        return None
    from trainables.fused_views import view

    return view


def _where(mask: NDArray[np.bool_], images: Tensor, operation: Callable[[Tensor], Tensor]) -> Tensor:
    """Apply an operation to the images of a (N,) mask, which lives on the CPU, and to no other."""
    numbers = np.flatnonzero(mask)
    if len(numbers) == 0:
        return images
    chosen = to_device(numbers, images.device)
    return images.index_copy(0, chosen, operation(images[chosen]))


def quarter_turns(images: Tensor, turns: NDArray[np.int64]) -> Tensor:
    """Turn each square image counter-clockwise by its number (N,) of quarter turns, 0 to 3."""
    for count in (1, 2, 3):
        images = _where(turns == count, images, partial(torch.rot90, k=count, dims=(2, 3)))
    return images


def evaluation_view(images_u8: Tensor, *, image_size: int) -> Tensor:
    """Return what is evaluated, float32 (N, C, image_size, image_size), of uint8 (N, C, H, W) images.

    Views over 32 px: the central crop of 0.875, resized back. Smaller ones: the whole image, resized only where its
    size differs.
    """
    size = (images_u8.shape[-2], images_u8.shape[-1])
    if _evaluation_box(size, image_size) is None:
        return unit_interval(images_u8)
    images = unit_interval(images_u8.contiguous())  # so that the first product is one of all rows
    rows, columns = (to_device(one.to(images.dtype), images.device) for one in evaluation_matrices(size, image_size))
    return (rows @ (images @ columns.mT)).clamp_(0.0, 1.0)


def evaluation_matrices(size: tuple[int, int], image_size: int) -> tuple[Tensor, Tensor]:
    """Return (image_size, H) and (image_size, W) whose products with an image of (H, W) are its evaluation view."""
    top, left, height, width = _evaluation_box(size, image_size) or (0, 0, *size)
    rows = _bicubic_weights(np.array([top]), np.array([height]), image_size, size[0])
    columns = _bicubic_weights(np.array([left]), np.array([width]), image_size, size[1])
    return rows[0], columns[0]


def _evaluation_box(size: tuple[int, int], image_size: int) -> tuple[int, int, int, int] | None:
    """Return top, left, height and width of what is evaluated; None for the whole image as it is."""
    height, width = size
    if image_size > 32:
        # Reference: data_util.center_crop, whose offset rounds the middle up.
        crop_height, crop_width = _central(height, width)
        return (height - crop_height + 1) // 2, (width - crop_width + 1) // 2, crop_height, crop_width
    return None if (height, width) == (image_size, image_size) else (0, 0, height, width)


def unit_interval(images_u8: Tensor) -> Tensor:
    """Return pixels in [0, 1], of torch's default dtype: float32, or float64 where a test asks for it.

    255 becomes 1, or 65,535 where the images have 16 bits.
    """
    full = 65_535.0 if images_u8.dtype == torch.uint16 else 255.0
    return images_u8.to(torch.get_default_dtype()).div_(full)  # in place, as a second block of that size costs more


def _central(height: int, width: int) -> tuple[int, int]:
    """Return height and width of the central square crop."""
    side = round(EVALUATION_CROP * min(height, width))
    return side, side


def crop_and_resize(images: Tensor, boxes: NDArray[np.int64], image_size: int) -> Tensor:
    """Crop (N, 4) boxes and resize them by bicubic interpolation, (N, C, image_size, image_size), not clipped.

    Half-pixel centres, no antialias, weights renormalised at the crop's border; distances are rounded to 1/1024 as
    TensorFlow's table does (exact ones would differ by up to 1e-4). Two products with sparse (image_size, H) matrices,
    one an image.
    """
    height, width = images.shape[-2:]
    rows = to_device(_bicubic_weights(boxes[:, 0], boxes[:, 2], image_size, height).to(images.dtype), images.device)
    columns = to_device(_bicubic_weights(boxes[:, 1], boxes[:, 3], image_size, width).to(images.dtype), images.device)
    return rows.unsqueeze(1) @ images @ columns.unsqueeze(1).mT


def _bicubic_weights(start: NDArray[np.int64], length: NDArray[np.int64], output: int, source: int) -> Tensor:
    """Return (N, output, source) float64 weights that resize source[start : start + length] to `output` pixels."""
    centres = (np.arange(output) + 0.5) * (length[:, None] / output) - 0.5
    floor = np.floor(centres)
    fraction = np.rint((centres - floor) * TABLE_STEPS) / TABLE_STEPS
    taps = floor[:, :, None] + np.arange(-1, 3)
    inside = (taps >= 0) & (taps < length[:, None, None])
    weights = np.where(inside, _cubic(np.abs(fraction[:, :, None] - np.arange(-1, 3))), 0.0)
    weights /= weights.sum(axis=2, keepdims=True)
    columns = (np.clip(taps, 0, length[:, None, None] - 1) + start[:, None, None]).astype(np.int64)
    matrix = np.zeros((len(start), output, source))
    image, row = np.ogrid[: len(start), :output]
    for tap in range(4):
        # A tap outside the crop carries weight 0, so adding it at the clipped column changes nothing.
        matrix[image, row, columns[:, :, tap]] += weights[:, :, tap]
    return torch.from_numpy(matrix)


def _cubic(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    near = ((CUBIC + 2.0) * distance - (CUBIC + 3.0)) * distance**2 + 1.0
    far = ((CUBIC * distance - 5.0 * CUBIC) * distance + 8.0 * CUBIC) * distance - 4.0 * CUBIC
    return np.where(distance <= 1.0, near, np.where(distance < 2.0, far, 0.0))


def jitter_colours(
    images: Tensor, factors: NDArray[np.float64], order: NDArray[np.int64], chosen: NDArray[np.bool_]
) -> Tensor:
    """Apply the four operations to the chosen images in each one's own order, clipping to [0, 1] after each."""
    images = images.clone()
    for place in range(4):
        for operation, name in enumerate(JITTER_OPERATIONS):
            numbers = np.flatnonzero(chosen & (order[:, place] == operation))
            if len(numbers) == 0:
                continue
            index = to_device(numbers, images.device)
            changed = _OPERATIONS[name](images[index], _column(factors[numbers, operation], images.device))
            images.index_copy_(0, index, changed.clamp(0.0, 1.0))
    return images


def adjust_brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Multiply every value; factor (N, 1, 1, 1)."""
    return images * factor


def adjust_contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Stretch about each channel's mean over the image; factor (N, 1, 1, 1)."""
    mean = images.mean(dim=(2, 3), keepdim=True)
    return (images - mean) * factor + mean


def adjust_saturation(images: Tensor, factor: Tensor) -> Tensor:
    """Multiply S of HSV and clip it to [0, 1]; factor (N, 1, 1, 1)."""
    hue, saturation, value = _to_hsv(images)
    return _from_hsv(hue, (saturation * factor.squeeze(1)).clamp(0.0, 1.0), value)


def adjust_hue(images: Tensor, offset: Tensor) -> Tensor:
    """Turn H of HSV; offset (N, 1, 1, 1) in turns of the full circle."""
    hue, saturation, value = _to_hsv(images)
    return _from_hsv((hue + offset.squeeze(1)) % 1.0, saturation, value)


_OPERATIONS = {
    "brightness": adjust_brightness,
    "contrast": adjust_contrast,
    "saturation": adjust_saturation,
    "hue": adjust_hue,
}


def _to_hsv(images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return hue in turns, saturation and value, each (N, H, W)."""
    red, green, blue = images.unbind(1)
    value, largest = images.max(dim=1)
    spread = value - images.amin(dim=1)
    safe = torch.where(spread > 0, spread, torch.ones_like(spread))
    sector = torch.where(
        largest == 0,
        (green - blue) / safe,
        torch.where(largest == 1, (blue - red) / safe + 2, (red - green) / safe + 4),
    )
    hue = torch.where(spread > 0, sector / 6.0, torch.zeros_like(sector)) % 1.0
    saturation = torch.where(value > 0, spread / torch.where(value > 0, value, torch.ones_like(value)), value * 0.0)
    return hue, saturation, value


def _from_hsv(hue: Tensor, saturation: Tensor, value: Tensor) -> Tensor:
    """Return (N, 3, H, W); each channel falls off linearly with the hue's distance from its own."""
    turns = hue * 6.0
    red, green, blue = (turns - 3.0).abs() - 1.0, 2.0 - (turns - 2.0).abs(), 2.0 - (turns - 4.0).abs()
    colours = torch.stack([red, green, blue], dim=1).clamp(0.0, 1.0)
    return ((colours - 1.0) * saturation.unsqueeze(1) + 1.0) * value.unsqueeze(1)


def grayscale(images: Tensor) -> Tensor:
    """Return the luma in all three channels."""
    red, green, blue = images.unbind(1)
    luma = LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue
    return luma.unsqueeze(1).expand_as(images)


def gaussian_blur(images: Tensor, sigma: NDArray[np.float64], radius: int) -> Tensor:
    """Blur each image with its own sigma (N,), 2 * radius + 1 taps in each direction, zero padding."""
    taps = np.arange(-radius, radius + 1)
    weights = np.exp(-(taps**2) / (2.0 * sigma[:, None] ** 2))
    kernel = torch.from_numpy(weights / weights.sum(axis=1, keepdims=True)).to(images.dtype)
    kernel = to_device(kernel, images.device).view(len(images), 1, 1, 1, -1)
    for axis in (2, 3):
        padded = torch.nn.functional.pad(images, (0, 0, radius, radius) if axis == 2 else (radius, radius))
        size = images.shape[axis]
        images = torch.stack([padded.narrow(axis, tap, size) for tap in range(len(taps))], dim=-1).mul(kernel).sum(-1)
    return images


def _column(values: NDArray[np.float64], device: torch.device) -> Tensor:
    """Return one number an image as (N, 1, 1, 1) on the device, of torch's default dtype."""
    tensor = torch.from_numpy(np.ascontiguousarray(values)).to(torch.get_default_dtype())
    return to_device(tensor, device).view(-1, 1, 1, 1)
