"""Augmentation operations in vectorised torch: float images (N, C, H, W) in [0, 1], one parameter per image.

No operation copies a value from the device to the host.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainables.config import RED_GREEN_BLUE
from trainables.distributed import to_device

LUMA = (0.2989, 0.5870, 0.1140)
TINY = 1e-30
"""Smallest divisor, used in place of a spread of 0."""


def apply_where(mask: NDArray[np.bool_], images: Tensor, operation: Callable[[Tensor], Tensor]) -> Tensor:
    """Apply an operation to the images selected by a mask (N,) on the CPU."""
    numbers = np.flatnonzero(mask)
    if len(numbers) == 0:
        return images
    chosen = to_device(numbers, images.device)
    return images.index_copy(0, chosen, operation(images[chosen]))


def quarter_turns(images: Tensor, turns: NDArray[np.int64]) -> Tensor:
    """Rotate each square image counter-clockwise by its number (N,) of quarter turns, 0 to 3."""
    for count in (1, 2, 3):
        images = apply_where(turns == count, images, partial(torch.rot90, k=count, dims=(2, 3)))
    return images


def unit_interval(images_u8: Tensor) -> Tensor:
    """Scale uint8 or uint16 pixels to [0, 1] in torch's default dtype; 255 or 65,535 becomes 1."""
    full = 65_535.0 if images_u8.dtype == torch.uint16 else 255.0
    return images_u8.to(torch.get_default_dtype()).div_(full)  # in place, since a second allocation costs more


def jitter_colours(
    images: Tensor,
    factors: NDArray[np.float64],
    order: NDArray[np.int64],
    chosen: NDArray[np.bool_],
    *,
    band_factors: NDArray[np.float64] | None = None,
    colours: tuple[int, int, int] | None = RED_GREEN_BLUE,
) -> Tensor:
    """Apply colour jitter to the selected images, each with its own order of operations; clip to [0, 1] after each.

    At each of the four steps, images are sorted by their operation, so that those of one operation are contiguous.
    `factors` are (N, 4). `band_factors` (N, 2, C) replace the brightness and contrast factors per band. Saturation and
    hue act on the channels `colours`.
    """
    members = np.flatnonzero(chosen)
    if len(members) == 0:
        return images
    arranged = np.argsort(order[members], axis=0, kind="stable")  # (n, 4): the order of the images at each step
    operations = np.take_along_axis(order[members], arranged, axis=0)
    by_band = _by_band(factors, band_factors)
    amounts = by_band[members[arranged], operations].swapaxes(0, 1)  # values for -1, no operation, are unused
    column = to_device(torch.from_numpy(amounts.copy()).to(images.dtype), images.device)[..., None, None]
    moves = to_device(_moves(members, arranged), images.device)
    current = images
    for place in range(4):
        current = current[moves[place]]
        counts = np.bincount(operations[:, place] + 1, minlength=5).tolist()
        groups = zip(_OPERATIONS, torch.split(current, counts), torch.split(column[place], counts), strict=True)
        current = torch.cat(
            [
                part if change is None else _changed(part, change, factor, colours).clamp(0.0, 1.0)
                for change, part, factor in groups
                if len(part)
            ]
        )
    return images.index_copy(0, moves[4], current)


