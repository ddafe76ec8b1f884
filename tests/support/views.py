"""Images and draws of views for tests."""

import numpy as np
import torch
from torch import Tensor

from trainables.augment.parameters import ViewDraws, draw_view
from trainables.config import TrialConfig
from trainables.randomness.counter_based import RandomStream

PLAIN = TrialConfig(flip_probability=0.0, jitter_probability=0.0, grayscale_probability=0.0, blur_probability=0.0)
WHOLE = PLAIN.model_copy(update={"crop_area": (1.0, 1.0), "crop_aspect": (1.0, 1.0)})


def images_u8(seed: int, count: int, height: int, width: int) -> Tensor:
    random = np.random.default_rng(seed)
    return torch.from_numpy(random.integers(0, 256, (count, 3, height, width), dtype=np.uint8))


def unit(pixels: Tensor) -> Tensor:
    return pixels.float() / 255.0


def draws(config: TrialConfig, count: int, *, size: tuple[int, int] = (64, 64), step: int = 3) -> ViewDraws:
    return draw_view(config, RandomStream.VIEW_A, step, count, height=size[0], width=size[1])
