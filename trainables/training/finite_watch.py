"""Check that loss and gradients are finite."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from trainables.errors import NonFiniteLossError


class _StepCheck(NamedTuple):
    step: int
    rate: float
    values: Tensor
    """Loss and sum of the gradients' norms, (2,)."""
    ready: torch.cuda.Event | None


class FiniteWatch:
    """Check for infinite or NaN losses and gradients before the optimiser's step.

    On a GPU the values of a step are read after the next step was queued, so that no step waits for the host; the
    training in between is discarded. All ranks check the same values, so they stop at the same step.
    """

    def __init__(self, last_good: Callable[[], str]) -> None:
        """Create the check; `last_good` returns the location of the last good checkpoint."""
        self._last_good = last_good
        self._waiting: _StepCheck | None = None

    def look(self, step: int, rate: float, loss: Tensor, parameters: Iterable[nn.Parameter]) -> None:
        """Check a step's global loss and gradients; NonFiniteLossError for this step's or the previous one's."""
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        norms = torch.stack(torch._foreach_norm(gradients)).sum()
        values = torch.stack([loss.detach().to(norms.dtype), norms])
        if values.device.type == "cpu":
            self._judge(_StepCheck(step, rate, values, None))
            return
        self.finish()
        copied = torch.empty(2, dtype=values.dtype, pin_memory=True).copy_(values, non_blocking=True)
        ready = torch.cuda.Event()  # type: ignore[no-untyped-call]
        ready.record()
        self._waiting = _StepCheck(step, rate, copied, ready)

    def finish(self) -> None:
        """Check the values that were queued and not read yet."""
        if self._waiting is not None:
            assert self._waiting.ready is not None
            self._waiting.ready.synchronize()
            self._judge(self._waiting)
        self._waiting = None

    def _judge(self, seen: _StepCheck) -> None:
        loss, norms = seen.values.tolist()
        if torch.isfinite(seen.values).all():
            return
        raise NonFiniteLossError(
            f"the loss is {loss:.6g} and the gradients' norms sum to {norms:.6g} at step {seen.step} (learning rate "
            f"{seen.rate:.4g}); {self._last_good()}"
        )
