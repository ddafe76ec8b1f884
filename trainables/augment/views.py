"""Augmented views, computed in batches on the device (reference: data_util.py, model.py).

Order of operations: crop and resize, flips, quarter turns, colour jitter, grayscale, clip, blur, clip, band dropping.
Images may have any number of channels. Saturation, hue and grayscale are skipped without red, green and blue channels
(docs/data.md). On a CPU with numba, a compiled kernel computes the same views faster (numba_kernel.py).
"""

import numpy as np
import torch
from torch import Tensor

from trainables.augment.bicubic import crop_and_resize
from trainables.augment.parameters import ViewDraws
from trainables.augment.torch_ops import (
    apply_where,
    gaussian_blur,
    grayscale,
    jitter_colours,
    quarter_turns,
    unit_interval,
)
from trainables.distributed import to_device
from trainables.kernels.numba_compile import available


def two_views(images_u8: Tensor, draws: tuple[ViewDraws, ViewDraws], *, image_size: int) -> tuple[Tensor, Tensor]:
    """Return two independent augmented views of each image.

    Args:
        images_u8: Images (N, C, H, W), uint8.
        draws: Random parameters of the first and the second views, from `draw_view`.
        image_size: Side of the square views, in pixels.

    Returns:
        Two batches (N, C, image_size, image_size), float32 in [0, 1].

    Example:
        >>> import torch
        >>> from trainables.augment.parameters import draw_view
        >>> from trainables.config import TrialConfig
        >>> from trainables.randomness.counter_based import RandomStream
        >>> images = torch.zeros(4, 3, 40, 40, dtype=torch.uint8)
        >>> config, streams = TrialConfig(image_size=32), (RandomStream.VIEW_A, RandomStream.VIEW_B)
        >>> draws = tuple(draw_view(config, stream, 0, 4, height=40, width=40) for stream in streams)
        >>> first, second = two_views(images, draws, image_size=32)
        >>> first.shape
        torch.Size([4, 3, 32, 32])
    """
    first, second = joined_views(images_u8, draws, image_size=image_size).chunk(2)
    return first, second


def joined_views(images: Tensor, draws: tuple[ViewDraws, ViewDraws], *, image_size: int) -> Tensor:
    """Return both views in one batch (2N, C, image_size, image_size): all first views, then all second views.

    `images` are N images, or 2N: those of the first views, then those of the second.
    """
    # Both at once, since a GPU runs a small kernel in less time than its launch takes.
    return one_view(images, draws[0].joined(draws[1]), image_size=image_size)


def one_view(images: Tensor, draws: ViewDraws, *, image_size: int) -> Tensor:
    """Return the views that `draws` describes.

    Args:
        images: Images (N, C, H, W), stored as uint8 or uint16, or floating point in [0, 1].
        draws: Random parameters of k N views: those of all images for the first view, then for the next.
        image_size: Side of the square views, in pixels.

    Returns:
        Views (k N, C, image_size, image_size) in [0, 1]; float32 from the compiled CPU kernel.
    """
    stored = not images.is_floating_point()
    if stored and available() and images.device.type == "cpu" and torch.get_default_dtype() == torch.float32:
        from trainables.augment.numba_kernel import view as compiled_view

        return compiled_view(images, draws, image_size=image_size)
    if len(draws) > len(images):
        images = images.repeat(len(draws) // len(images), 1, 1, 1)
    if stored:
        images = unit_interval(images)
    mirrored = np.stack([draws.vertical_flip, draws.flip], axis=1)
    view = crop_and_resize(images, draws.boxes, image_size, mirrored)
    view = quarter_turns(view, draws.quarter_turns)
    view = jitter_colours(
        view, draws.factors, draws.order, draws.jitter, band_factors=draws.band_factors, colours=draws.colours
    )
    if (colours := draws.colours) is not None:
        view = apply_where(draws.grayscale, view, lambda chosen: grayscale(chosen, colours))
    view = view.clamp(0.0, 1.0)
    if (radius := image_size // 10 // 2) > 0:
        view = apply_where(
            draws.blur, view, lambda chosen: gaussian_blur(chosen, draws.sigma[draws.blur], radius).clamp(0.0, 1.0)
        )
    if draws.dropped.shape[1] == 0:
        return view
    return view.masked_fill(to_device(torch.from_numpy(draws.dropped), view.device)[..., None, None], 0.0)
