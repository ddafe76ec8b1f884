"""Views made in batches on the device (reference: data_util.py, model.py).

Order of a view: crop and resize, flips, quarter turns, colour jitter, grayscale, clip, blur, clip. Here they are plain
vectorised torch, each function on float images (N, C, H, W) in [0, 1] with one parameter an image; C is 1 to 13, and 3
for hue, saturation and grayscale, which mean nothing elsewhere. Nothing here reads a value back from the device. On a
CPU with numba a compiled kernel makes the same views in a fraction of the time (fused_views.py).
"""

from collections.abc import Callable
from functools import cache, partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainables.augment.parameters import ViewDraws
from trainables.distributed import to_device
from trainables.numba_compile import available

EVALUATION_CROP = 0.875
LUMA = (0.2989, 0.5870, 0.1140)
CUBIC = -0.5  # Keys' kernel as in TensorFlow; PyTorch's bicubic has -0.75
TABLE_STEPS = 1024  # TensorFlow reads bicubic weights from a table with so many steps a pixel
TINY = 1e-30
"""In place of a spread of 0 that is divided by."""


def two_views(images_u8: Tensor, draws: tuple[ViewDraws, ViewDraws], *, image_size: int) -> tuple[Tensor, Tensor]:
    """Return two independent views (N, C, image_size, image_size) float32 in [0, 1] of (N, C, H, W) uint8 images."""
    first, second = joined_views(images_u8, draws, image_size=image_size).chunk(2)
    return first, second


def joined_views(images: Tensor, draws: tuple[ViewDraws, ViewDraws], *, image_size: int) -> Tensor:
    """Return both views in one batch (2N, C, image_size, image_size): the first of every image, then the second."""
    # Made at once: a GPU runs a small kernel in less time than it takes to be told of it.
    return one_view(images, draws[0].joined(draws[1]), image_size=image_size)


