"""Memory of a training step: views, forward pass, loss, backward pass and optimiser, block by block."""

from collections.abc import Sequence

from trainables.memory.constants import TILES, WHOLE_ROWS
from trainables.memory.layer_sizes import BlockSizes, LayerSize
from trainables.memory.simulated_worker import DOUBLE, FLOAT, HALF, SimulatedWorker


def step(worker: SimulatedWorker) -> None:
    """Simulate a step after the first, which has no gradients of a previous step."""
    with worker.ledger.borrow(*_partners(worker)):
        worker.make_views(worker.views)
        _train_on_views(worker)


def _partners(worker: SimulatedWorker) -> list[float]:
    """Bytes of the partner images of seasonal pairs, held until the step ends; empty for two views of one image."""
    paired = worker.config.pairs == "season"
    return [worker.share * worker.images.channels * worker.side**2] if paired else []


def _train_on_views(worker: SimulatedWorker) -> None:
    ledger = worker.ledger
    with ledger.borrow(FLOAT * worker.views * worker.model.image):
        # Autocast's copies of weights and views, for the backward pass.
        halves = [HALF * size for size in worker.sizes] + [HALF * worker.views * worker.model.image]
        with ledger.borrow(*(halves if worker.item == HALF else [])):
            _forward(worker)
            if worker.views > worker.share:  # two views of each image, to be contrasted
                _loss(worker)
            if worker.workers == 1:  # else gradients stay in DistributedDataParallel's buckets
                ledger.give(*[FLOAT * size for size in worker.sizes])
            _backward(worker)
        _optimise(worker)


def _forward(worker: SimulatedWorker) -> None:
    """Store what the backward pass needs: only the inputs of recomputed segments, all activations of the rest."""
    ledger = worker.ledger
    stem = _compute_stem(worker)
    if worker.recompute:
        ledger.give(*stem)
        ledger.take(worker.map_bytes(worker.model.blocks[0].inputs))
    for segment in worker.segments:
        ledger.give(*_compute(worker, segment))
        ledger.take(worker.map_bytes(segment[-1].outputs))
    _compute(worker, worker.rest)
    for layer in worker.model.projector:
        ledger.take(*[worker.map_bytes(layer.outputs)] * 2)


def _compute_stem(worker: SimulatedWorker) -> list[float]:
    """Store what the stem's backward pass needs, or one part of it, and return the sizes."""
    _layer(worker, worker.stem, first=True)
    pooled = [worker.map_bytes(worker.pooled), DOUBLE * worker.views * worker.pooled] if worker.pooled else []
    worker.ledger.take(*pooled)
    return [worker.map_bytes(worker.stem.outputs)] * 2 + pooled


def _compute(worker: SimulatedWorker, blocks: Sequence[BlockSizes]) -> list[float]:
    """Store what the blocks' backward pass needs, and return the sizes."""
    for block in blocks:
        for layer in block.everything:
            _layer(worker, layer)
        if block.shortcut:
            worker.ledger.touch(worker.map_bytes(block.shortcut.outputs))  # until it is added
    layers = [layer for block in blocks for layer in block.everything]
    return [worker.map_bytes(layer.outputs) for layer in layers for _ in range(2 if layer.relu else 1)]


def _layer(worker: SimulatedWorker, layer: LayerSize, *, first: bool = False) -> None:
    out = worker.map_bytes(layer.outputs)
    if _unfolds(worker):
        worker.ledger.touch(_columns(worker, layer), out)
    else:
        worker.convolve(out, 0.0 if first else worker.map_bytes(layer.inputs))
    worker.ledger.take(out)
    if worker.workers > 1 and worker.item == HALF:
        # Global batch norm widens its input and its output.
        worker.ledger.touch(*[FLOAT * worker.views * layer.outputs] * 2)
    if layer.relu:
        worker.ledger.take(out)


def _unfolds(worker: SimulatedWorker) -> bool:
    """Whether convolutions unfold their inputs: in bf16 on a CPU whose oneDNN has no bf16 convolution.

    These are CPUs without AVX-512; with it the estimate is too large.
    """
    return worker.device == "cpu" and worker.item == HALF


