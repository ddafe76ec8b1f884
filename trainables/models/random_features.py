"""Random convolutional features, a baseline without training (Coates and Ng 2011; TorchGeo's RCF)."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from trainables.randomness import RandomStream, uniform

PATCHES = 256
"""Number of filters; each gives two features, its positive and its negative response."""
SIDE = 3
BIAS = 1.0
"""Threshold of a filter's response, in standard deviations of the whitened patches."""
FLOOR = 1e-6


class RandomFeatures(nn.Module):
    """Random features (N, 2K) of images (N, C, H, W): means of ReLU(r - 1) and ReLU(-r - 1) of K filter responses."""

    filters: Tensor
    """Filters (K, C, 3, 3)."""

    def __init__(self, images: Tensor, seed: int) -> None:
        """Draw the filters from images.

        Args:
            images: Images (N, C, H, W) in [0, 1], whose patches are whitened by their moments.
            seed: Seed of the patches.
        """
        super().__init__()
        patches = random_patches(images, seed)
        self.register_buffer("filters", whitened(patches).to(images.dtype).view(-1, images.shape[1], SIDE, SIDE))

    def forward(self, images: Tensor) -> Tensor:
        """Return the features (N, 2K) of images (N, C, H, W)."""
        answers = functional.conv2d(images, self.filters)
        halves = (answers - BIAS, -answers - BIAS)
        return torch.cat([functional.relu(half).mean(dim=(2, 3)) for half in halves], dim=1)


def random_patches(images: Tensor, seed: int) -> Tensor:
    """Return random patches (PATCHES, C * 9), float64, at positions drawn by the seed."""
    count, _, height, width = images.shape
    numbers = uniform(seed, RandomStream.WEIGHTS, 0, (PATCHES, 3))
    limits: NDArray[np.int64] = np.array([count, height - SIDE + 1, width - SIDE + 1])
    places = np.floor(numbers * limits).astype(np.int64).tolist()
    return torch.stack([images[n, :, y : y + SIDE, x : x + SIDE].flatten() for n, y, x in places]).double()


def whitened(patches: Tensor) -> Tensor:
    """Return ZCA-whitened patches (K, D), without correlation and with variance 1, each divided by its norm."""
    centred = patches - patches.mean(dim=0)
    variances, axes = torch.linalg.eigh(centred.T @ centred / len(centred))
    white = centred @ (axes * (variances + FLOOR + 0.01 * variances.mean()).rsqrt()) @ axes.T
    return functional.normalize(white, dim=1, eps=FLOOR)
