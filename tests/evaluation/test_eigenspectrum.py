"""alpha-ReQ and LiDAR against slow oracles, closed forms and what must not change them."""

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.linalg import fractional_matrix_power
from torch import Tensor

from trainables.evaluation.eigenspectrum import LIDAR_RIDGE, alpha_req, lidar


def rows_with_spectrum(values: NDArray[np.float64], count: int, seed: int = 0) -> Tensor:
    """Return (count, D) rows without mean, whose covariance has exactly these eigenvalues, turned at random."""
    random = np.random.default_rng(seed)
    noise = random.normal(size=(count, len(values)))
    scores, _ = np.linalg.qr(noise - noise.mean(0))
    turn, _ = np.linalg.qr(random.normal(size=(len(values), len(values))))
    return torch.from_numpy((scores * np.sqrt(values)) @ turn.T)


@pytest.mark.parametrize("alpha", [0.4, 1.0, 2.5])
@pytest.mark.parametrize(("width", "count"), [(60, 200), (150, 400)])
def test_alpha_of_an_exact_power_law(alpha: float, width: int, count: int) -> None:
    rows = rows_with_spectrum(np.arange(1.0, width + 1) ** -alpha, count)
    assert alpha_req(rows) == pytest.approx(alpha, rel=1e-6)
    assert alpha_req(7.0 * rows + 3.0) == pytest.approx(alpha, rel=1e-6)
    assert alpha_req(rows[torch.randperm(count)]) == pytest.approx(alpha, rel=1e-6)


def test_alpha_is_the_weighted_line_of_the_reference() -> None:
    """By the normal equations of Stringer et al.'s code, of NumPy's covariance, ranks 4 to 100 of 120."""
    rows = np.random.default_rng(1).normal(size=(300, 120)) @ np.diag(np.random.default_rng(2).uniform(0.1, 3, 120))
    values = np.sort(np.linalg.eigvals(np.cov(rows.T)).real)[::-1]
    ranks = np.arange(4, 101)
    x = np.stack([-np.log(ranks), np.ones(len(ranks))], axis=1)
    weights = (1.0 / ranks)[:, None]
    slope, _ = np.linalg.solve(x.T @ (x * weights), (weights * x).T @ np.log(values[ranks - 1]))
    assert alpha_req(torch.from_numpy(rows)) == pytest.approx(slope, rel=1e-9)


def test_alpha_of_too_few_directions_and_of_no_numbers_is_nan() -> None:
    assert math.isnan(alpha_req(torch.ones(20, 8)))
    assert math.isnan(alpha_req(rows_with_spectrum(np.ones(5), 20)))
    assert math.isfinite(alpha_req(rows_with_spectrum(np.arange(6.0, 0, -1), 20)))
    assert math.isnan(alpha_req(torch.full((20, 8), torch.nan)))
    assert math.isnan(alpha_req(torch.ones(1, 8)))


def slow_lidar(embeddings: NDArray[np.float64]) -> float:
    """By loops and the symmetric square root, as the paper writes it."""
    images, views, width = embeddings.shape
    grand = embeddings.reshape(-1, width).mean(0)
    between, within = np.zeros((width, width)), np.zeros((width, width))
    for image in embeddings:
        mean = image.mean(0)
        between += np.outer(mean - grand, mean - grand) / images
        for view in image:
            within += np.outer(view - mean, view - mean) / (images * views)
    root = fractional_matrix_power(within + LIDAR_RIDGE * np.eye(width), -0.5)
    values = np.linalg.eigvalsh(root @ between @ root)
    shares = values[values > 1e-12] / values.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


@pytest.mark.parametrize(("images", "views", "width"), [(40, 3, 6), (5, 8, 12)])
def test_lidar_against_loops(images: int, views: int, width: int) -> None:
    random = np.random.default_rng(3)
    embeddings = random.normal(size=(images, 1, width)) * random.uniform(0.2, 2, width)
    embeddings = embeddings + 0.3 * random.normal(size=(images, views, width))
    assert lidar(torch.from_numpy(embeddings)) == pytest.approx(slow_lidar(embeddings), rel=1e-6)


def test_lidar_counts_the_directions_that_tell_images_apart_evenly() -> None:
    for rank in (1, 3, 8):
        means = rows_with_spectrum(np.r_[np.ones(rank), np.zeros(10 - rank)], 50)
        views = torch.from_numpy(np.random.default_rng(4).normal(size=(1, 40, 10)))
        views = (views - views.mean(1, keepdim=True)) @ torch.linalg.inv(torch.linalg.qr(views[0]).R)  # round
        # The same views around each image: within is even in all directions.
        views = views - views.mean(1, keepdim=True)
        found = lidar(means[:, None] + views)
        assert found == pytest.approx(slow_lidar((means[:, None] + views).numpy()), rel=1e-6)
        assert found == pytest.approx(rank, rel=0.1)


def test_lidar_does_not_depend_on_linear_maps_beyond_its_ridge() -> None:
    random = np.random.default_rng(5)
    embeddings = torch.from_numpy(100 * (random.normal(size=(60, 1, 5)) + random.normal(size=(60, 4, 5))))
    turned = embeddings @ torch.from_numpy(random.normal(size=(5, 5))) + 9.0
    assert lidar(turned) == pytest.approx(lidar(embeddings), rel=1e-3)


def test_lidar_of_one_image_one_view_or_no_numbers_is_nan() -> None:
    for shape in ((1, 4, 3), (4, 1, 3)):
        assert math.isnan(lidar(torch.rand(shape)))
    assert math.isnan(lidar(torch.full((4, 4, 3), torch.inf)))
    assert lidar(torch.ones(4, 4, 3)) == 1.0
