"""Made-up features of an encoder: clusters, one for each class, as the rows of one process."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from trainables.evaluation.features import RankShard


def shard(features: NDArray[Any], targets: NDArray[Any]) -> RankShard:
    return RankShard(torch.from_numpy(features), torch.from_numpy(targets.astype(np.int64)), len(targets))


def softmax(logits: NDArray[Any]) -> NDArray[Any]:
    exponentials = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(1, keepdims=True))


def clusters(seed: int, count: int, *, classes: int = 4, width: int = 5, spread: float = 1.0) -> RankShard:
    centres = np.random.default_rng(99).normal(size=(classes, width))
    random = np.random.default_rng(seed)
    targets = random.integers(0, classes, count)
    return shard(centres[targets] + spread * random.normal(size=(count, width)), targets)
