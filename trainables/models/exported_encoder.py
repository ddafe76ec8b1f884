"""Exported encoder for use in other programs: plain PyTorch modules under torchvision's names; needs only torch."""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainables.errors import BadInputError

WEIGHTS, FACTS = "encoder.safetensors", "model.json"
HEADER_BYTES = 16 * 2**20
"""Maximum size of a safetensors header, bytes; each tensor takes about 100."""
DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64}
FULL = {"uint8": 255.0, "uint16": 65535.0}
"""Largest value of a stored pixel, which is scaled to 1."""


def load_encoder(folder: str | Path) -> "ExportedEncoder":
    """Return the encoder of a folder that `sweep export` wrote, in evaluation mode and on the CPU.

    Raises:
        BadInputError: The folder holds no exported model, or one of an earlier version.
    """
    folder = Path(folder)
    for name in (WEIGHTS, FACTS):
        if not (folder / name).is_file():
            raise BadInputError(f"{folder}: has no {name}; give a folder that python -m sweep.export wrote")
    try:
        state = _tensors((folder / WEIGHTS).read_bytes())
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        full, bands = FULL[facts["dtype"]], tuple(str(band["name"]) for band in facts.get("bands", ()))
        if "view.rows" not in state:
            raise BadInputError(f"{folder}: was exported by an earlier version; export the model again")
        encoder = ExportedEncoder(state, full, bands)
        encoder.load_state_dict(state)
    except BadInputError:
        raise
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, RecursionError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise BadInputError(f"{folder}: isn't what python -m sweep.export wrote ({first}); export it again") from error
    return encoder.eval()


class EvaluationView(nn.Module):
    """Evaluation view: crops and resizes pixels between 0 and 1 as the trial did, by two matrix products."""

    rows: Tensor
    columns: Tensor

    def __init__(self, rows: Tensor, columns: Tensor) -> None:
        super().__init__()
        self.register_buffer("rows", torch.empty_like(rows))
        self.register_buffer("columns", torch.empty_like(columns))

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the views (N, C, side, side) of pixels (N, C, H, W)."""
        return (self.rows @ pixels @ self.columns.T).clamp(0.0, 1.0)


class ViewNormalisation(nn.Module):
    """Channel normalisation: clamp values if there are limits, subtract the mean, divide by the standard deviation."""

    mean: Tensor
    deviation: Tensor
    limits: Tensor | None

    def __init__(self, channels: int, *, clamped: bool) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("deviation", torch.ones(channels))
        self.register_buffer("limits", torch.zeros(2, channels) if clamped else None)

    def forward(self, views: Tensor) -> Tensor:
        """Return the normalised (N, C, H, W) views."""
        if self.limits is not None:
            low, high = self.limits.view(2, 1, -1, 1, 1)
            views = torch.minimum(torch.maximum(views, low), high)
        return (views - self.mean.view(1, -1, 1, 1)) / self.deviation.view(1, -1, 1, 1)


class ResidualBlock(nn.Module):
    """Residual block of two 3 x 3 convolutions, or a bottleneck of three; strides are in the first 3 x 3."""

    def __init__(self, shapes: Mapping[str, torch.Size], stride: int) -> None:
        super().__init__()
        self.depth = 3 if "conv3.weight" in shapes else 2
        strided = 1 if self.depth == 2 else 2
        for number in range(1, self.depth + 1):
            shape = shapes[f"conv{number}.weight"]
            self.add_module(f"conv{number}", _convolution(shape, stride if number == strided else 1))
            self.add_module(f"bn{number}", nn.BatchNorm2d(shape[0]))
        self.downsample: nn.Module | None = None
        if "downsample.0.weight" in shapes:
            shape = shapes["downsample.0.weight"]
            self.downsample = nn.Sequential(_convolution(shape, stride), nn.BatchNorm2d(shape[0]))

    def forward(self, maps: Tensor) -> Tensor:
        """Return the block's output maps for input maps (N, C, H, W)."""
        shortcut = maps if self.downsample is None else self.downsample(maps)
        for number in range(1, self.depth + 1):
            maps = self.get_submodule(f"bn{number}")(self.get_submodule(f"conv{number}")(maps))
            if number < self.depth:
                maps = functional.relu(maps)
        return functional.relu(maps + shortcut)


