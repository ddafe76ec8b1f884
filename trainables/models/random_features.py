"""Random convolutional features, a baseline without training (Coates and Ng 2011)."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from trainables.randomness.counter_based import RandomStream, uniform

FILTERS = 256
"""Number of filters; each gives two features, its positive and its negative response."""
PATCHES = 4096
"""Number of patches that whitening is computed from; the first FILTERS of them are the filters."""
SIDE = 3
BIAS = 1.0
"""Threshold of a filter's response, in standard deviations of the whitened patches."""
FLOOR = 1e-6


class RandomFeatures(nn.Module):
    """Random features (N, 2K) of images (N, C, H, W): means of ReLU(r - 1) and ReLU(-r - 1) of K filter responses.

    A response is the product of a whitened patch of the image with a filter, which is such a patch of norm 1. Unlike in
    the paper, patches aren't divided by their own contrast before, since bands are compared by their values.
    """

    filters: Tensor
    """Kernels (K, C, 3, 3) that whiten a patch and multiply it with a filter."""
    bias: Tensor
    """(K,): what the mean patch gives, which is subtracted."""

    def __init__(self, images: Tensor, seed: int) -> None:
        """Draw the filters from images.

        Args:
            images: Images (N, C, H, W), whose patches are whitened by their moments.
            seed: Seed of the patches.
        """
        super().__init__()
        patches = random_patches(images, seed)
        mean, whitening = patch_moments(patches)
        directions = functional.normalize((patches[:FILTERS] - mean) @ whitening, dim=1, eps=FLOOR)
        kernels = directions @ whitening  # which is symmetric
        self.register_buffer("filters", kernels.to(images.dtype).view(-1, images.shape[1], SIDE, SIDE))
        self.register_buffer("bias", (kernels @ mean).to(images.dtype))

    def forward(self, images: Tensor) -> Tensor:
        """Return the features (N, 2K) of images (N, C, H, W)."""
        responses = functional.conv2d(images, self.filters, -self.bias)
        halves = (responses - BIAS, -responses - BIAS)
        return torch.cat([functional.relu(half).mean(dim=(2, 3)) for half in halves], dim=1)


def random_patches(images: Tensor, seed: int) -> Tensor:
    """Return random patches (PATCHES, C * 9), float64, at positions drawn by the seed."""
    count, _, height, width = images.shape
    numbers = uniform(seed, RandomStream.WEIGHTS, 0, (PATCHES, 3))
    limits: NDArray[np.int64] = np.array([count, height - SIDE + 1, width - SIDE + 1])
    places = np.floor(numbers * limits).astype(np.int64)
    rows = places[:, 1, None, None] + np.arange(SIDE)[:, None]
    columns = places[:, 2, None, None] + np.arange(SIDE)
    found = images[places[:, 0, None, None], :, rows, columns]  # (PATCHES, 3, 3, C)
    return found.permute(0, 3, 1, 2).flatten(1).double()


def patch_moments(patches: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean (D,) of patches (K, D), and the symmetric matrix (D, D) that whitens them around it (ZCA).

    Whitened patches are without correlation and have a variance of 1, a little less in directions of small variance.
    """
    mean = patches.mean(dim=0)
    centred = patches - mean
    variances, axes = torch.linalg.eigh(centred.T @ centred / len(centred))
    variances = variances.clamp_min(0.0)
    return mean, (axes * (variances + 0.01 * variances.mean() + torch.finfo(torch.float64).tiny).rsqrt()) @ axes.T
