"""Cost of evaluation: beside the encoder alone, and of kNN beside the epoch before it.

    python -m benchmarks.rows.evaluation
    python -m benchmarks.rows.evaluation --encoders resnet18 --images 2560 --queries 1024      # shorter

Synthetic images of 64 px. Evaluation reads uint8 images and computes evaluation views, features, and the metrics of the
probe's logits; beside it, in alternating pieces, the same encoder on float batches made before. kNN compares held-out
images with all train images; beside it an epoch of training on these, by its steps. Output: a table, and JSON as the
last line.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from benchmarks.harness.made_up import MadeUpStore
from trainables.augment.evaluation_view import evaluation_view
from trainables.config import TrialConfig
from trainables.data.data_split import DataSplit
from trainables.distributed import to_device
from trainables.evaluation.classification import classification_metrics
from trainables.evaluation.features import RankShard, encode
from trainables.evaluation.knn import knn_scores
from trainables.memory.constants import EVALUATION_BATCH
from trainables.memory.simulated_worker import ImageShape
from trainables.storage.filesystem import Storage
from trainables.storage.trial_files import TrialFiles
from trainables.training.trial import TrialTrainer

SIDE, CLASSES = 64, 10
IMAGES, QUERIES, BANK = 10_000, 10_000, 100_000
PIECE = 5 * EVALUATION_BATCH
BATCH, STEPS = 128, 3
NEIGHBOURS = (20, 200)
ENCODERS = ("resnet18", "resnet50")


def measure(
    *, encoders: Sequence[str] = ENCODERS, images: int = IMAGES, queries: int = QUERIES, bank: int = BANK
) -> dict[str, dict[str, float]]:
    """Return seconds and ratios by encoder.

    Args:
        encoders: Names of the encoders.
        images: Number of evaluated images.
        queries: Number of held-out images that kNN compares with the bank; its time is scaled to QUERIES.
        bank: Number of train images.
    """
    return {encoder: _of(encoder, images, queries, bank) for encoder in encoders}


def _of(encoder: str, images: int, queries: int, bank: int) -> dict[str, float]:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    config = TrialConfig.parse({"dataset": "made-up", "encoder": encoder, "image_size": SIDE, "batch_size": BATCH})
    store: Any = MadeUpStore(SIDE, ImageShape(CLASSES, train=4 * BATCH, held_out=images))
    with tempfile.TemporaryDirectory() as folder:
        trial = TrialTrainer(config, store=store, files=TrialFiles(Storage.at(folder)), device=device)
    found = _encoding(trial, trial.data.test)
    found |= _neighbours(trial.model.encoder.output_width, queries, bank, device)
    found["epoch_seconds"] = bank / BATCH * _step(trial)
    found["knn_ratio"] = found["knn_seconds"] / found["epoch_seconds"]
    return found


def _encoding(trial: TrialTrainer, split: DataSplit) -> dict[str, float]:
    """Evaluate in pieces, in turns with encoding the same images as float batches."""
    sums = {"evaluate_seconds": 0.0, "forward_seconds": 0.0}
    encode(
        trial.encoder, split.part(np.arange(min(EVALUATION_BATCH, len(split)))), image_size=SIDE, device=trial.device
    )
    for start in range(0, len(split), PIECE):
        piece = split.part(np.arange(start, min(start + PIECE, len(split))))
        batches = [
            evaluation_view(to_device(piece.pixels(numbers), trial.device), image_size=SIDE)
            for numbers in np.array_split(np.arange(len(piece)), range(EVALUATION_BATCH, len(piece), EVALUATION_BATCH))
        ]
        sums["forward_seconds"] += _seconds(lambda batches=batches: _forward(trial, batches))
        sums["evaluate_seconds"] += _seconds(lambda piece=piece: _evaluate(trial, piece))
    return {**sums, "evaluate_ratio": sums["evaluate_seconds"] / sums["forward_seconds"]}


@torch.no_grad()
def _forward(trial: TrialTrainer, batches: list[torch.Tensor]) -> None:
    trial.encoder.eval()
    for batch in batches:
        trial.encoder(batch)


@torch.no_grad()
def _evaluate(trial: TrialTrainer, split: DataSplit) -> None:
    shard = encode(trial.encoder, split, image_size=SIDE, device=trial.device)
    classification_metrics(trial.model.probe(shard.features), shard, None)


def _neighbours(width: int, queries: int, bank: int, device: torch.device) -> dict[str, float]:
    """Time kNN on clustered features."""
    train, held_out = (_features(count, width, device) for count in (bank, queries))
    seconds = _seconds(lambda: knn_scores(train, held_out, classes=CLASSES, neighbours=NEIGHBOURS, temperature=0.07))
    return {"knn_seconds": QUERIES / queries * seconds}


def _features(count: int, width: int, device: torch.device) -> RankShard:
    generator = torch.Generator().manual_seed(count)
    targets = torch.randint(0, CLASSES, (count,), generator=generator)
    features = torch.randn(count, width, generator=generator).add_(0.3 * targets[:, None]).relu_()
    return RankShard(features.to(device), targets.to(device), count)


def _step(trial: TrialTrainer) -> float:
    """Return the median seconds of a step, without the first."""
    trial.model.train()
    times = [_seconds(lambda step=step: trial._step(step, 1e-3)) for step in range(STEPS + 1)]
    return statistics.median(times[1:])


def _seconds(call: Callable[[], object]) -> float:
    begin = time.perf_counter()
    call()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - begin


def main() -> None:
    """Measure the encoders of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoders", nargs="+", default=ENCODERS)
    parser.add_argument("--images", type=int, default=IMAGES)
    parser.add_argument("--queries", type=int, default=QUERIES)
    parser.add_argument("--bank", type=int, default=BANK)
    options = parser.parse_args()
    found = measure(encoders=options.encoders, images=options.images, queries=options.queries, bank=options.bank)
    print("| encoder | evaluating | beside | ratio | kNN | epoch | ratio |\n" + "|---" * 7 + "|")
    for encoder, row in found.items():
        print(
            f"| {encoder} | {row['evaluate_seconds']:.2f} s | {row['forward_seconds']:.2f} s | "
            f"{row['evaluate_ratio']:.3f} | {row['knn_seconds']:.1f} s | {row['epoch_seconds']:,.0f} s | "
            f"{row['knn_ratio']:.4f} |"
        )
    print(json.dumps(found))


if __name__ == "__main__":
    main()
