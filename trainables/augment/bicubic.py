"""Bicubic resizing of crops, as TensorFlow computes it (reference: data_util.py)."""

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainables.distributed import to_device

CUBIC = -0.5  # coefficient of Keys' kernel, as in TensorFlow; PyTorch's bicubic uses -0.75
TABLE_STEPS = 1024  # entries per pixel in TensorFlow's table of bicubic weights


def crop_and_resize(
    images: Tensor, boxes: NDArray[np.int64], image_size: int, mirrored: NDArray[np.bool_] | None = None
) -> Tensor:
    """Crop the boxes (N, 4) and resize them bicubically to (N, C, image_size, image_size), without clipping.

    `mirrored` (N, 2) selects the images that are flipped vertically and horizontally. Interpolation uses half-pixel
    centres, no antialiasing, and weights renormalised at the crop's border. Distances are rounded to 1/1024 as in
    TensorFlow's table; exact distances would change results by up to 1e-4. Each image takes two products with sparse
    (image_size, H) matrices.
    """
    count, (height, width) = len(boxes), images.shape[-2:]
    starts, lengths = boxes.T.reshape(2, 2 * count)  # all images' rows, then all columns
    mirrors = np.zeros(2 * count) if mirrored is None else mirrored.T.reshape(-1)
    numbers = to_device(np.stack([starts, lengths, lengths / image_size, mirrors]), images.device)
    weights = bicubic_weights(numbers, image_size, max(height, width), images.dtype)
    rows, columns = weights[:count, None, :, :height], weights[count:, None, :, :width]
    return rows @ images @ columns.mT


def bicubic_weights(numbers: Tensor, output: int, source: int, dtype: torch.dtype) -> Tensor:
    """Return the weights (N, output, source) that resize source[start : start + length] to `output` pixels.

    `numbers` (4, N) float64 holds start, length, length / output, and 1 for mirrored outputs, else 0.
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
    # Taps outside the crop have weight 0, so adding them at the clipped column changes nothing.
    return matrix.scatter_add_(2, columns.long(), weights.to(dtype))


@cache
def _table(device: torch.device) -> Tensor:
    """Return the weights (TABLE_STEPS + 1, 4) float64 of four taps, by the centre's distance from the second tap."""
    fractions = np.arange(TABLE_STEPS + 1)[:, None] / TABLE_STEPS
    return to_device(_cubic(np.abs(fractions - np.arange(-1, 3))), device)


def _cubic(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    near = ((CUBIC + 2.0) * distance - (CUBIC + 3.0)) * distance**2 + 1.0
    far = ((CUBIC * distance - 5.0 * CUBIC) * distance + 8.0 * CUBIC) * distance - 4.0 * CUBIC
    return np.where(distance <= 1.0, near, np.where(distance < 2.0, far, 0.0))
