"""Views made in batches on the device, in plain vectorised torch (reference: data_util.py, model.py).

Every function takes float images (N, 3, H, W) in [0, 1] and one parameter an image. Order of a view: crop and resize,
flip, colour jitter, grayscale, clip, blur, clip. Nothing here reads a value back from the device.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainables.draws import JITTER_OPERATIONS, ViewDraws

EVALUATION_CROP = 0.875
LUMA = (0.2989, 0.5870, 0.1140)
CUBIC = -0.5  # Keys' kernel as in TensorFlow; PyTorch's bicubic has -0.75
TABLE_STEPS = 1024  # TensorFlow reads bicubic weights from a table with so many steps a pixel


def two_views(images_u8: Tensor, draws: tuple[ViewDraws, ViewDraws], *, image_size: int) -> tuple[Tensor, Tensor]:
    """Return two independent views (N, 3, image_size, image_size) float32 in [0, 1] of (N, 3, H, W) uint8 images."""
    images = _unit_interval(images_u8)
    return one_view(images, draws[0], image_size=image_size), one_view(images, draws[1], image_size=image_size)


def one_view(images: Tensor, draws: ViewDraws, *, image_size: int) -> Tensor:
    """Return the view that `draws` describes, (N, 3, image_size, image_size)."""
    device = images.device
    view = crop_and_resize(images, draws.boxes, image_size)
    view = torch.where(_column(draws.flip, device), view.flip(-1), view)
    view = jitter_colours(view, draws.factors, draws.order, draws.jitter)
    view = torch.where(_column(draws.grayscale, device), grayscale(view), view).clamp(0.0, 1.0)
    radius = image_size // 10 // 2
    if radius == 0 or not draws.blur.any():
        return view
    chosen = torch.from_numpy(np.flatnonzero(draws.blur)).to(device, non_blocking=True)
    blurred = gaussian_blur(view[chosen], draws.sigma[draws.blur], radius)
    return view.index_copy(0, chosen, blurred.clamp(0.0, 1.0))


def evaluation_view(images_u8: Tensor, *, image_size: int) -> Tensor:
    """Return what is evaluated, float32 (N, 3, image_size, image_size), of uint8 (N, 3, H, W) images.

    Views over 32 px: the central crop of 0.875, resized back. Smaller ones: the whole image, resized only where its
    size differs.
    """
    images = _unit_interval(images_u8)
    count, _, height, width = images.shape
    if image_size > 32:
        # Reference: data_util.center_crop, whose offset rounds the middle up.
        crop_height, crop_width = _central(height, width)
        box = [(height - crop_height + 1) // 2, (width - crop_width + 1) // 2, crop_height, crop_width]
    elif (height, width) == (image_size, image_size):
        return images
    else:
        box = [0, 0, height, width]
    return crop_and_resize(images, np.tile(np.array(box), (count, 1)), image_size).clamp(0.0, 1.0)


def _unit_interval(images_u8: Tensor) -> Tensor:
    """Return pixels in [0, 1], of torch's default dtype: float32, or float64 where a test asks for it."""
    return images_u8.to(torch.get_default_dtype()) / 255.0


def _central(height: int, width: int) -> tuple[int, int]:
    """Return height and width of the central square crop."""
    side = round(EVALUATION_CROP * min(height, width))
    return side, side


def crop_and_resize(images: Tensor, boxes: NDArray[np.int64], image_size: int) -> Tensor:
    """Crop (N, 4) boxes and resize them by bicubic interpolation, (N, 3, image_size, image_size), not clipped.

    Half-pixel centres, no antialias, weights renormalised at the crop's border; distances are rounded to 1/1024 as
    TensorFlow's table does (exact ones would differ by up to 1e-4). Two products with sparse (image_size, H) matrices,
    one an image.
    """
    height, width = images.shape[-2:]
    rows = _bicubic_weights(boxes[:, 0], boxes[:, 2], image_size, height).to(images)
    columns = _bicubic_weights(boxes[:, 1], boxes[:, 3], image_size, width).to(images)
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
            index = torch.from_numpy(numbers).to(images.device, non_blocking=True)
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
    turns = torch.stack([hue * 6.0, hue * 6.0, hue * 6.0], dim=1)
    peaks = torch.tensor([3.0, 2.0, 4.0], device=hue.device).view(1, 3, 1, 1)
    signs = torch.tensor([1.0, -1.0, -1.0], device=hue.device).view(1, 3, 1, 1)
    bases = torch.tensor([-1.0, 2.0, 2.0], device=hue.device).view(1, 3, 1, 1)
    colours = (signs * (turns - peaks).abs() + bases).clamp(0.0, 1.0)
    return ((colours - 1.0) * saturation.unsqueeze(1) + 1.0) * value.unsqueeze(1)


def grayscale(images: Tensor) -> Tensor:
    """Return the luma in all three channels."""
    weights = torch.tensor(LUMA, device=images.device).view(1, 3, 1, 1)
    return (images * weights).sum(dim=1, keepdim=True).expand_as(images)


def gaussian_blur(images: Tensor, sigma: NDArray[np.float64], radius: int) -> Tensor:
    """Blur each image with its own sigma (N,), 2 * radius + 1 taps in each direction, zero padding."""
    taps = np.arange(-radius, radius + 1)
    weights = np.exp(-(taps**2) / (2.0 * sigma[:, None] ** 2))
    kernel = torch.from_numpy(weights / weights.sum(axis=1, keepdims=True)).to(images).view(len(images), 1, 1, 1, -1)
    for axis in (2, 3):
        padded = torch.nn.functional.pad(images, (0, 0, radius, radius) if axis == 2 else (radius, radius))
        size = images.shape[axis]
        images = torch.stack([padded.narrow(axis, tap, size) for tap in range(len(taps))], dim=-1).mul(kernel).sum(-1)
    return images


def _column(values: NDArray[np.bool_] | NDArray[np.float64], device: torch.device) -> Tensor:
    """Return one number an image as (N, 1, 1, 1) on the device."""
    tensor = torch.from_numpy(np.ascontiguousarray(values))
    if tensor.dtype == torch.float64:
        tensor = tensor.to(torch.get_default_dtype())
    return tensor.to(device, non_blocking=True).view(-1, 1, 1, 1)
