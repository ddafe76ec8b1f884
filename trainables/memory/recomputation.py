"""Activation recomputation (checkpointing): which activations the backward pass recomputes; imports nothing heavy.

A segment is a run of consecutive residual blocks of which only the input is stored. The backward pass recomputes the
activations inside, one segment at a time, from the last to the first (Chen et al. 2016, arXiv:1604.06174). Segments
have unequal lengths, since the first feature maps are the largest. The stem, whose maps are larger still, is recomputed
some channels at a time, since batch norm, ReLU and max-pool treat channels separately. Layers after the segments store
all activations, as in a plain step. Nothing is computed more than twice.
"""

from collections.abc import Sequence
from functools import cache

from trainables.memory.layer_sizes import BlockSizes, LayerSizes

MOST_STEM_PARTS = 4
SLACK = 1.05
"""Tolerated factor over the minimum memory, in exchange for less recomputation."""


def stem_parts(channels: int) -> int:
    """Return the number of parts in which a stem with this many channels is recomputed.

    No part has a single channel, if there are more: its memory layout would be ambiguous and other kernels would run.
    """
    return max(1, min(MOST_STEM_PARTS, channels // 2))


@cache
def segments(model: LayerSizes) -> tuple[int, ...]:
    """Return the number of blocks in each segment, from the first block on.

    As few blocks as possible are recomputed, as long as a step needs at most SLACK times the minimum memory.
    """
    blocks, stem = model.blocks, _stem(model)
    choices = [_cut(blocks, count) for count in range(len(blocks) + 1)]
    enough = SLACK * max(stem, min(held for held, _ in choices))
    return next(lengths for held, lengths in choices if held <= enough)


def time_factor(model: LayerSizes) -> float:
    """Return the time of a recomputing step relative to a plain step, whose forward pass takes a third."""
    costs = [block.operations for block in model.blocks]
    again = model.stem.operations + sum(costs[: sum(segments(model))])
    return 1.0 + again / (3 * (model.stem.operations + sum(costs)))


def _cut(blocks: Sequence[BlockSizes], count: int) -> tuple[int, tuple[int, ...]]:
    """Return the minimum memory if the first `count` blocks are recomputed, and the segments that need it.

    Dynamic programming from the last block to the first. The memory from a block on, besides earlier stored inputs, is
    its own input plus the larger of two: the memory of its segment, or that of everything after the segment.
    """
    rest = blocks[count:]
    best: dict[int, tuple[int, tuple[int, ...]]] = {count: (rest[0].inputs + _inside(rest) if rest else 0, ())}
    for start in reversed(range(count)):
        held = {end: max(_inside(blocks[start:end]), best[end][0]) for end in range(start + 1, count + 1)}
        end = min(held, key=lambda end: (held[end], -end))
        best[start] = (blocks[start].inputs + held[end], (end - start, *best[end][1]))
    return best[0]


def _inside(blocks: Sequence[BlockSizes]) -> int:
    """Return the peak of one segment: its stored activations, and a gradient before and after a ReLU."""
    kept, most = 0, 0
    for block in blocks:
        kept += block.kept
        most = max(most, kept + 2 * block.outputs)
    return most


def _stem(model: LayerSizes) -> int:
    """Return the peak of the stem: the gradient of its output, and one part with its gradients."""
    count = stem_parts(model.stem.channels)
    part, pooled = model.stem.part(count), 3 * model.pooled // count
    return (model.pooled or model.stem.outputs) + part.kept + pooled + 2 * part.outputs