def _columns(worker: SimulatedWorker, layer: LayerSize) -> float:
    """Return the bytes of the unfolded inputs: (views, inputs x kernel, outputs' pixels)."""
    return worker.map_bytes(layer.weights // layer.channels * (layer.outputs // layer.channels))


def _loss(worker: SimulatedWorker) -> None:
    """Simulate NT-Xent of all workers' 2N embeddings: (2N, 2N) float32 matrices on every worker, or tiles."""
    rows = 2 * worker.config.batch_size
    if rows > WHOLE_ROWS:
        tile = FLOAT * min(TILES[worker.device], rows // 2) ** 2
        worker.ledger.touch(*[tile] * 4, *[FLOAT * rows * worker.config.projector_output_width] * 4)
        return
    matrix = FLOAT * rows**2
    # Masked logits, their log-softmax, the mask of bytes; of the entropy three float32 matrices (N, N).
    worker.ledger.touch(matrix, matrix, matrix / 4, *[matrix / 4] * 3)
    # Log-softmax and mask, which were kept, and the gradients of both sides of the softmax.
    worker.ledger.touch(matrix, matrix / 4, matrix, matrix)


def _backward(worker: SimulatedWorker) -> None:
    ledger, model = worker.ledger, worker.model
    _weight_gradient(worker, model.features * worker.images.classes)
    for layer in reversed(model.projector):
        ledger.touch(*[worker.map_bytes(layer.outputs)] * 2)
        ledger.give(*[worker.map_bytes(layer.outputs)] * 2)
        _weight_gradient(worker, layer.weights)
    ledger.take(worker.map_bytes(model.blocks[-1].layers[-1].outputs))
    for block in reversed(worker.rest):
        _backward_block(worker, block)
    for segment in reversed(worker.segments):
        ledger.give(worker.map_bytes(segment[-1].outputs))
        _compute(worker, segment)
        for block in reversed(segment):
            _backward_block(worker, block)
    _backward_stem(worker)


def _backward_stem(worker: SimulatedWorker) -> None:
    ledger, stem, pooled = worker.ledger, worker.map_bytes(worker.stem.outputs), worker.map_bytes(worker.pooled)
    gradient = worker.map_bytes(worker.model.blocks[0].inputs)
    if worker.recompute:
        ledger.give(gradient)  # as large as the first block's input, which goes now
        _compute_stem(worker)
    if pooled or worker.recompute:
        ledger.take(stem)
        ledger.give(*([pooled, DOUBLE * worker.views * worker.pooled] if pooled else []))
        # The whole stem's gradient stays until its last part is through.
        ledger.give(*([] if worker.recompute else [gradient]))
    _through_relu(worker, stem)
    _through_layer(worker, worker.stem, first=True)
    _weight_gradient(worker, worker.model.stem.weights - worker.stem.weights)
    ledger.give(*([gradient] if worker.recompute else []))


def _backward_block(worker: SimulatedWorker, block: BlockSizes) -> None:
    """Replace the gradient of the block's output by that of its input."""
    last = block.layers[-1]
    out, inputs = worker.map_bytes(last.outputs), worker.map_bytes(block.layers[0].inputs)
    _through_relu(worker, out)
    # What comes out of this ReLU is the shortcut's gradient, too, and lives to the end of the block.
    if block.shortcut:
        _through_layer(worker, block.shortcut, keep=True)
    _through_layer(worker, last, keep=True)
    for layer in reversed(block.layers[:-1]):
        _through_relu(worker, worker.map_bytes(layer.outputs))
        _through_layer(worker, layer)
    # The two gradients of the input are added in place.
    worker.ledger.give(out, *([inputs] if block.shortcut else []))


def _through_relu(worker: SimulatedWorker, gradient: float) -> None:
    """Allocate a new gradient; then free the old one and ReLU's output."""
    worker.ledger.take(gradient)
    worker.ledger.give(gradient, gradient)


def _through_layer(worker: SimulatedWorker, layer: LayerSize, *, keep: bool = False, first: bool = False) -> None:
    """Backward of batch norm and convolution: the input's gradient replaces the output's; `keep` keeps both."""
    ledger, out, inputs = worker.ledger, worker.map_bytes(layer.outputs), worker.map_bytes(layer.inputs)
    if worker.workers > 1:
        # Global batch norm widens bf16; without the CPU's kernels it also centres and multiplies.
        widened = 2 if worker.item == HALF else 0
        made = 2 if worker.device == "cuda" else widened // 2
        ledger.touch(*[FLOAT * worker.views * layer.outputs] * (widened + made))
    ledger.take(out)
    ledger.give(out, *([] if keep else [out]))  # batch norm's input, and the gradient behind it
    if _unfolds(worker):
        ledger.touch(_columns(worker, layer), inputs)
    elif worker.device == "cpu":  # oneDNN's copies
        if not first:
            ledger.touch(out, inputs)
            ledger.touch(inputs, inputs)
        ledger.touch(inputs, out, *([] if first else [inputs]))
    _weight_gradient(worker, layer.weights)
    ledger.take(*([] if first else [inputs]))
    ledger.give(out)


def _weight_gradient(worker: SimulatedWorker, count: int) -> None:
    """Allocate a weight gradient; with several workers it is then copied into its bucket."""
    if worker.workers == 1:
        worker.ledger.take(FLOAT * count)
    else:
        worker.ledger.touch(FLOAT * count)


def _optimise(worker: SimulatedWorker) -> None:
    """Simulate the optimiser: LARS and SGD make decayed gradients, AdamW a denominator."""
    worker.ledger.touch(*[FLOAT * size for size in worker.sizes])
