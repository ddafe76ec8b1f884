"""Estimate of a worker's peak memory: a step and an evaluation simulated block by block.

The simulation follows the training loop (training/trial.py). A plain sum would be wrong: when the gradients of the
first and largest feature maps exist, the maps of later layers are already freed. benchmarks/memory.py measures the
same peak. Planning imports this module, so it imports nothing heavy.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from trainables.config import UNTRAINABLE, TrialConfig
from trainables.memory.constants import (
    EVALUATION_BATCH,
    KNN_CHUNK,
    LABEL_FREE_IMAGES,
    LIDAR_IMAGES,
    LIDAR_VIEWS,
    STANDARDISED_CHUNK,
    TILES,
    WHOLE_ROWS,
)
from trainables.memory.layer_sizes import BlockSizes, LayerSize, LayerSizes, footprint
from trainables.memory.ledger import Device, MemoryLedger
from trainables.memory.recomputation import segments, stem_parts

FLOAT, DOUBLE, HALF = 4, 8, 2
INDIFFERENT = {"dataset": "", "seed": 0, "temperature": 1.0, "base_learning_rate": 1.0, "weight_decay": 0.0}
"""Fields that spaces vary and that don't affect memory."""
CPU_PROCESS_BYTES = 468 * 2**20
"""Private memory of Python, torch and scikit-learn, without shared file mappings; measured by benchmarks/memory.py."""
CUDA_CONTEXT_BYTES = 600 * 2**20
"""Memory of CUDA and its libraries besides torch's allocator: a guess, not measured yet.

`python -m benchmarks.memory --device cuda` prints it as "process".

Workspaces of convolutions and gaps of the allocator on a GPU weren't measured either.
"""


@dataclass(frozen=True)
class ImageShape:
    """Facts about the data that the memory estimate needs; the defaults stand for an evaluation of one batch."""

    classes: int = 1000
    train: int = EVALUATION_BATCH
    """Number of train images whose features are stored for kNN and logistic regression."""
    held_out: int = EVALUATION_BATCH
    side: int | None = None
    """Side of the stored images in pixels; None: the side of the views."""
    channels: int = 3


def peak_bytes(
    config: TrialConfig, images: ImageShape, *, workers: int = 1, device: Device = "cpu", recompute: bool = False
) -> int:
    """Return the peak memory in bytes of one of `workers` workers, on top of `process_bytes`."""
    return max(phases(config, images, workers=workers, device=device, recompute=recompute))


def phases(
    config: TrialConfig, images: ImageShape, *, workers: int = 1, device: Device = "cpu", recompute: bool = False
) -> tuple[int, int]:
    """Return the peak memory in bytes of training (0 without training) and of the evaluation after it."""
    if config.encoder in UNTRAINABLE:
        return 0, 0
    # A plan of ten thousand trials has a few dozen that differ in memory.
    alike = config.model_copy(update={**INDIFFERENT, "epochs": min(config.epochs, 2)})
    return _phases(alike, images, workers, device, recompute)


@cache
def _phases(config: TrialConfig, images: ImageShape, workers: int, device: Device, recompute: bool) -> tuple[int, int]:
    worker = _Worker(config, images, workers, device, recompute)
    worker.hold_weights()
    if config.epochs > 0:
        worker.step()
    training = worker.ledger.end_phase() if config.epochs > 0 else 0.0
    worker.evaluate()
    return math.ceil(training), math.ceil(worker.ledger.end_phase())


def process_bytes(device: Device) -> int:
    """Return the bytes that a worker's process uses before the trial, of host memory or of GPU memory."""
    return CUDA_CONTEXT_BYTES if device == "cuda" else CPU_PROCESS_BYTES


def fits(estimate_bytes: int, available_bytes: int, *, device: Device = "cpu") -> bool:
    """Whether a worker with this peak, estimated or given by the user, fits in addition to `process_bytes`."""
    return estimate_bytes + process_bytes(device) <= available_bytes