def _by_band(factors: NDArray[np.float64], band_factors: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """Return the operations' factors per band, (N, 4, C), or (N, 4, 1) if all bands share them."""
    if band_factors is None or band_factors.shape[2] == 0:
        return factors[..., None]
    rest = np.broadcast_to(factors[:, 2:, None], band_factors.shape)
    return np.concatenate([band_factors, rest], axis=1)


def _changed(
    images: Tensor, change: Callable[[Tensor, Tensor], Tensor], factor: Tensor, colours: tuple[int, int, int] | None
) -> Tensor:
    """Apply a colour operation to the colour channels, or any other operation to all channels."""
    if change not in (adjust_saturation, adjust_hue):
        return change(images, factor)
    if colours is None:
        raise ValueError("saturation and hue need red, green and blue channels")
    if colours == RED_GREEN_BLUE and images.shape[1] == len(colours):
        return change(images, factor[:, :1])
    channels = torch.tensor(colours, device=images.device)
    return images.index_copy(1, channels, change(images[:, channels], factor[:, :1]))


def _moves(members: NDArray[np.int64], arranged: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return index moves (5, n): into the first step's order, from each step's order to the next, and back at the end.

    `members` (n,) are the images' indices, and `arranged` (n, 4) their order at each step.
    """
    before = np.argsort(arranged, axis=0)  # (n, 4): position of each image at a step
    between = [before[arranged[:, place + 1], place] for place in range(3)]
    return np.stack([members[arranged[:, 0]], *between, members[arranged[:, 3]]])


def adjust_brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Multiply every value by `factor`, (N, 1, 1, 1), or (N, C, 1, 1) per band."""
    return images * factor


def adjust_contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Scale the difference from each channel's mean by `factor`, (N, 1, 1, 1), or (N, C, 1, 1) per band."""
    mean = images.mean(dim=(2, 3), keepdim=True)
    return torch.addcmul(mean, images - mean, factor)


def adjust_saturation(images: Tensor, factor: Tensor) -> Tensor:
    """Multiply the saturation of HSV by `factor` (N, 1, 1, 1), not negative, and clip it to [0, 1].

    Each channel's distance from the largest one is multiplied, so hue and value don't change. The factor is limited to
    value / spread, so that S = spread / value is at most 1.
    """
    value = images.amax(1, keepdim=True)
    spread = value - images.amin(1, keepdim=True)
    factor = torch.minimum(value / spread.clamp_min(TINY), factor).clamp_min(0.0)
    return torch.addcmul(value, images - value, factor)


def adjust_hue(images: Tensor, offset: Tensor) -> Tensor:
    """Shift the hue of HSV by `offset` (N, 1, 1, 1), in turns of the full circle.

    Value and spread don't change. Each channel decreases linearly with the hue's distance from the channel's own hue.
    """
    value, largest = images.max(1, keepdim=True)
    spread = value - images.amin(1, keepdim=True)
    others = images.roll(-1, 1) - images.roll(-2, 1)  # green - blue, blue - red, red - green
    sixths = others.gather(1, largest) / spread.clamp_min(TINY)
    sixths = torch.add(sixths, largest, alpha=2)
    beginnings = torch.arange(5, 0, -2, device=images.device).view(1, 3, 1, 1)  # of red, green, blue, in sixths
    turned = (sixths + (6.0 * offset + beginnings)) % 6.0
    share = torch.minimum(turned, 4.0 - turned).clamp(0.0, 1.0)
    return torch.addcmul(value, spread, share, value=-1.0)


_OPERATIONS = (None, adjust_brightness, adjust_contrast, adjust_saturation, adjust_hue)
"""Operation -1 (none), followed by those of JITTER_OPERATIONS in their order."""


def grayscale(images: Tensor, colours: tuple[int, int, int] = RED_GREEN_BLUE) -> Tensor:
    """Replace every channel with the luma of red, green and blue."""
    red, green, blue = (images[:, channel] for channel in colours)
    luma = LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue
    return luma.unsqueeze(1).expand_as(images)


def gaussian_blur(images: Tensor, sigma: NDArray[np.float64], radius: int) -> Tensor:
    """Blur each image with its own sigma (N,) in pixels, 2 * radius + 1 taps per direction, and zero padding.

    Each image takes two products, with banded matrices (H, H) and (W, W).
    """
    taps = np.arange(radius + 1)
    weights = np.exp(-(taps**2) / (2.0 * sigma[:, None] ** 2))
    weights /= weights[:, :1] + 2.0 * weights[:, 1:].sum(axis=1, keepdims=True)
    beyond = np.zeros((len(sigma), 1))
    device_weights = to_device(torch.from_numpy(np.hstack([weights, beyond])).to(images.dtype), images.device)
    down, across = (_bands(device_weights, size) for size in images.shape[-2:])
    return down.unsqueeze(1) @ images @ across.unsqueeze(1)


def _bands(weights: Tensor, size: int) -> Tensor:
    """Return symmetric banded matrices (N, size, size) of weights (N, k) by distance; the last holds for all beyond."""
    places = torch.arange(size, device=weights.device)
    return weights[:, (places[:, None] - places).abs().clamp_max(weights.shape[1] - 1)]
