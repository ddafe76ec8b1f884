"""State of a simulated worker: sizes of its model, images and views, and the ledger of its memory."""

import math
from dataclasses import dataclass

from trainables.config import TrialConfig
from trainables.memory.constants import EVALUATION_BATCH
from trainables.memory.layer_sizes import LayerSizes, footprint
from trainables.memory.ledger import Device, MemoryLedger
from trainables.memory.recomputation import segments, stem_parts

FLOAT, DOUBLE, HALF = 4, 8, 2


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


class SimulatedWorker:
    """Simulation of one worker; each method changes the ledger as the simulated code changes memory."""

    def __init__(
        self, config: TrialConfig, images: ImageShape, workers: int, device: Device, recompute: bool = False
    ) -> None:
        """Create a worker without memory; `recompute` selects activation recomputation."""
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

    def make_views(self, count: int) -> None:
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

    def convolve(self, out: float, inputs: float) -> None:
        """Simulate oneDNN's blocked copies: of the input beside the output, then of the output."""
        if self.device == "cpu":
            self.ledger.touch(inputs, out)
            self.ledger.touch(out, out)

    def map_bytes(self, elements: float) -> float:
        """Return the bytes of all views' maps."""
        return self.item * self.views * elements
