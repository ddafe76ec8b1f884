"""Label-free measures of a representation by eigenvalues: the power law of alpha-ReQ, and LiDAR; pure."""

import math

import numpy as np
import torch
from torch import Tensor

FIRST_RANK, LAST_RANK = 4, 100
"""Eigenvalues that the power law is fitted to: the first few and the noisy tail follow none."""
FEWEST_RANKS = 3
NOISE = 1e-10
"""Eigenvalues below this part of the largest are rounding."""
LIDAR_RIDGE = 1e-4
"""The delta of the paper, added to the within-image covariance."""


def alpha_req(features: Tensor) -> float:
    """Return the exponent alpha of the power law lambda_i ~ i^-alpha of the eigenvalues of the features' covariance.

    Agrawal et al. 2022 (alpha-ReQ, NeurIPS): features generalise best at alpha near 1; a larger alpha means
    few directions, a smaller one variance spread over noise. Alpha is the negative slope of a line through log lambda
    over log i, fitted for the ranks FIRST_RANK to LAST_RANK with weights 1 / i (Stringer et al. 2019). The features are
    (N, F). NaN if fewer than FEWEST_RANKS eigenvalues are left, or if the features aren't finite.
    """
    wide = features.double()
    if len(wide) < 2 or not torch.isfinite(wide).all():
        return math.nan
    centred = wide - wide.mean(0)
    gram = centred.T @ centred if centred.shape[0] > centred.shape[1] else centred @ centred.T
    values = torch.linalg.eigvalsh(gram).flip(0).cpu().numpy()
    count = int((values > NOISE * values[0]).sum()) if values[0] > 0 else 0
    ranks = np.arange(FIRST_RANK, min(count, LAST_RANK) + 1)
    if len(ranks) < FEWEST_RANKS:
        return math.nan
    # polyfit squares its weights.
    slope, _ = np.polyfit(np.log(ranks), np.log(values[ranks - 1]), 1, w=ranks**-0.5)
    return float(-slope)


def lidar(embeddings: Tensor) -> float:
    """Return LiDAR of (N, q, D) embeddings of q views of N images: the effective rank of a linear discriminant.

    Thilak et al. 2023, arXiv 2312.04000, equations 1 to 4: exp of the entropy of the eigenvalues' shares of
    S_w^-1/2 S_b S_w^-1/2, with S_b the covariance of the images' means, and S_w that of views around their image's mean
    plus LIDAR_RIDGE on the diagonal. Between 1 and min(N - 1, D); NaN for one image, one view, or infinite values.
    """
    wide = embeddings.double()
    images, views, width = wide.shape
    if images < 2 or views < 2 or not torch.isfinite(wide).all():
        return math.nan
    means = wide.mean(1)
    around = (wide - means[:, None]).reshape(-1, width)
    between = means - means.mean(0)
    within = around.T @ around / len(around)
    within.diagonal().add_(LIDAR_RIDGE)
    # With S_w = L L', L^-1 S_b L^-T has the same eigenvalues as the symmetric form.
    whitened = torch.linalg.solve_triangular(torch.linalg.cholesky(within), between.T, upper=False)
    small = whitened @ whitened.T if images > width else whitened.T @ whitened
    values = torch.linalg.eigvalsh(small).clamp_min(0.0)
    shares = values / values.sum().clamp_min(torch.finfo(torch.float64).tiny)
    return float(torch.special.entr(shares).sum().exp())
