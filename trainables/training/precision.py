"""How numbers are computed: the precision of the encoder, reproducible kernels, and the watch for non-finite ones."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from trainables.errors import BadInputError, NonFiniteLossError

Precision = Literal["fp32", "tf32", "bf16"]


def set_precision(precision: Precision, device: torch.device) -> None:
    """Choose this process's kernels: those that give the same result twice, and TF32 only where it is asked for.

    torch allows TF32 in convolutions unless it is told otherwise, which keeps 10 of float32's 23 bits. Asked for, it is
    for convolutions alone, which take the time: views, the loss, kNN and the regression are products of matrices.
    """
    if device.type != "cuda":
        if precision == "tf32":
            raise BadInputError(f"precision: 'tf32' needs a GPU, this device is {device}; choose fp32")
        return
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    torch.backends.cuda.matmul.fp32_precision = "ieee"
    torch.backends.cudnn.conv.fp32_precision = "tf32" if precision == "tf32" else "ieee"  # type: ignore[attr-defined]


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """Return the context of the encoder's and the heads' forward pass; losses widen what comes out of it."""
    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else nullcontext()


def memory_layout(precision: Precision, device: torch.device) -> torch.memory_format:
    """Return how maps lie in memory: channels last where that is faster and safe.

    In bf16 on a CPU with AVX-512 a step is 1.2 to 2 times as fast so. In float32 little is gained there, and on a CPU
    without AVX-512 narrow convolutions corrupted memory (docs/experiments.md).
    """
    on_wide_cpu = precision == "bf16" and torch.backends.cpu.get_cpu_capability() == "AVX512"
    return torch.channels_last if device.type == "cuda" or on_wide_cpu else torch.contiguous_format


class _Seen(NamedTuple):
    step: int
    rate: float
    values: Tensor
    """Loss and sum of the gradients' norms, (2,)."""
    ready: torch.cuda.Event | None


class FiniteWatch:
    """Finds a loss or gradient that isn't finite before the optimiser's step.

    On a GPU the numbers of a step are read after the next one was queued, so that the step never waits for the host;
    what was trained in between is not kept. Every rank looks at the same numbers, so all of them stop at one step.
    """

    def __init__(self, last_good: Callable[[], str]) -> None:
        """`last_good` says where the last good checkpoint lies."""
        self._last_good = last_good
        self._waiting: _Seen | None = None

    def look(self, step: int, rate: float, loss: Tensor, parameters: Iterable[nn.Parameter]) -> None:
        """Look at a step's global loss and gradients; raises NonFiniteLossError for this step's or the last one's."""
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        norms = torch.stack(torch._foreach_norm(gradients)).sum()
        values = torch.stack([loss.detach().to(norms.dtype), norms])
        if values.device.type == "cpu":
            self._judge(_Seen(step, rate, values, None))
            return
        self.finish()
        copied = torch.empty(2, dtype=values.dtype, pin_memory=True).copy_(values, non_blocking=True)
        ready = torch.cuda.Event()  # type: ignore[no-untyped-call]
        ready.record()
        self._waiting = _Seen(step, rate, copied, ready)

    def finish(self) -> None:
        """Look at what is still waiting to be looked at."""
        if self._waiting is not None:
            assert self._waiting.ready is not None
            self._waiting.ready.synchronize()
            self._judge(self._waiting)
        self._waiting = None

    def _judge(self, seen: _Seen) -> None:
        loss, norms = seen.values.tolist()
        if torch.isfinite(seen.values).all():
            return
        raise NonFiniteLossError(
            f"the loss is {loss:.6g} and the gradients' norms sum to {norms:.6g} at step {seen.step} (learning rate "
            f"{seen.rate:.4g}); {self._last_good()}"
        )