def one_view(images: Tensor, draws: ViewDraws, *, image_size: int) -> Tensor:
    """Return the view that `draws` describes, (N, C, image_size, image_size), of stored images or those in [0, 1].

    Stored ones are uint8 or uint16; float32 on the CPU, by the kernel. Draws of k N views are those of all images, then
    of all images again.
    """
    stored = not images.is_floating_point()
    if stored and available() and images.device.type == "cpu" and torch.get_default_dtype() == torch.float32:
        from trainables.augment import numba_kernel as fused_views

        return fused_views.view(images, draws, image_size=image_size)
    if len(draws) > len(images):
        images = images.repeat(len(draws) // len(images), 1, 1, 1)
    if stored:
        images = unit_interval(images)
    mirrored = np.stack([draws.vertical_flip, draws.flip], axis=1)
    view = crop_and_resize(images, draws.boxes, image_size, mirrored)
    view = quarter_turns(view, draws.quarter_turns)
    view = jitter_colours(view, draws.factors, draws.order, draws.jitter)
    view = _where(draws.grayscale, view, grayscale).clamp(0.0, 1.0)
    radius = image_size // 10 // 2
    if radius == 0:
        return view
    return _where(
        draws.blur, view, lambda chosen: gaussian_blur(chosen, draws.sigma[draws.blur], radius).clamp(0.0, 1.0)
    )


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
    numbers = torch.tensor([[top, left], [height, width], [height / image_size, width / image_size], [0, 0]]).double()
    rows, columns = _bicubic_weights(numbers, image_size, max(size), torch.float64)
    return rows[:, : size[0]], columns[:, : size[1]]


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


def crop_and_resize(
    images: Tensor, boxes: NDArray[np.int64], image_size: int, mirrored: NDArray[np.bool_] | None = None
) -> Tensor:
    """Crop (N, 4) boxes and resize them by bicubic interpolation, (N, C, image_size, image_size), not clipped.

    `mirrored` (N, 2) says whose result is turned upside down, and whose left becomes right. Half-pixel centres, no
    antialias, weights renormalised at the crop's border; distances are rounded to 1/1024 as TensorFlow's table does
    (exact ones would differ by up to 1e-4). Two products with sparse (image_size, H) matrices, one an image.
    """
    count, (height, width) = len(boxes), images.shape[-2:]
    starts, lengths = boxes.T.reshape(2, 2 * count)  # rows of all images, then columns
    mirrors = np.zeros(2 * count) if mirrored is None else mirrored.T.reshape(-1)
    numbers = to_device(np.stack([starts, lengths, lengths / image_size, mirrors]), images.device)
    weights = _bicubic_weights(numbers, image_size, max(height, width), images.dtype)
    rows, columns = weights[:count, None, :, :height], weights[count:, None, :, :width]
    return rows @ images @ columns.mT


def _bicubic_weights(numbers: Tensor, output: int, source: int, dtype: torch.dtype) -> Tensor:
    """Return (N, output, source) weights that resize source[start : start + length] to `output` pixels.

    `numbers` (4, N) float64: start, length, length / output, and 1 where the output is mirrored, else 0.
    """
    device = numbers.device
    start, length, step, mirrored = numbers[..., None].unbind()
    places = torch.arange(output, dtype=torch.float64, device=device)
    centres = (torch.where(mirrored > 0, places.flip(0), places) + 0.5) * step - 0.5
    floor = centres.floor()
    weights = _table(device)[((centres - floor) * TABLE_STEPS).round().long()]
    taps = floor[..., None] + torch.arange(-1, 3, device=device)
    weights = weights * ((taps >= 0) & (taps < length[..., None]))
    weights = weights / weights.sum(-1, keepdim=True)
    columns = torch.minimum(taps.clamp_min(0), length[..., None] - 1) + start[..., None]
    matrix = torch.zeros(*centres.shape, source, dtype=dtype, device=device)
    # A tap outside the crop carries weight 0, so adding it at the clipped column changes nothing, in whatever order.
    return matrix.scatter_add_(2, columns.long(), weights.to(dtype))


@cache
def _table(device: torch.device) -> Tensor:
    """Return the weights (TABLE_STEPS + 1, 4) float64 of four taps, by how far the centre is from the second."""
    fractions = np.arange(TABLE_STEPS + 1)[:, None] / TABLE_STEPS
    return to_device(_cubic(np.abs(fractions - np.arange(-1, 3))), device)


def _cubic(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    near = ((CUBIC + 2.0) * distance - (CUBIC + 3.0)) * distance**2 + 1.0
    far = ((CUBIC * distance - 5.0 * CUBIC) * distance + 8.0 * CUBIC) * distance - 4.0 * CUBIC
    return np.where(distance <= 1.0, near, np.where(distance < 2.0, far, 0.0))


def jitter_colours(
    images: Tensor, factors: NDArray[np.float64], order: NDArray[np.int64], chosen: NDArray[np.bool_]
) -> Tensor:
    """Apply the four operations to the chosen images in each one's own order, clipping to [0, 1] after each.

    At each of the four places images are brought into the order of their operation there, so that those of one
    operation lie side by side.
    """
    members = np.flatnonzero(chosen)
    if len(members) == 0:
        return images
    arranged = np.argsort(order[members], axis=0, kind="stable")  # (n, 4): who comes where, at each place
    operations = np.take_along_axis(order[members], arranged, axis=0)
    amounts = factors[members[arranged], operations]  # of -1, no operation, whatever
    column = to_device(torch.from_numpy(amounts.T.copy()).to(images.dtype), images.device)[..., None, None, None]
    moves = to_device(_moves(members, arranged), images.device)
    current = images
    for place in range(4):
        current = current[moves[place]]
        counts = np.bincount(operations[:, place] + 1, minlength=5).tolist()
        groups = zip(_OPERATIONS, torch.split(current, counts), torch.split(column[place], counts), strict=True)
        current = torch.cat(
            [
                part if change is None else change(part, factor).clamp(0.0, 1.0)
                for change, part, factor in groups
                if len(part)  # images of other than three channels have no hue
            ]
        )
    return images.index_copy(0, moves[4], current)


def _moves(members: NDArray[np.int64], arranged: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return (5, n): where each image comes from, at the first place and from each to the next; at last where it goes.

    `members` are the numbers (n,) of the images, `arranged` (n, 4) their order at each place.
    """
    before = np.argsort(arranged, axis=0)  # (n, 4): where each one stands at a place
    between = [before[arranged[:, place + 1], place] for place in range(3)]
    return np.stack([members[arranged[:, 0]], *between, members[arranged[:, 3]]])


def adjust_brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Multiply every value; factor (N, 1, 1, 1)."""
    return images * factor


def adjust_contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Stretch about each channel's mean over the image; factor (N, 1, 1, 1)."""
    mean = images.mean(dim=(2, 3), keepdim=True)
    return torch.addcmul(mean, images - mean, factor)


def adjust_saturation(images: Tensor, factor: Tensor) -> Tensor:
    """Multiply S of HSV and clip it to [0, 1]; factor (N, 1, 1, 1), not negative.

    With hue and value kept, each channel's distance from the largest one is multiplied. S = spread / value stays at
    most 1, so the factor at most value / spread.
    """
    value = images.amax(1, keepdim=True)
    spread = value - images.amin(1, keepdim=True)
    factor = torch.minimum(value / spread.clamp_min(TINY), factor).clamp_min(0.0)
    return torch.addcmul(value, images - value, factor)


def adjust_hue(images: Tensor, offset: Tensor) -> Tensor:
    """Turn H of HSV; offset (N, 1, 1, 1) in turns of the full circle.

    Value and spread are kept; each channel falls off linearly with the hue's distance from its own.
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
"""No operation, -1 in the draws, then those of JITTER_OPERATIONS in their order."""


def grayscale(images: Tensor) -> Tensor:
    """Return the luma in all three channels."""
    red, green, blue = images.unbind(1)
    luma = LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue
    return luma.unsqueeze(1).expand_as(images)


def gaussian_blur(images: Tensor, sigma: NDArray[np.float64], radius: int) -> Tensor:
    """Blur each image with its own sigma (N,), 2 * radius + 1 taps in each direction, zero padding.

    Two products with banded (H, H) and (W, W) matrices, one an image.
    """
    taps = np.arange(radius + 1)
    weights = np.exp(-(taps**2) / (2.0 * sigma[:, None] ** 2))
    weights /= weights[:, :1] + 2.0 * weights[:, 1:].sum(axis=1, keepdims=True)
    beyond = np.zeros((len(sigma), 1))
    device_weights = to_device(torch.from_numpy(np.hstack([weights, beyond])).to(images.dtype), images.device)
    down, across = (_bands(device_weights, size) for size in images.shape[-2:])
    return down.unsqueeze(1) @ images @ across.unsqueeze(1)


def _bands(weights: Tensor, size: int) -> Tensor:
    """Return symmetric matrices (N, size, size) of each image's weights (N, k) by distance, the last for all beyond."""
    places = torch.arange(size, device=weights.device)
    return weights[:, (places[:, None] - places).abs().clamp_max(weights.shape[1] - 1)]