class ExportedEncoder(nn.Module):
    """Exported encoder: stored images to the features that the trial was evaluated on; any ResNet of a trial.

    Parameters have torchvision's names.

    Attributes:
        size: Height and width of the images.
        output_width: Number of features.
        bands: Name of the band of each channel, in order: B04, B03, B02. Empty for exports that don't record it.
    """

    def __init__(self, state: Mapping[str, Tensor], full: float, bands: tuple[str, ...] = ()) -> None:
        super().__init__()
        shapes = {name: tensor.shape for name, tensor in state.items()}
        self._full = full
        self.view = EvaluationView(state["view.rows"], state["view.columns"])
        self.size = (state["view.rows"].shape[1], state["view.columns"].shape[1])
        stem = shapes["conv1.weight"]
        if bands and len(bands) != stem[1]:
            raise ValueError(f"{FACTS} names {len(bands)} bands, {WEIGHTS} takes {stem[1]} channels")
        self.bands = bands
        small = stem[-1] == 3
        self.normalise: nn.Module = nn.Identity()
        if "normalise.mean" in state:
            self.normalise = ViewNormalisation(stem[1], clamped="normalise.limits" in state)
        self.conv1 = _convolution(stem, 1 if small else 2)
        self.bn1 = nn.BatchNorm2d(stem[0])
        self.maxpool = nn.Identity() if small else nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        for number in range(1, 5):
            self.add_module(f"layer{number}", _group(shapes, f"layer{number}", 1 if number == 1 else 2))
        # A bottleneck's last convolution is the widest.
        self.output_width = max(shape[0] for name, shape in shapes.items() if name.startswith("layer4.") and shape)
        self.to(state["conv1.weight"].dtype)

    def forward(self, images: Tensor) -> Tensor:
        """Return features (N, output_width) of (N, C, H, W) images: integers as stored, or floats from 0 to 1.

        Raises:
            BadInputError: The images have another shape than those of training.
        """
        expected = (self.conv1.in_channels, *self.size)
        if images.dim() != 4 or images.shape[1:] != expected:
            raise BadInputError(f"images: must be (N, {', '.join(map(str, expected))}), got {tuple(images.shape)}")
        pixels = images.to(self.conv1.weight.dtype)
        if not images.is_floating_point():
            pixels = pixels / self._full
        maps = self.normalise(self.view(pixels))
        maps = self.maxpool(functional.relu(self.bn1(self.conv1(maps))))
        for number in range(1, 5):
            maps = self.get_submodule(f"layer{number}")(maps)
        features: Tensor = maps.mean(dim=(2, 3))
        return features


def _convolution(shape: torch.Size, stride: int) -> nn.Conv2d:
    outputs, inputs, side, _ = shape
    return nn.Conv2d(inputs, outputs, side, stride=stride, padding=side // 2, bias=False)


def _group(shapes: Mapping[str, torch.Size], name: str, stride: int) -> nn.Sequential:
    blocks: list[nn.Module] = []
    while f"{name}.{len(blocks)}.conv1.weight" in shapes:
        prefix = f"{name}.{len(blocks)}."
        own = {key.removeprefix(prefix): shape for key, shape in shapes.items() if key.startswith(prefix)}
        blocks.append(ResidualBlock(own, stride if not blocks else 1))
    return nn.Sequential(*blocks)


def _tensors(content: bytes) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file: a header's length and JSON, then the values."""
    length = int.from_bytes(content[:8], "little")
    if not 0 < length <= min(HEADER_BYTES, len(content) - 8):
        raise ValueError(f"{WEIGHTS} has a header of {length:,} bytes")
    header = json.loads(content[8 : 8 + length])
    header.pop("__metadata__", None)
    values = bytearray(content[8 + length :])  # writable, as torch wants it
    return {name: _tensor(values, one["dtype"], one["shape"], *one["data_offsets"]) for name, one in header.items()}


def _tensor(values: bytearray, kind: str, shape: list[int], start: int, end: int) -> Tensor:
    dtype = DTYPES[kind]
    if not 0 <= start <= end <= len(values):
        raise ValueError(f"{WEIGHTS} has {len(values):,} bytes of values, and names {start} to {end}")
    if start == end:
        return torch.empty(shape, dtype=dtype)
    return torch.frombuffer(values, dtype=dtype, count=(end - start) // dtype.itemsize, offset=start).reshape(shape)
