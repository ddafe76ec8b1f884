"""Numerical settings: precision of the encoder, memory layout, and reproducible kernels."""

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch

from trainables.config import TrialConfig
from trainables.errors import BadInputError
from trainables.models.encoder import last_strided_side

Precision = Literal["fp32", "tf32", "bf16"]


def set_precision(precision: Precision, device: torch.device) -> None:
    """Choose this process's kernels: reproducible ones, with TF32 only if requested.

    By default torch uses TF32 in convolutions, which keeps 10 of float32's 23 mantissa bits. If requested, TF32 is used
    only in convolutions, which take most of the time; views, the loss, kNN and the regression use matrix products.

    Raises:
        BadInputError: TF32 is requested on another device than a GPU.
    """
    if device.type != "cuda":
        if precision == "tf32":
            raise BadInputError(f"precision: 'tf32' needs a GPU, this device is {device}; choose fp32")
        return
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    torch.backends.cuda.matmul.fp32_precision = "ieee"
    torch.backends.cudnn.conv.fp32_precision = "tf32" if precision == "tf32" else "ieee"  # type: ignore[attr-defined]


def refuse_undefined_gradients(config: TrialConfig, device: torch.device) -> None:
    """Raise BadInputError where torch leaves gradients uninitialised: bf16, strides and one-pixel maps on a CPU."""
    if config.precision != "bf16" or device.type != "cpu":
        return
    if last_strided_side(config.image_size, small_stem=config.small_stem) == 1:
        raise BadInputError(
            f"precision: bf16 on a CPU gives undefined gradients at image_size {config.image_size}, whose last maps "
            "are one pixel; choose fp32, stem small or larger images"
        )


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """Return the autocast context of the forward pass of encoder and heads; losses widen its outputs."""
    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else nullcontext()


def memory_layout(precision: Precision, device: torch.device) -> torch.memory_format:
    """Return the memory layout of feature maps: channels last where that is faster and safe.

    It makes a bf16 step on a CPU with AVX-512 1.2 to 2 times as fast. In float32 it gains little, and on a CPU without
    AVX-512 narrow convolutions corrupted memory (docs/experiments.md).
    """
    on_wide_cpu = precision == "bf16" and torch.backends.cpu.get_cpu_capability() == "AVX512"
    return torch.channels_last if device.type == "cuda" or on_wide_cpu else torch.contiguous_format
