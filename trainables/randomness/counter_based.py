"""Counter-based random numbers: a pure function of (seed, stream, index), the same on every rank and every machine.

Philox 4x64 (Salmon et al. 2011) is addressed by key and counter, so a restarted run, or one with other workers, draws
the same numbers. This module converts raw words to numbers itself, since numpy guarantees a stable stream only for the
bit generator and not for the distributions.
"""

import math
from enum import IntEnum
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

try:
    from scipy.special import ndtr, ndtri
except ModuleNotFoundError:  # a machine with PyTorch alone
    from trainables.randomness.torch_normal import ndtr, ndtri


class RandomStream(IntEnum):
    """Purpose of random numbers; numbers of different streams never overlap."""

    PERMUTATION = 1
    VIEW_A = 2
    VIEW_B = 3
    WEIGHTS = 4
    HELD_OUT_VIEW_A = 5
    HELD_OUT_VIEW_B = 6
    PROBE = 7
    SEASON = 8


def random_words(seed: int, stream: RandomStream, index: int, count: int, *, block: int = 0) -> NDArray[np.uint64]:
    """Return `count` uniform 64-bit words of (seed, stream, index, block)."""
    generator = np.random.Philox(key=[seed, int(stream)], counter=[0, block, index, 0])
    return generator.random_raw(count)


def uniform(
    seed: int, stream: RandomStream, index: int, shape: tuple[int, ...], *, block: int = 0
) -> NDArray[np.float64]:
    """Return float64 numbers in [0, 1) with 53 random bits, of the given shape."""
    words = random_words(seed, stream, index, int(np.prod(shape)), block=block)
    return (words >> np.uint64(11)).astype(np.float64).reshape(shape) * 2.0**-53


def normal(
    seed: int, stream: RandomStream, index: int, shape: tuple[int, ...], *, block: int = 0, cut: float = math.inf
) -> NDArray[np.float64]:
    """Return standard normal numbers of the given shape, by the inverse distribution function.

    With `cut` the distribution is truncated to [-cut, cut], so its standard deviation is below 1.
    """
    low, high = ndtr(-cut), ndtr(cut)
    # The middle of each of the 2^53 steps, so that 0 and 1 are never asked for.
    numbers: NDArray[np.float64] = ndtri(
        low + (high - low) * (uniform(seed, stream, index, shape, block=block) + 2.0**-54)
    )
    return numbers


@lru_cache(maxsize=2)
def permutation(seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    """Return the order of `count` examples in an epoch (1-based), uniform over all orders; read-only."""
    order = np.argsort(random_words(seed, RandomStream.PERMUTATION, epoch, count), kind="stable").astype(np.int64)
    order.flags.writeable = False
    return order


def positions(seed: int, first: int, count: int, num_examples: int) -> NDArray[np.int64]:
    """Return `count` entries of the concatenated epoch permutations, from position `first`; shape (count,)."""
    taken: list[NDArray[np.int64]] = []
    position, end = first, first + count
    while position < end:
        epoch, offset = divmod(position, num_examples)
        piece = permutation(seed, epoch + 1, num_examples)[offset : offset + end - position]
        taken.append(piece)
        position += len(piece)
    return np.concatenate(taken)
