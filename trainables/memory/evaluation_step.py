"""Memory of an evaluation: encoded batches, the sample's views, and features that are fitted and compared."""

import math

from trainables.memory.constants import (
    EVALUATION_BATCH,
    KNN_CHUNK,
    LABEL_FREE_IMAGES,
    LIDAR_IMAGES,
    LIDAR_VIEWS,
    STANDARDISED_CHUNK,
)
from trainables.memory.layer_sizes import BlockSizes
from trainables.memory.simulated_worker import DOUBLE, FLOAT, SimulatedWorker


def evaluate(worker: SimulatedWorker) -> None:
    """Encode batches without gradients, in float32; make views of a sample; fit and compare features."""
    ledger = worker.ledger
    count = _batch_of(worker, max(worker.images.train, worker.images.held_out))
    sample = _batch_of(worker, min(worker.images.held_out, LABEL_FREE_IMAGES))
    worker.make_views(sample)
    with ledger.borrow(FLOAT * count * worker.model.image):
        _infer(worker, FLOAT * count)
    if worker.config.epochs > 0 and worker.config.training == "simclr":
        _compare_views(worker)
    _compare_features(worker)


def _batch_of(worker: SimulatedWorker, images: int) -> int:
    return min(EVALUATION_BATCH, math.ceil(images / worker.workers))


def _infer(worker: SimulatedWorker, unit: float) -> None:
    """Encode one batch with `unit` bytes per element: batch norm out of place, ReLU and sums in place."""
    ledger, model = worker.ledger, worker.model
    stem, pooled = unit * model.stem.outputs, unit * model.pooled
    _infer_layer(worker, stem, 0.0)
    ledger.take(stem)
    if pooled:
        ledger.touch(pooled, DOUBLE / FLOAT * pooled)
        ledger.give(stem)
        ledger.take(pooled)
    for block in model.blocks:
        _infer_block(worker, block, unit)
    ledger.give(unit * model.blocks[-1].layers[-1].outputs)


def _infer_block(worker: SimulatedWorker, block: BlockSizes, unit: float) -> None:
    """Replace the block's input by its output; the shortcut needs the input until the end."""
    ledger, entry, before = worker.ledger, unit * block.layers[0].inputs, 0.0
    for layer in block.layers:
        out = unit * layer.outputs
        _infer_layer(worker, out, unit * layer.inputs)
        ledger.take(out)
        ledger.give(before)
        before = out
    if block.shortcut:
        _infer_layer(worker, before, entry)
        ledger.touch(before)
    ledger.give(entry)


def _infer_layer(worker: SimulatedWorker, out: float, inputs: float) -> None:
    worker.convolve(out, inputs)
    worker.ledger.touch(out, out)


def _compare_views(worker: SimulatedWorker) -> None:
    """Compare the sample's views: ranks and distances in float64, and LiDAR's embeddings of several views.

    Every worker has all of the sample (representation.py, eigenspectrum.py).
    """
    ledger, width, outputs = worker.ledger, worker.model.features, worker.config.projector_output_width
    sample, images = (min(worker.images.held_out, most) for most in (LABEL_FREE_IMAGES, LIDAR_IMAGES))
    with ledger.borrow(FLOAT * sample * width, *[FLOAT * 2 * sample * outputs] * 2):
        wide, rank = max(width, outputs), min(sample, max(width, outputs))
        ledger.touch(DOUBLE * sample * wide, *[DOUBLE * rank**2] * 3)
        ledger.touch(*[DOUBLE * sample * outputs] * 2, *[DOUBLE * sample**2 / 2] * 2)
    embeddings = FLOAT * images * LIDAR_VIEWS * outputs
    with ledger.borrow(embeddings):
        ledger.touch(embeddings)  # of each view, until they are stacked
        wide = DOUBLE * images * LIDAR_VIEWS * outputs
        # In float64, and around each image's mean; the covariance and its factor, the means and what whitens them.
        ledger.touch(wide, wide, *[DOUBLE * outputs**2] * 2, *[DOUBLE * images * outputs] * 3)


def _compare_features(worker: SimulatedWorker) -> None:
    """Standardise train's features for the regression; normalise and gather them for kNN, and multiply."""
    ledger, width = worker.ledger, worker.model.features
    rows = math.ceil(worker.images.train / worker.workers)
    own = FLOAT * rows * width
    with ledger.borrow(own):
        # Of some rows in float64: themselves, their distance from the mean, its square (logistic_regression.py).
        ledger.touch(*[DOUBLE * min(rows, STANDARDISED_CHUNK) * width] * 3)
        if worker.config.target == "number":  # and of ridge regression the products, their sum, and the solver's copy
            ledger.touch(*[DOUBLE * min(rows, STANDARDISED_CHUNK) * width] * 2, *[DOUBLE * width**2] * 3)
        ledger.touch(own)
        everyone = own * worker.workers
        if worker.workers > 1:  # normalised, padded, every worker's, stacked, and in order again
            ledger.touch(own, own, *[everyone] * 3)
        queries = min(math.ceil(worker.images.held_out / worker.workers), KNN_CHUNK)
        ledger.touch(everyone, FLOAT * queries * worker.images.train)
