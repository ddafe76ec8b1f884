"""Frozen features of a split; each rank computes its part."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from trainables.augment.evaluation_view import evaluation_view
from trainables.data.data_split import DataSplit
from trainables.distributed import gather_rows, rank, to_device, world_size
from trainables.heartbeat import beat
from trainables.memory.constants import EVALUATION_BATCH


@dataclass(frozen=True)
class RankShard:
    """This rank's part of a split: rows rank, rank + world, ..., so that each image is counted exactly once."""

    features: Tensor
    """(n, F)."""
    targets: Tensor
    """(n,) int64 classes, (n, K) bool labels, or (n,) float64 numbers."""
    total: int
    """Number of images of the split over all ranks."""
    weights: Tensor | None = None
    """(n,) or (n, K): weights in a fit; None: equal weights."""


@torch.no_grad()
def encode(encoder: nn.Module, split: DataSplit, *, image_size: int, device: torch.device) -> RankShard:
    """Return the frozen features of this rank's part of a split, with batch norm in evaluation mode."""
    was_training = encoder.training
    encoder.eval()
    mine = slice(rank(), None, world_size())
    numbers = np.arange(len(split))[mine]
    # A rank without any image still takes part in the sums.
    nothing = no_features(encoder, split, image_size, device)
    features = nothing.new_empty(len(numbers), nothing.shape[1])
    for start in range(0, len(numbers), EVALUATION_BATCH):
        beat()
        images = to_device(split.pixels(numbers[start : start + EVALUATION_BATCH]), device)
        features[start : start + EVALUATION_BATCH] = encoder(evaluation_view(images, image_size=image_size))
    encoder.train(was_training)
    return RankShard(features, split.targets[mine].to(device), len(split))


def no_features(encoder: nn.Module, split: DataSplit, image_size: int, device: torch.device) -> Tensor:
    """Return empty features (0, F); the width F is found by encoding a black image."""
    return encoder(torch.zeros(1, split.store.info.channels, image_size, image_size, device=device))[:0]  # type: ignore[no-any-return]


def gathered_logits(logits: Tensor, shard: RankShard) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return all ranks' logits (total, K) and classes (total,)."""
    both = gather_rows(torch.cat([logits.double(), shard.targets[:, None].double()], dim=1), shard.total).cpu().numpy()
    return both[:, :-1], both[:, -1].astype(np.int64)


def gathered_numbers(predicted: Tensor, shard: RankShard) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Gather this rank's predictions (n, 1) and true numbers from all ranks; return both, (total,) each."""
    both = gather_rows(torch.cat([predicted.double(), shard.targets.double()[:, None]], dim=1), shard.total)
    values = both.cpu().numpy()
    return values[:, 0], values[:, 1]
