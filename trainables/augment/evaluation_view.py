"""Evaluation view of an image: a central crop or the whole image (reference: data_util.py)."""

import torch
from torch import Tensor

from trainables.augment.bicubic import bicubic_weights
from trainables.augment.torch_ops import unit_interval
from trainables.distributed import to_device

EVALUATION_CROP = 0.875


def evaluation_view(images_u8: Tensor, *, image_size: int) -> Tensor:
    """Return the evaluation views of images.

    Views over 32 px are a central crop of 0.875, resized. Smaller views are the whole image, resized if its size
    differs.

    Args:
        images_u8: Images (N, C, H, W), uint8 or uint16.
        image_size: Side of the square views, in pixels.

    Returns:
        Views (N, C, image_size, image_size), float32 in [0, 1].
    """
    size = (images_u8.shape[-2], images_u8.shape[-1])
    if _evaluation_box(size, image_size) is None:
        return unit_interval(images_u8)
    images = unit_interval(images_u8.contiguous())  # so that the first product covers all rows at once
    rows, columns = (to_device(one.to(images.dtype), images.device) for one in evaluation_matrices(size, image_size))
    return (rows @ (images @ columns.mT)).clamp_(0.0, 1.0)


def evaluation_matrices(size: tuple[int, int], image_size: int) -> tuple[Tensor, Tensor]:
    """Return matrices (image_size, H) and (image_size, W) that map an image (H, W) to its evaluation view."""
    top, left, height, width = _evaluation_box(size, image_size) or (0, 0, *size)
    numbers = torch.tensor([[top, left], [height, width], [height / image_size, width / image_size], [0, 0]]).double()
    rows, columns = bicubic_weights(numbers, image_size, max(size), torch.float64)
    return rows[:, : size[0]], columns[:, : size[1]]


def _evaluation_box(size: tuple[int, int], image_size: int) -> tuple[int, int, int, int] | None:
    """Return top, left, height and width of the evaluated crop; None for the unchanged image."""
    height, width = size
    if image_size > 32:
        # Reference: data_util.center_crop rounds the offset up.
        crop_height, crop_width = _central(height, width)
        return (height - crop_height + 1) // 2, (width - crop_width + 1) // 2, crop_height, crop_width
    return None if (height, width) == (image_size, image_size) else (0, 0, height, width)


def _central(height: int, width: int) -> tuple[int, int]:
    """Return height and width of the central square crop."""
    side = round(EVALUATION_CROP * min(height, width))
    return side, side
