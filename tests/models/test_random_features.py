"""Random convolutional features beside a slow loop over every place of an image."""

from pathlib import Path

import numpy as np
import pytest
import torch

from search_spaces.eurosat_bands import SPACE
from sweep.planning.plan import make_plan
from sweep.planning.trial import DataSize
from trainables.config import TrialConfig
from trainables.data.store import ImageStore
from trainables.models.random_features import BIAS, FILTERS, RandomFeatures, patch_moments, random_patches
from trainables.storage.filesystem import Storage
from trainables.storage.trial_files import TrialFiles
from trainables.training.trial import train

IMAGES = torch.rand(12, 4, 9, 8, generator=torch.Generator().manual_seed(0)).double()


def test_features_are_the_means_of_what_each_filter_finds_in_whitened_patches() -> None:
    """Coates and Ng 2011: whiten every patch, multiply it with each filter, and apply the threshold."""
    features, patches = RandomFeatures(IMAGES, seed=3), random_patches(IMAGES, 3).numpy()
    found = features(IMAGES[:2]).numpy()
    assert found.shape == (2, 2 * FILTERS)
    mean, centred = patches.mean(0), patches - patches.mean(0)
    values, axes = np.linalg.eigh(centred.T @ centred / len(centred))
    whitening = axes @ np.diag((values + 0.01 * values.mean()) ** -0.5) @ axes.T
    image = IMAGES[1].numpy()
    white = [whitening @ (image[:, y : y + 3, x : x + 3].ravel() - mean) for y in range(7) for x in range(6)]
    for k in (0, 17, FILTERS - 1):
        drawn = whitening @ (patches[k] - mean)
        own = np.array([one @ drawn / np.linalg.norm(drawn) for one in white])
        np.testing.assert_allclose(found[1, k], np.maximum(own - BIAS, 0).mean(), atol=1e-9)
        np.testing.assert_allclose(found[1, FILTERS + k], np.maximum(-own - BIAS, 0).mean(), atol=1e-9)


@pytest.mark.parametrize(("factor", "shift"), [(1.0, 0.0), (1e-3, 0.0), (1.0, 5.0)])
def test_smooth_images_of_any_scale_give_features_that_arent_zero(factor: float, shift: float) -> None:
    """Whitened patches have a variance of 1, so every filter's threshold is passed at some place."""
    random = torch.randn(40, 3, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    smooth = torch.nn.functional.interpolate(0.5 + 0.1 * random, size=24, mode="bicubic")
    images = factor * smooth + shift
    found = RandomFeatures(images, seed=0)(images)
    assert (found > 0).any(dim=0).all()
    torch.testing.assert_close(found, RandomFeatures(smooth, seed=0)(smooth), rtol=1e-6, atol=1e-6)


def test_a_constant_band_and_constant_images_give_finite_features() -> None:
    images = IMAGES.clone()
    images[:, 2] = 0.25
    assert torch.isfinite(RandomFeatures(images, seed=0)(images)).all()
    assert torch.equal(
        RandomFeatures(0 * IMAGES + 0.25, seed=0)(IMAGES * 0 + 0.25), torch.zeros(12, 2 * FILTERS).double()
    )


def test_patches_are_those_of_the_images_and_whitened_without_correlation() -> None:
    patches = random_patches(IMAGES, 3)
    windows = IMAGES.unfold(2, 3, 1).unfold(3, 3, 1).permute(0, 2, 3, 1, 4, 5).reshape(-1, 36)
    assert torch.cdist(patches[:200], windows).min(dim=1).values.max() < 1e-6
    assert not torch.equal(patches, random_patches(IMAGES, 4))
    mixed = torch.randn(400, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) @ torch.tensor(
        np.random.default_rng(0).normal(size=(6, 6))
    )
    mean, whitening = patch_moments(mixed)
    correlation = torch.corrcoef(((mixed - mean) @ whitening).T) - torch.eye(6)
    assert correlation.abs().max() < 0.15 < (torch.corrcoef(mixed.T) - torch.eye(6)).abs().max()


def test_the_baseline_draws_its_filters_from_normalised_images(store: ImageStore, tmp_path: Path) -> None:
    config = {"dataset": "digits", "encoder": "random_features", "epochs": 0, "image_size": 8, "max_train_images": 300}
    found = {}
    for normalisation in ("none", "train"):
        own = TrialConfig.parse({**config, "normalisation": normalisation})
        files = TrialFiles(Storage.at(tmp_path / normalisation))
        (record,) = train(own, store=store, files=files, device=torch.device("cpu"))
        found[normalisation] = record.metrics["test/linear_top1"]
    assert min(found.values()) > 0.9
    assert abs(found["none"] - found["train"]) < 0.01


def test_features_of_whitened_patches_are_another_trial() -> None:
    """Earlier versions multiplied the filters with unwhitened patches; ids of other encoders stay."""
    ids = {name: TrialConfig(encoder=name, epochs=0).trial_id("data") for name in ("random_features", "colours")}
    assert ids["colours"] == "cb87c6331100"
    assert ids["random_features"] != "42da64859f45"


def test_the_space_of_bands_has_its_baselines_for_each_set() -> None:
    size = DataSize(21_600, 5_400, 10, "aa", "prepared", channels=13)
    plan = make_plan(SPACE, assignments={}, size_of=lambda _: size)
    settings = [trial for trial in plan.trials if trial.baseline is None]
    assert len(settings) == 12
    assert {len(trial.config.bands) or 13 for trial in settings} == {3, 4, 10, 13}
    random = [trial for trial in plan.trials if trial.baseline == "random_features"]
    assert {trial.config.bands for trial in random} == {trial.config.bands for trial in settings}
