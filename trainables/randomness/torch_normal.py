"""Normal distribution function and its inverse by PyTorch, for installations without scipy.

Both libraries compile Cephes' code, PyTorch with fused multiply-adds. Of 50 million numbers of `randomness.normal`,
19 % differ from scipy's, by at most 1.6e-15. Weights are rounded to float32, where none of the 50 million differed.
"""

import numpy as np
import torch
from numpy.typing import NDArray


def ndtr(bound: float) -> float:
    """Return the standard normal distribution function at `bound`."""
    return float(torch.special.ndtr(torch.tensor(bound, dtype=torch.float64)))


def ndtri(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the standard normal quantiles of these shares (0 to 1, any shape)."""
    bounds: NDArray[np.float64] = torch.special.ndtri(torch.from_numpy(shares)).numpy()
    return bounds
