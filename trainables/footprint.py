"""How much memory a trial needs, from the encoder's shapes alone; planning imports it, so nothing heavy is here."""

from dataclasses import dataclass

from trainables.config import SimCLRConfig

DEPTHS = {
    "resnet10": (1, 1, 1, 1),
    "resnet18": (2, 2, 2, 2),
    "resnet34": (3, 4, 6, 3),
    "resnet50": (3, 4, 6, 3),
}


@dataclass(frozen=True)
class Footprint:
    """Counts of one model."""

    parameters: int
    activations: int
    """Elements that the backward pass of one image keeps: each batch norm's input and each ReLU's output."""

    def training_bytes(
        self, *, views: int, image_size: int, pairs: int, activation_bytes: int, momenta: int = 1
    ) -> int:
        """Return the bytes of a training step on one worker with `views` views, of a global batch of `pairs`.

        Weights, gradients and `momenta` of each in float32; activations in the given width; float views twice (before
        and after augmentation); three (2 pairs)^2 float32 matrices of the contrastive loss.
        """
        images = 2 * views * 3 * image_size**2 * 4
        weights = 4 * (2 + momenta) * self.parameters
        return weights + views * self.activations * activation_bytes + images + 3 * (2 * pairs) ** 2 * 4


def footprint(config: SimCLRConfig, classes: int) -> Footprint:
    """Count parameters and kept activations of encoder, projector and probe."""
    counter = _Counter(config.image_size)
    width = max(1, round(64 * config.width_factor))
    counter.convolution(3, width, kernel=3 if config.small_stem else 7, stride=1 if config.small_stem else 2)
    if not config.small_stem:
        counter.pool(width)
    channels = width
    for group, depth in enumerate(DEPTHS[config.encoder]):
        planes = width * 2**group
        for block in range(depth):
            stride = 2 if group > 0 and block == 0 else 1
            channels = counter.block(config.encoder == "resnet50", channels, planes, stride)
    counter.heads(config, channels, classes)
    return Footprint(counter.parameters, counter.activations)


class _Counter:
    """Follows the map's side through the layers and adds up."""

    def __init__(self, side: int) -> None:
        self.side, self.parameters, self.activations = side, 0, 3 * side * side

    def convolution(self, inputs: int, outputs: int, *, kernel: int, stride: int, relu: bool = True) -> None:
        self.side = -(-self.side // stride)
        self.parameters += inputs * outputs * kernel**2 + 2 * outputs
        self.activations += outputs * self.side**2 * (2 if relu else 1)

    def pool(self, channels: int) -> None:
        self.side = -(-self.side // 2)
        # The pooled map, and the positions of its maxima as 8-byte integers.
        self.activations += 3 * channels * self.side**2

    def block(self, bottleneck: bool, channels: int, planes: int, stride: int) -> int:
        outputs = planes * 4 if bottleneck else planes
        if stride != 1 or channels != outputs:
            side = self.side
            self.convolution(channels, outputs, kernel=1, stride=stride, relu=False)
            self.side = side
        if bottleneck:
            self.convolution(channels, planes, kernel=1, stride=1)
            self.convolution(planes, planes, kernel=3, stride=stride)
            self.convolution(planes, outputs, kernel=1, stride=1)
        else:
            self.convolution(channels, planes, kernel=3, stride=stride)
            self.convolution(planes, planes, kernel=3, stride=1)
        return outputs

    def heads(self, config: SimCLRConfig, features: int, classes: int) -> None:
        hidden = config.projector_hidden_width or features
        inputs = features
        for layer in range(1, config.projector_layers + 1):
            units = hidden if layer < config.projector_layers else config.projector_output_width
            self.parameters += inputs * units + 2 * units
            self.activations += 2 * units
            inputs = units
        # The last batch norm has no beta; the probe has a bias.
        self.parameters += features * classes + classes - config.projector_output_width