class _Worker:
    """Simulation of one worker; each method changes the ledger as the simulated code changes memory."""

    def __init__(
        self, config: TrialConfig, images: ImageShape, workers: int, device: Device, recompute: bool = False
    ) -> None:
        self.config, self.images, self.workers, self.device = config, images, workers, device
        self.model: LayerSizes = footprint(config, images.classes, channels=images.channels)
        self.share = math.ceil(config.batch_size / workers)
        self.views = self.share * (1 if config.training == "supervised" else 2)
        self.item = HALF if config.precision == "bf16" else FLOAT
        self.ledger = MemoryLedger(device)
        self.side = images.side or config.image_size
        self.sizes = [layer.weights for layer in self.model.layers] + [self.model.features * images.classes]
        """Sizes of the weights, without those of batch norm, which are negligible."""
        self.recompute, parts = recompute, stem_parts(self.model.stem.channels) if recompute else 1
        self.stem, self.pooled = self.model.stem.part(parts), self.model.pooled / parts
        """Sizes of the stem that are in memory at once."""
        self.segments, self.rest = [], self.model.blocks
        """Blocks that are recomputed together, and those after them."""
        for length in segments(self.model) if recompute else ():
            self.segments.append(self.rest[:length])
            self.rest = self.rest[length:]

    def hold_weights(self) -> None:
        """Hold weights and, for training, momenta and gradients, which outlive the step.

        From the second epoch on, the previous epoch's checkpoint (weights and momenta) may still be in host memory,
        until it is written.
        """
        kept = 3 if self.config.optimiser == "adamw" else 2
        copies = 1 if self.config.epochs == 0 else kept + 1
        if self.device == "cpu" and self.config.epochs > 1:
            copies += kept
        self.ledger.hold(*[FLOAT * size for size in self.sizes] * copies)

    # Training

    def step(self) -> None:
        """Simulate a step after the first, which has no gradients of a previous step."""
        with self.ledger.borrow(*self._partners):
            self._make_views(self.views)
            self._train_on_views()

    @property
    def _partners(self) -> list[float]:
        """Bytes of the partner images of seasonal pairs, held until the step ends; empty for two views of one image."""
        paired = self.config.pairs == "season"
        return [self.share * self.images.channels * self.side**2] if paired else []

    def _train_on_views(self) -> None:
        ledger = self.ledger
        with ledger.borrow(FLOAT * self.views * self.model.image):
            # Autocast's copies of weights and views, for the backward pass.
            halves = [HALF * size for size in self.sizes] + [HALF * self.views * self.model.image]
            with ledger.borrow(*(halves if self.item == HALF else [])):
                self._forward()
                if self.views > self.share:  # two views of each image, to be contrasted
                    self._loss()
                if self.workers == 1:  # else gradients stay in DistributedDataParallel's buckets
                    ledger.give(*[FLOAT * size for size in self.sizes])
                self._backward()
            self._optimise()

    def _make_views(self, count: int) -> None:
        """Simulate one view of each image: on a CPU directly from bytes, otherwise in float32 out of place."""
        config, ledger = self.config, self.ledger
        channels = self.images.channels
        view = FLOAT * count * channels * config.image_size**2
        if self.device == "cpu":  # by the compiled kernel
            ledger.touch(count * channels * self.side**2, view)
            return
        with ledger.borrow(FLOAT * count * channels * self.side**2):
            self._make_plainly(count, view)

    def _make_plainly(self, count: int, view: float) -> None:
        config, ledger, channels = self.config, self.ledger, self.images.channels
        matrix = FLOAT * count * config.image_size * self.side
        # Both resizing matrices; the second one spread over the channels, beside what it is multiplied with.
        ledger.touch(2 * matrix, channels * matrix, channels * matrix, view)
        # Those of one place in the order, in the order of the next, and a quarter's passes through hue and value.
        jittered = config.jitter_probability * view
        ledger.touch(view, jittered, jittered, jittered)
        if config.image_size // 10 // 2:
            chosen = config.blur_probability * view
            band = chosen / channels
            # The chosen images, blurred one way and both ways; both banded matrices, one spread over the channels.
            ledger.touch(view, chosen, chosen, chosen, 2 * band, channels * band)

    def _forward(self) -> None:
        """Store what the backward pass needs: only the inputs of recomputed segments, all activations of the rest."""
        ledger = self.ledger
        stem = self._compute_stem()
        if self.recompute:
            ledger.give(*stem)
            ledger.take(self._map(self.model.blocks[0].inputs))
        for segment in self.segments:
            ledger.give(*self._compute(segment))
            ledger.take(self._map(segment[-1].outputs))
        self._compute(self.rest)
        for layer in self.model.projector:
            ledger.take(*[self._map(layer.outputs)] * 2)

    def _compute_stem(self) -> list[float]:
        """Store what the stem's backward pass needs, or one part of it, and return the sizes."""
        self._layer(self.stem, first=True)
        pooled = [self._map(self.pooled), DOUBLE * self.views * self.pooled] if self.pooled else []
        self.ledger.take(*pooled)
        return [self._map(self.stem.outputs)] * 2 + pooled

    def _compute(self, blocks: Sequence[BlockSizes]) -> list[float]:
        """Store what the blocks' backward pass needs, and return the sizes."""
        for block in blocks:
            for layer in block.everything:
                self._layer(layer)
            if block.shortcut:
                self.ledger.touch(self._map(block.shortcut.outputs))  # until it is added
        layers = [layer for block in blocks for layer in block.everything]
        return [self._map(layer.outputs) for layer in layers for _ in range(2 if layer.relu else 1)]

    def _layer(self, layer: LayerSize, *, first: bool = False) -> None:
        out = self._map(layer.outputs)
        if self._unfolds:
            self.ledger.touch(self._columns(layer), out)
        else:
            self._convolve(out, 0.0 if first else self._map(layer.inputs))
        self.ledger.take(out)
        if self.workers > 1 and self.item == HALF:
            # Global batch norm widens its input and its output.
            self.ledger.touch(*[FLOAT * self.views * layer.outputs] * 2)
        if layer.relu:
            self.ledger.take(out)

    def _convolve(self, out: float, inputs: float) -> None:
        """Simulate oneDNN's blocked copies: of the input beside the output, then of the output."""
        if self.device == "cpu":
            self.ledger.touch(inputs, out)
            self.ledger.touch(out, out)

    @property
    def _unfolds(self) -> bool:
        """Whether convolutions unfold their inputs: in bf16 on a CPU whose oneDNN has no bf16 convolution.

        These are CPUs without AVX-512; with it the estimate is too large.
        """
        return self.device == "cpu" and self.item == HALF

    def _columns(self, layer: LayerSize) -> float:
        """Return the bytes of the unfolded inputs: (views, inputs x kernel, outputs' pixels)."""
        return self._map(layer.weights // layer.channels * (layer.outputs // layer.channels))

    def _loss(self) -> None:
        """Simulate NT-Xent of all workers' 2N embeddings: (2N, 2N) float32 matrices on every worker, or tiles."""
        rows = 2 * self.config.batch_size
        if rows > WHOLE_ROWS:
            tile = FLOAT * min(TILES[self.device], rows // 2) ** 2
            self.ledger.touch(*[tile] * 4, *[FLOAT * rows * self.config.projector_output_width] * 4)
            return
        matrix = FLOAT * rows**2
        # Masked logits, their log-softmax, the mask of bytes; of the entropy three float32 matrices (N, N).
        self.ledger.touch(matrix, matrix, matrix / 4, *[matrix / 4] * 3)
        # Log-softmax and mask, which were kept, and the gradients of both sides of the softmax.
        self.ledger.touch(matrix, matrix / 4, matrix, matrix)

    def _backward(self) -> None:
        ledger, model = self.ledger, self.model
        self._weight_gradient(model.features * self.images.classes)
        for layer in reversed(model.projector):
            ledger.touch(*[self._map(layer.outputs)] * 2)
            ledger.give(*[self._map(layer.outputs)] * 2)
            self._weight_gradient(layer.weights)
        ledger.take(self._map(model.blocks[-1].layers[-1].outputs))
        for block in reversed(self.rest):
            self._backward_block(block)
        for segment in reversed(self.segments):
            ledger.give(self._map(segment[-1].outputs))
            self._compute(segment)
            for block in reversed(segment):
                self._backward_block(block)
        self._backward_stem()

    def _backward_stem(self) -> None:
        ledger, stem, pooled = self.ledger, self._map(self.stem.outputs), self._map(self.pooled)
        gradient = self._map(self.model.blocks[0].inputs)
        if self.recompute:
            ledger.give(gradient)  # as large as the first block's input, which goes now
            self._compute_stem()
        if pooled or self.recompute:
            ledger.take(stem)
            ledger.give(*([pooled, DOUBLE * self.views * self.pooled] if pooled else []))
            # The whole stem's gradient stays until its last part is through.
            ledger.give(*([] if self.recompute else [gradient]))
        self._through_relu(stem)
        self._through_layer(self.stem, first=True)
        self._weight_gradient(self.model.stem.weights - self.stem.weights)
        ledger.give(*([gradient] if self.recompute else []))

    def _backward_block(self, block: BlockSizes) -> None:
        """Replace the gradient of the block's output by that of its input."""
        last = block.layers[-1]
        out, inputs = self._map(last.outputs), self._map(block.layers[0].inputs)
        self._through_relu(out)
        # What comes out of this ReLU is the shortcut's gradient, too, and lives to the end of the block.
        if block.shortcut:
            self._through_layer(block.shortcut, keep=True)
        self._through_layer(last, keep=True)
        for layer in reversed(block.layers[:-1]):
            self._through_relu(self._map(layer.outputs))
            self._through_layer(layer)
        # The two gradients of the input are added in place.
        self.ledger.give(out, *([inputs] if block.shortcut else []))

    def _through_relu(self, gradient: float) -> None:
        """Allocate a new gradient; then free the old one and ReLU's output."""
        self.ledger.take(gradient)
        self.ledger.give(gradient, gradient)

    def _through_layer(self, layer: LayerSize, *, keep: bool = False, first: bool = False) -> None:
        """Backward of batch norm and convolution: the input's gradient replaces the output's; `keep` keeps both."""
        ledger, out, inputs = self.ledger, self._map(layer.outputs), self._map(layer.inputs)
        if self.workers > 1:
            # Global batch norm widens bf16; without the CPU's kernels it also centres and multiplies.
            widened = 2 if self.item == HALF else 0
            made = 2 if self.device == "cuda" else widened // 2
            ledger.touch(*[FLOAT * self.views * layer.outputs] * (widened + made))
        ledger.take(out)
        ledger.give(out, *([] if keep else [out]))  # batch norm's input, and the gradient behind it
        if self._unfolds:
            ledger.touch(self._columns(layer), inputs)
        elif self.device == "cpu":  # oneDNN's copies
            if not first:
                ledger.touch(out, inputs)
                ledger.touch(inputs, inputs)
            ledger.touch(inputs, out, *([] if first else [inputs]))
        self._weight_gradient(layer.weights)
        ledger.take(*([] if first else [inputs]))
        ledger.give(out)

    def _weight_gradient(self, count: int) -> None:
        """Allocate a weight gradient; with several workers it is then copied into its bucket."""
        if self.workers == 1:
            self.ledger.take(FLOAT * count)
        else:
            self.ledger.touch(FLOAT * count)

    def _optimise(self) -> None:
        """Simulate the optimiser: LARS and SGD make decayed gradients, AdamW a denominator."""
        self.ledger.touch(*[FLOAT * size for size in self.sizes])

    # Evaluation

    def evaluate(self) -> None:
        """Encode batches without gradients, in float32; make views of a sample; fit and compare features."""
        ledger = self.ledger
        count = self._batch_of(max(self.images.train, self.images.held_out))
        sample = self._batch_of(min(self.images.held_out, LABEL_FREE_IMAGES))
        self._make_views(sample)
        with ledger.borrow(FLOAT * count * self.model.image):
            self._infer(FLOAT * count)
        if self.config.epochs > 0 and self.config.training == "simclr":
            self._compare_views()
        self._compare_features()

    def _batch_of(self, images: int) -> int:
        return min(EVALUATION_BATCH, math.ceil(images / self.workers))

    def _infer(self, unit: float) -> None:
        """Encode one batch with `unit` bytes per element: batch norm out of place, ReLU and sums in place."""
        ledger, model = self.ledger, self.model
        stem, pooled = unit * model.stem.outputs, unit * model.pooled
        self._infer_layer(stem, 0.0)
        ledger.take(stem)
        if pooled:
            ledger.touch(pooled, DOUBLE / FLOAT * pooled)
            ledger.give(stem)
            ledger.take(pooled)
        for block in model.blocks:
            self._infer_block(block, unit)
        ledger.give(unit * model.blocks[-1].layers[-1].outputs)

    def _infer_block(self, block: BlockSizes, unit: float) -> None:
        """Replace the block's input by its output; the shortcut needs the input until the end."""
        ledger, entry, before = self.ledger, unit * block.layers[0].inputs, 0.0
        for layer in block.layers:
            out = unit * layer.outputs
            self._infer_layer(out, unit * layer.inputs)
            ledger.take(out)
            ledger.give(before)
            before = out
        if block.shortcut:
            self._infer_layer(before, entry)
            ledger.touch(before)
        ledger.give(entry)

    def _infer_layer(self, out: float, inputs: float) -> None:
        self._convolve(out, inputs)
        self.ledger.touch(out, out)

    def _compare_views(self) -> None:
        """Compare the sample's views: ranks and distances in float64, and LiDAR's embeddings of several views.

        Every worker has all of the sample (representation.py, eigenspectrum.py).
        """
        ledger, width, outputs = self.ledger, self.model.features, self.config.projector_output_width
        sample, images = (min(self.images.held_out, most) for most in (LABEL_FREE_IMAGES, LIDAR_IMAGES))
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

    def _compare_features(self) -> None:
        """Standardise train's features for the regression; normalise and gather them for kNN, and multiply."""
        ledger, width = self.ledger, self.model.features
        rows = math.ceil(self.images.train / self.workers)
        own = FLOAT * rows * width
        with ledger.borrow(own):
            # Of some rows in float64: themselves, their distance from the mean, its square (logistic_regression.py).
            ledger.touch(*[DOUBLE * min(rows, STANDARDISED_CHUNK) * width] * 3)
            if self.config.target == "number":  # and of ridge regression the products, their sum, and the solver's copy
                ledger.touch(*[DOUBLE * min(rows, STANDARDISED_CHUNK) * width] * 2, *[DOUBLE * width**2] * 3)
            ledger.touch(own)
            everyone = own * self.workers
            if self.workers > 1:  # normalised, padded, every worker's, stacked, and in order again
                ledger.touch(own, own, *[everyone] * 3)
            queries = min(math.ceil(self.images.held_out / self.workers), KNN_CHUNK)
            ledger.touch(everyone, FLOAT * queries * self.images.train)

    def _map(self, elements: float) -> float:
        """Return the bytes of all views' maps."""
        return self.item * self.views * elements
