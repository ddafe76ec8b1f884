"""Layer sizes of a trial's model, computed from its configuration alone; imports nothing heavy."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

from trainables.config import TrialConfig
from trainables.memory.constants import DEPTHS


@dataclass(frozen=True)
class LayerSize:
    """A convolution or dense layer with its batch norm; elements are those of one view."""

    inputs: int
    outputs: int
    weights: int
    relu: bool
    """Whether a ReLU follows (directly or after adding the shortcut), whose output is stored."""
    shift: bool = True
    """Whether the batch norm has a beta."""
    channels: int = 1
    """Output channels; batch norm has two values for each."""

    @property
    def parameters(self) -> int:
        """Number of parameters: weights, gamma and beta."""
        return self.weights + self.channels * (2 if self.shift else 1)

    @property
    def kept(self) -> int:
        """Number of elements stored for the backward pass: batch norm's input and ReLU's output."""
        return self.outputs * (2 if self.relu else 1)

    @property
    def operations(self) -> int:
        """Multiplications and additions of one view's forward pass."""
        return self.weights // self.channels * self.outputs

    def part(self, count: int) -> "LayerSize":
        """Return the largest of `count` parts of its output channels."""
        channels = -(-self.channels // count)
        return replace(
            self,
            outputs=self.outputs // self.channels * channels,
            weights=self.weights // self.channels * channels,
            channels=channels,
        )


@dataclass(frozen=True)
class BlockSizes:
    """Residual block: its layers in sequence, and the projection of its shortcut, if it has one."""

    layers: tuple[LayerSize, ...]
    shortcut: LayerSize | None

    @property
    def everything(self) -> tuple[LayerSize, ...]:
        """Layers in sequence, and the projection of the shortcut."""
        return (*self.layers, self.shortcut) if self.shortcut else self.layers

    @property
    def inputs(self) -> int:
        """Number of elements of the input map."""
        return self.layers[0].inputs

    @property
    def outputs(self) -> int:
        """Number of elements of the output map."""
        return self.layers[-1].outputs

    @cached_property  # recomputation.py asks again and again
    def kept(self) -> int:
        """Number of elements stored for the backward pass besides the input; includes the output."""
        return sum(layer.kept for layer in self.everything)

    @property
    def operations(self) -> int:
        """Multiplications and additions of one view's forward pass."""
        return sum(layer.operations for layer in self.everything)


@dataclass(frozen=True)
class LayerSizes:
    """Sizes of all layers of one model."""

    image: int
    """Number of elements of one view."""
    stem: LayerSize
    pooled: int
    """Number of elements after the stem's max-pool; 0 without one."""
    blocks: tuple[BlockSizes, ...]
    projector: tuple[LayerSize, ...]
    features: int
    """Width of the encoder's output."""
    classes: int

    @property
    def layers(self) -> Iterator[LayerSize]:
        """Layers with a batch norm."""
        yield self.stem
        for block in self.blocks:
            yield from block.everything
        yield from self.projector

    @property
    def parameters(self) -> int:
        """Parameters of encoder, projector and probe; the probe has a bias and no batch norm."""
        return sum(layer.parameters for layer in self.layers) + (self.features + 1) * self.classes

    @property
    def activations(self) -> int:
        """Number of elements stored for one view's backward pass; the max-pool's int64 indices count twice."""
        return self.image + 3 * self.pooled + sum(layer.kept for layer in self.layers)


def footprint(config: TrialConfig, classes: int, *, channels: int = 3) -> LayerSizes:
    """Return the sizes of encoder, projector and probe for images with this number of channels."""
    builder = _LayerBuilder(config.image_size)
    width = max(1, round(64 * config.width_factor))
    small = config.small_stem
    stem = builder.convolution(channels, width, kernel=3 if small else 7, stride=1 if small else 2)
    if not small:
        builder.side = -(-builder.side // 2)
    pooled = 0 if small else width * builder.side**2
    blocks, inputs = [], width
    for group, depth in enumerate(DEPTHS[config.encoder]):
        for number in range(depth):
            stride = 2 if group > 0 and number == 0 else 1
            block, inputs = builder.block(config.encoder == "resnet50", inputs, width * 2**group, stride)
            blocks.append(block)
    projector = () if config.training == "supervised" else tuple(_projector(config, inputs))
    return LayerSizes(channels * config.image_size**2, stem, pooled, tuple(blocks), projector, inputs, classes)


class _LayerBuilder:
    """Builder that tracks the side of the maps through the layers."""

    def __init__(self, side: int) -> None:
        self.side = side

    def convolution(self, inputs: int, outputs: int, *, kernel: int, stride: int, relu: bool = True) -> LayerSize:
        before = inputs * self.side**2
        self.side = -(-self.side // stride)
        weights = inputs * outputs * kernel**2
        return LayerSize(before, outputs * self.side**2, weights, relu, channels=outputs)

    def block(self, bottleneck: bool, channels: int, planes: int, stride: int) -> tuple[BlockSizes, int]:
        outputs = planes * 4 if bottleneck else planes
        shortcut = None
        if stride != 1 or channels != outputs:
            side = self.side
            shortcut = self.convolution(channels, outputs, kernel=1, stride=stride, relu=False)
            self.side = side
        if bottleneck:
            reduce = self.convolution(channels, planes, kernel=1, stride=1)
            middle = self.convolution(planes, planes, kernel=3, stride=stride)
            return BlockSizes(
                (reduce, middle, self.convolution(planes, outputs, kernel=1, stride=1)), shortcut
            ), outputs
        first = self.convolution(channels, planes, kernel=3, stride=stride)
        return BlockSizes((first, self.convolution(planes, planes, kernel=3, stride=1)), shortcut), outputs


def _projector(config: TrialConfig, features: int) -> Iterator[LayerSize]:
    hidden = config.projector_hidden_width or features
    inputs = features
    for number in range(1, config.projector_layers + 1):
        last = number == config.projector_layers
        units = config.projector_output_width if last else hidden
        # The last batch norm has no beta; its output, the embedding, is kept by the loss.
        yield LayerSize(inputs, units, inputs * units, True, shift=not last, channels=units)
        inputs = units
