"""How a trial reads its images: from the map or from the device, 8 bits or 16."""

from pathlib import Path

import numpy as np
import torch
from support.sample_data import write_bigearthnet
from support.small_trials import CPU, LABELS, MULTI, SMALL, changed, final_metrics

from trainables.augment.torch_ops import unit_interval
from trainables.data.preparing.prepare import prepare
from trainables.data.store import ImageStore
from trainables.data.trial_data import TrialData
from trainables.training.device_images import PixelSource, split_bytes


def test_images_copied_to_the_device_are_those_of_the_map(store: ImageStore, tmp_path: Path) -> None:
    source = write_bigearthnet(tmp_path, LABELS * 2)
    prepare("bigearthnet_v1", source=source, root=tmp_path / "out", splits="random", pixels="none", image_size=8)
    wide = TrialData(
        changed(**{**MULTI, "validation_fraction": 0.0, "batch_size": 2}),
        ImageStore.open("bigearthnet_v1", tmp_path / "out"),
    )
    for split in (TrialData(SMALL, store).train, wide.train):
        read, copied = PixelSource(split, CPU), PixelSource(split, CPU)
        copied.copy()
        numbers = np.random.default_rng(0).integers(0, len(split), 50)
        assert torch.equal(read.batch(numbers), copied.batch(numbers))
        assert copied.batch(numbers).shape == (50, 3, *split.store.info.image_size)
        assert split_bytes(split) == len(split) * split.pixels(slice(0, 1)).nbytes


def test_sixteen_bits_become_shares_of_their_range(tmp_path: Path) -> None:
    source = write_bigearthnet(tmp_path, LABELS * 8)
    prepare("bigearthnet_v1", source=source, root=tmp_path / "out", splits="random", pixels="none", image_size=24)
    wide = ImageStore.open("bigearthnet_v1", tmp_path / "out")
    config = changed(**MULTI, normalisation="train")
    data = TrialData(config, wide)
    pixels = data.train.pixels(slice(None)).numpy().astype(np.float64) / 65535
    mean, deviation = data.channel_moments(CPU)
    np.testing.assert_allclose(mean, pixels.mean((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(deviation, pixels.std((0, 2, 3)), rtol=1e-9)
    np.testing.assert_allclose(unit_interval(data.train.pixels(slice(None))).numpy(), pixels, rtol=1e-6)
    assert "test/linear_average_precision_macro" in final_metrics(config, tmp_path / "trial", store=wide)
