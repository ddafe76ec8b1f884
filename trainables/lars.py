"""LARS optimiser as in the reference (lars_optimizer.py): classic momentum with the learning rate inside the buffer.

On a CPU with numba, a compiled kernel computes the same step in less than half the time (kernels/lars_kernel.py).
"""

from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
from torch import Tensor
from torch.optim import Optimizer

from trainables.kernels.numba_compile import available


class LARS(Optimizer):
    """Layer-wise adaptive rate scaling: g += wd * w; v = momentum * v + lr * ratio * g; w -= v.

    ratio = eeta * ||w|| / ||g|| in groups with `adapt`; it is 1 if either norm is 0, and in groups without `adapt`.
    Biases, batch norm and the supervised head belong in a group with `adapt=False, weight_decay=0`. Source: You et al.
    2017; reference lars_optimizer.py.

    Example:
        >>> weight = torch.nn.Parameter(torch.ones(2, 2))
        >>> optimiser = LARS([weight], lr=0.1)
        >>> weight.square().sum().backward()
        >>> optimiser.step()
        >>> bool((weight < 1).all())
        True
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float,
        momentum: float = 0.9,
        weight_decay: float = 1e-6,
        eeta: float = 0.001,
        adapt: bool = True,
    ) -> None:
        super().__init__(
            params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "eeta": eeta, "adapt": adapt}
        )

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Update every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            self._step_group(group)
        return loss

    def _step_group(self, group: dict[str, Any]) -> None:
        fused: list[tuple[Tensor, Tensor, Tensor]] = []
        plain: list[tuple[Tensor, Tensor, Tensor]] = []
        for weight in group["params"]:
            if weight.grad is not None:
                tensors = (weight, weight.grad, self._velocity(weight))
                (fused if _is_fused(*tensors) else plain).append(tensors)
        if fused:
            from trainables.kernels import lars_kernel

            numbers = {name: group[name] for name in ("lr", "momentum", "weight_decay", "eeta", "adapt")}
            lars_kernel.step(*zip(*fused, strict=True), **numbers)
        if plain:
            self._step_plainly(group, *map(list, zip(*plain, strict=True)))

    def _step_plainly(
        self, group: dict[str, Any], weights: list[Tensor], gradients: list[Tensor], velocities: list[Tensor]
    ) -> None:
        if group["weight_decay"]:
            gradients = list(torch._foreach_add(gradients, weights, alpha=group["weight_decay"]))
        torch._foreach_mul_(velocities, group["momentum"])
        if group["adapt"]:
            ratios = self._trust_ratios(weights, gradients, group["eeta"])
            torch._foreach_addcmul_(velocities, gradients, ratios, value=group["lr"])
        else:
            torch._foreach_add_(velocities, gradients, alpha=group["lr"])
        torch._foreach_sub_(weights, velocities)

    def _velocity(self, weight: Tensor) -> Tensor:
        state = self.state[weight]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(weight)
        velocity: Tensor = state["momentum_buffer"]
        return velocity

    @staticmethod
    def _trust_ratios(weights: list[Tensor], gradients: list[Tensor], eeta: float) -> list[Tensor]:
        weight_norms = torch.stack(torch._foreach_norm(weights))
        gradient_norms = torch.stack(torch._foreach_norm(gradients))
        usable = (weight_norms > 0) & (gradient_norms > 0)
        ratios = torch.where(usable, eeta * weight_norms / gradient_norms, torch.ones_like(weight_norms))
        return list(ratios.unbind())


def _is_fused(*tensors: Tensor) -> bool:
    if not available():
        return False
    from trainables.kernels import lars_kernel

    return lars_kernel.takes(*tensors)
