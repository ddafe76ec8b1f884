"""Random convolutional features beside a slow loop over every place of an image."""

import numpy as np
import torch

from search_spaces.eurosat_bands import SPACE
from sweep.planning.plan import make_plan
from sweep.planning.trial import DataSize
from trainables.models.random_features import BIAS, PATCHES, RandomFeatures, random_patches, whitened

IMAGES = torch.rand(12, 4, 9, 8, generator=torch.Generator().manual_seed(0)).double()


def test_features_are_the_means_of_what_each_filter_finds() -> None:
    features = RandomFeatures(IMAGES, seed=3)
    found = features(IMAGES[:2]).numpy()
    assert found.shape == (2, 2 * PATCHES)
    filters, image = features.filters.numpy(), IMAGES[1].numpy()
    answers = [
        [(filters[k] * image[:, y : y + 3, x : x + 3]).sum() for y in range(7) for x in range(6)] for k in (0, 17)
    ]
    for place, k in enumerate((0, 17)):
        own = np.array(answers[place])
        np.testing.assert_allclose(found[1, k], np.maximum(own - BIAS, 0).mean(), atol=1e-9)
        np.testing.assert_allclose(found[1, PATCHES + k], np.maximum(-own - BIAS, 0).mean(), atol=1e-9)


def test_filters_are_patches_of_the_images_without_correlation() -> None:
    patches = random_patches(IMAGES, 3)
    windows = IMAGES.unfold(2, 3, 1).unfold(3, 3, 1).permute(0, 2, 3, 1, 4, 5).reshape(-1, 36)
    assert torch.cdist(patches, windows).min(dim=1).values.max() < 1e-6
    assert not torch.equal(patches, random_patches(IMAGES, 4))
    mixed = torch.randn(400, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) @ torch.tensor(
        np.random.default_rng(0).normal(size=(6, 6))
    )
    white = whitened(mixed)
    correlation = torch.corrcoef(white.T) - torch.eye(6)
    assert correlation.abs().max() < 0.15 < (torch.corrcoef(mixed.T) - torch.eye(6)).abs().max()


def test_the_space_of_bands_has_its_baselines_for_each_set() -> None:
    size = DataSize(21_600, 5_400, 10, "aa", "prepared", channels=13)
    plan = make_plan(SPACE, assignments={}, size_of=lambda _: size)
    settings = [trial for trial in plan.trials if trial.baseline is None]
    assert len(settings) == 12
    assert {len(trial.config.bands) or 13 for trial in settings} == {3, 4, 10, 13}
    random = [trial for trial in plan.trials if trial.baseline == "random_features"]
    assert {trial.config.bands for trial in random} == {trial.config.bands for trial in settings}
