"""Activation recomputation (checkpointing): which activations the backward pass recomputes; imports nothing heavy.

A segment is a run of consecutive residual blocks of which only the input is stored. The backward pass recomputes the
activations inside, one segment at a time, from the last to the first (Chen et al. 2016, arXiv:1604.06174). Segments
have unequal lengths, since the first feature maps are the largest. The stem, whose maps are larger still, is recomputed
some channels at a time, since batch norm, ReLU and max-pool treat channels separately. Layers after the segments store
all activations, as in a plain step. Nothing is computed more than twice.
"""

from collections.abc import Sequence
from functools import cache

from trainables.memory.layer_sizes import Block, LayerSizes

MOST_STEM_PARTS = 4
SLACK = 1.05
"""Of the least memory that there could be: so much more may be held, if less is then computed again."""


def stem_parts(channels: int) -> int:
    """Return in how many parts a stem of so many channels is computed again.

    No part has one channel, if there are more: it would lie in memory in either order, and other kernels take it.
    """
    return max(1, min(MOST_STEM_PARTS, channels // 2))


@cache
def segments(model: LayerSizes) -> tuple[int, ...]:
    """Return how many blocks each segment has, from the first block on.

    The fewest blocks are computed again with which a step holds at most SLACK times the least that it could.
    """
    blocks, stem = model.blocks, _stem(model)
    choices = [_cut(blocks, count) for count in range(len(blocks) + 1)]
    enough = SLACK * max(stem, min(held for held, _ in choices))
    return next(lengths for held, lengths in choices if held <= enough)


def time_factor(model: LayerSizes) -> float:
    """Return the time of a step that computes again over that of a plain one, of which forward passes are a third."""
    costs = [block.operations for block in model.blocks]
    again = model.stem.operations + sum(costs[: sum(segments(model))])
    return 1.0 + again / (3 * (model.stem.operations + sum(costs)))


def _cut(blocks: Sequence[Block], count: int) -> tuple[int, tuple[int, ...]]:
    """Return the least that is held if the first `count` blocks are computed again, and the segments that hold it.

    From the last block to the first: what is held from a block on, beside the inputs kept before it, is its own input
    and the larger of what its segment takes and what comes after that.
    """
    rest = blocks[count:]
    best: dict[int, tuple[int, tuple[int, ...]]] = {count: (rest[0].inputs + _inside(rest) if rest else 0, ())}
    for start in reversed(range(count)):
        held = {end: max(_inside(blocks[start:end]), best[end][0]) for end in range(start + 1, count + 1)}
        end = min(held, key=lambda end: (held[end], -end))
        best[start] = (blocks[start].inputs + held[end], (end - start, *best[end][1]))
    return best[0]


def _inside(blocks: Sequence[Block]) -> int:
    """Return the most that blocks held together take: beside what is still kept a gradient before and after a ReLU."""
    kept, most = 0, 0
    for block in blocks:
        kept += block.kept
        most = max(most, kept + 2 * block.outputs)
    return most


def _stem(model: LayerSizes) -> int:
    """Return the most that the stem takes: the gradient of its output, and one part with its gradients."""
    count = stem_parts(model.stem.channels)
    part, pooled = model.stem.part(count), 3 * model.pooled // count
    return (model.pooled or model.stem.outputs) + part.kept + pooled + 2 * part.outputs
