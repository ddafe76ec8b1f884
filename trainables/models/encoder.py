"""ResNet encoders of torchvision's blocks with the reference's stems and initialisation (reference: resnet.py)."""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint
from torchvision.models.resnet import BasicBlock, Bottleneck, conv1x1

from trainables.distributed import slice_of
from trainables.memory.constants import DEPTHS
from trainables.memory.recomputation import stem_parts
from trainables.models.batch_norm import GlobalBatchNorm, computed_again
from trainables.randomness.counter_based import RandomStream, normal

CUT_STD = 0.87962566103423978
"""Standard deviation of a unit normal truncated at two sigmas; TensorFlow's variance scaling divides by it."""


class ChannelNormalisation(nn.Module):
    """Channel normalisation of (N, C, H, W) images: subtract the mean, divide by the standard deviation, (C,) each.

    With `limits` (2, C), values are clamped to each channel's lowest and highest one before.
    """

    mean: Tensor
    deviation: Tensor
    limits: Tensor | None

    def __init__(self, mean: Tensor, deviation: Tensor, limits: Tensor | None = None) -> None:
        super().__init__()
        self.register_buffer("mean", mean.to(torch.get_default_dtype()))
        self.register_buffer("deviation", deviation.to(torch.get_default_dtype()))
        self.register_buffer("limits", None if limits is None else limits.to(torch.get_default_dtype()))

    @classmethod
    def of(cls, weights: Mapping[str, Tensor]) -> Self | None:
        """Return the normalisation in an encoder's state; None if it has none."""
        if "normalise.mean" not in weights:
            return None
        return cls(weights["normalise.mean"], weights["normalise.deviation"], weights.get("normalise.limits"))

    def forward(self, images: Tensor) -> Tensor:
        """Return the normalised images."""
        if self.limits is not None:
            low, high = self.limits.view(2, 1, -1, 1, 1)
            images = torch.minimum(torch.maximum(images, low), high)
        return (images - self.mean.view(1, -1, 1, 1)) / self.deviation.view(1, -1, 1, 1)


class ColourStatistics(nn.Module):
    """Colour baseline without weights: (N, C, H, W) images to each channel's mean and deviation, (N, 2C)."""

    def forward(self, images: Tensor) -> Tensor:
        """Return means, then deviations."""
        deviations, means = torch.std_mean(images, dim=(2, 3), correction=0)
        return torch.cat([means, deviations], dim=1)


class Encoder(nn.Module):
    """ResNet encoder: (N, C, H, W) images to (N, `output_width`) features; parameters have torchvision's names.

    Two departures from the reference follow torchvision. Strided convolutions and the max-pool pad symmetrically; the
    reference pads only right and bottom, which shifts maps by a pixel. Shortcuts are torchvision's; the reference also
    projects in the first group of ResNet-18 and 34.
    """

    def __init__(
        self,
        name: str,
        *,
        width_factor: float = 1.0,
        small_stem: bool,
        channels: int = 3,
        normalise: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.normalise = normalise or nn.Identity()
        block: type[BasicBlock] | type[Bottleneck] = Bottleneck if name == "resnet50" else BasicBlock
        depths = DEPTHS[name]
        width = max(1, round(64 * width_factor))
        if small_stem:
            self.conv1 = nn.Conv2d(channels, width, kernel_size=3, stride=1, padding=1, bias=False)
            self.maxpool: nn.Module = nn.Identity()
        else:
            self.conv1 = nn.Conv2d(channels, width, kernel_size=7, stride=2, padding=3, bias=False)
            self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        self.bn1 = GlobalBatchNorm(width)
        self.relu = nn.ReLU(inplace=True)
        inputs = width
        for number, depth in enumerate(depths):
            planes = width * 2**number
            setattr(self, f"layer{number + 1}", _group(block, inputs, planes, depth, stride=1 if number == 0 else 2))
            inputs = planes * block.expansion
        self.output_width = inputs
        self.segments: tuple[int, ...] | None = None
        """Blocks of each segment that the backward pass computes again, as well as the stem (memory/recomputation.py);
        None: it computes nothing again."""

    def forward(self, images: Tensor) -> Tensor:
        """Return the globally averaged features h, (N, output_width)."""
        images, blocks = self.normalise(images), [block for n in range(1, 5) for block in getattr(self, f"layer{n}")]
        if self.training and self.segments is not None:
            maps = torch.cat([_keep_input_alone(self._stem_part, images, part) for part in self._parts()], dim=1)
            for length in self.segments:
                maps, blocks = _keep_input_alone(_apply, maps, blocks[:length]), blocks[length:]
        else:
            maps = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        features: Tensor = _apply(maps, blocks).mean(dim=(2, 3))
        return features

    def _parts(self) -> list[slice]:
        width = self.conv1.out_channels
        count = stem_parts(width)
        return [slice_of(number, count, width) for number in range(count)]

    def _stem_part(self, images: Tensor, channels: slice) -> Tensor:
        """Return some channels of the stem's maps."""
        stride, padding = self.conv1.stride, self.conv1.kernel_size[0] // 2
        maps = functional.conv2d(images, self.conv1.weight[channels], stride=stride, padding=padding)
        pooled: Tensor = self.maxpool(self.relu(self.bn1.forward_part(maps, channels)))
        return pooled


def _apply(maps: Tensor, blocks: Sequence[nn.Module]) -> Tensor:
    for block in blocks:
        maps = block(maps)
    return maps


def _keep_input_alone(function: Callable[..., Tensor], maps: Tensor, what: object) -> Tensor:
    """Apply a function whose activations the backward pass recomputes; it must not draw random numbers."""
    result: Tensor = checkpoint(
        function,
        maps,
        what,
        use_reentrant=False,
        preserve_rng_state=False,
        context_fn=lambda: (nullcontext(), computed_again()),
    )
    return result


def last_strided_side(image_size: int, *, small_stem: bool) -> int:
    """Return the side in pixels of the input to the last strided convolutions, those of the fourth group."""
    return math.ceil(image_size / (4 if small_stem else 16))


def _group(
    block: type[BasicBlock] | type[Bottleneck], channels: int, planes: int, depth: int, *, stride: int
) -> nn.Sequential:
    """Return `depth` residual blocks; only the first may stride, bottlenecks in their 3x3 convolution (v1.5)."""
    shortcut = None
    if stride != 1 or channels != planes * block.expansion:
        shortcut = nn.Sequential(
            conv1x1(channels, planes * block.expansion, stride), GlobalBatchNorm(planes * block.expansion)
        )
    blocks = [block(channels, planes, stride, shortcut, norm_layer=GlobalBatchNorm)]
    blocks += [block(planes * block.expansion, planes, norm_layer=GlobalBatchNorm) for _ in range(depth - 1)]
    return nn.Sequential(*blocks)


def initialise_encoder(encoder: Encoder, seed: int) -> None:
    """Draw all weights from a normal truncated at two sigmas, std 1 / sqrt(fan_in); a block's last gamma is 0."""
    for number, module in enumerate(encoder.modules()):
        if isinstance(module, nn.Conv2d):
            fan_in = module.in_channels * module.kernel_size[0] * module.kernel_size[1]
            numbers = normal(seed, RandomStream.WEIGHTS, number, tuple(module.weight.shape), cut=2.0)
            module.weight.data.copy_(torch.from_numpy(numbers / CUT_STD / math.sqrt(fan_in)))
        elif isinstance(module, BasicBlock):
            nn.init.zeros_(module.bn2.weight)
        elif isinstance(module, Bottleneck):
            nn.init.zeros_(module.bn3.weight)
