"""Batch norm over the global batch, on every backend (torch's SyncBatchNorm refuses the CPU)."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from trainables.distributed import world_size
from trainables.losses import widen

_again = ContextVar("again", default=False)


@contextmanager
def computed_again() -> Iterator[None]:
    """Recompute a forward pass without updating running statistics, which its first pass has updated."""
    token = _again.set(True)
    try:
        yield
    finally:
        _again.reset(token)


class GlobalBatchNorm(_BatchNorm):
    """Batch norm whose statistics span all ranks; (N, C) or (N, C, H, W) input, native kernel on one rank.

    The running variance is the biased one, as in the reference (torch keeps the unbiased one). With `shift=False` the
    layer has no beta (the reference's last projector layer). Keys of the state are torch's.
    """

    def __init__(self, num_features: int, *, shift: bool = True) -> None:
        super().__init__(num_features, eps=1e-5, momentum=0.1)
        if not shift:
            self.register_parameter("bias", None)

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() not in (2, 4):
            raise ValueError(f"batch norm takes (N, C) or (N, C, H, W), got {tuple(input.shape)}")

    def reset_parameters(self) -> None:
        """Set gamma to 1, beta (if any) to 0 and the running statistics to those of a unit normal."""
        self.reset_running_stats()
        torch.nn.init.ones_(self.weight)
        if self.bias is not None:
            torch.nn.init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        """Normalise by the global batch's statistics in training mode, else by the running ones."""
        self._check_input_dim(input)
        assert self.running_mean is not None
        assert self.running_var is not None
        if not self.training:
            return functional.batch_norm(
                input, self.running_mean, self.running_var, self.weight, self.bias, training=False, eps=self.eps
            )
        self._count()
        return self._normalise(input, self.weight, self.bias, self.running_mean, self.running_var)

    def forward_part(self, input: Tensor, channels: slice) -> Tensor:
        """Normalise an input with only these channels, in training mode; the first part counts the batch."""
        assert self.running_mean is not None
        assert self.running_var is not None
        if channels.start == 0:
            self._count()
        bias = None if self.bias is None else self.bias[channels]
        mean, variance = self.running_mean[channels], self.running_var[channels]
        return self._normalise(input, self.weight[channels], bias, mean, variance)

    def _count(self) -> None:
        assert self.num_batches_tracked is not None
        if not _again.get():
            self.num_batches_tracked.add_(1)

    def _normalise(
        self, input: Tensor, weight: Tensor, bias: Tensor | None, running_mean: Tensor, running_var: Tensor
    ) -> Tensor:
        momentum, again = float(self.momentum or 0.0), _again.get()
        if world_size() > 1:
            output, mean, variance = _NormaliseGlobally.apply(input, weight, bias, self.eps)
            if not again:
                running_mean.lerp_(mean, momentum)
                running_var.lerp_(variance, momentum)
            return output  # type: ignore[no-any-return]
        count = input.numel() // input.shape[1]
        # The kernel keeps what it is given for the backward pass, so it updates a copy.
        unbiased = running_var.clone()
        mean = running_mean.clone() if again else running_mean
        output = functional.batch_norm(input, mean, unbiased, weight, bias, True, momentum, self.eps)
        if not again:
            # torch added momentum * n / (n - 1) * v where the reference adds momentum * v.
            running_var.mul_((1.0 - momentum) / count).add_(unbiased, alpha=(count - 1) / count)
        return output


@torch.no_grad()
def calibrate(encoder: nn.Module, batches: Iterable[Tensor]) -> None:
    """Set the running statistics of every batch norm to the mean over the batches; weights are unchanged."""
    norms = [module for module in encoder.modules() if isinstance(module, GlobalBatchNorm)]
    momenta = [norm.momentum for norm in norms]
    encoder.train()
    for number, batch in enumerate(batches, start=1):
        for norm in norms:
            norm.momentum = 1.0 / number
        encoder(batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    encoder.eval()


class _NormaliseGlobally(torch.autograd.Function):
    """Normalise by (mean, M2) merged over the ranks; the gradient crosses ranks too. Statistics in float32 or wider."""

    @staticmethod
    def forward(
        ctx: Any, values: Tensor, weight: Tensor, bias: Tensor | None, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        wide = widen(values)
        local_count = wide.numel() // wide.shape[1]
        count, mean, variance = _merge_over_ranks(local_count, *_statistics(wide))
        ctx.save_for_backward(values, weight, mean, variance)
        ctx.count, ctx.eps, ctx.shifted = count, eps, bias is not None
        ctx.mark_non_differentiable(mean, variance)
        output = functional.batch_norm(wide, mean, variance, weight, bias, training=False, eps=eps)
        return output.to(values.dtype), mean, variance

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor | None, None]:
        values, weight, mean, variance = ctx.saved_tensors
        gradient, wide = widen(gradients[0]), widen(values)
        own = _gradient_sums(gradient, wide, mean, variance, ctx.eps)
        sums = own.clone()
        dist.all_reduce(sums)
        mean_gradient, mean_product = (sums / ctx.count).unbind()
        inverse = (variance + ctx.eps).rsqrt()
        scale = weight * inverse
        # scale * (gradient - mean_gradient - normalised * mean_product), in two passes over one buffer.
        slope = -scale * inverse * mean_product
        shift = -scale * mean_gradient - slope * mean
        input_gradient = torch.addcmul(_channels(shift, wide), wide, _channels(slope, wide))
        input_gradient.addcmul_(gradient, _channels(scale, gradient))
        # The parameters' gradients stay this rank's share: they are summed over the ranks with all others.
        bias_gradient, weight_gradient = own.unbind()
        return input_gradient.to(gradients[0].dtype), weight_gradient, bias_gradient if ctx.shifted else None, None


def _statistics(values: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and biased variance (C,) of this rank's values."""
    if values.device.type != "cpu":
        return _plain_statistics(values)
    # The native layer's kernel, in a third to a tenth of the plain one's time.
    mean, variance = torch.batch_norm_update_stats(values, None, None, 0.0)
    return mean, variance


def _plain_statistics(values: Tensor) -> tuple[Tensor, Tensor]:
    variance, mean = torch.var_mean(values, dim=_all_but_channels(values), correction=0)
    return mean, variance


def _gradient_sums(gradient: Tensor, values: Tensor, mean: Tensor, variance: Tensor, eps: float) -> Tensor:
    """Return (2, C): the sum of this rank's gradients, and the sum of their products with the normalised values."""
    if values.device.type != "cpu":
        return _plain_gradient_sums(gradient, values, mean, variance, eps)
    # The native layer's kernel, which reads both in one pass.
    _, products, sums = torch.ops.aten.native_batch_norm_backward(
        gradient, values, torch.ones_like(mean), mean, variance, None, None, False, eps, [False, True, True]
    )
    return torch.stack([sums, products])


def _plain_gradient_sums(gradient: Tensor, values: Tensor, mean: Tensor, variance: Tensor, eps: float) -> Tensor:
    dims = _all_but_channels(values)
    products = (gradient * (values - _channels(mean, values))).sum(dims) * (variance + eps).rsqrt()
    return torch.stack([gradient.sum(dims), products])


def _all_but_channels(values: Tensor) -> list[int]:
    return [0, *range(2, values.dim())]


def _merge_over_ranks(count: int, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the global count, mean and biased variance (C,), merged over ranks (Chan et al. 1979)."""
    packed = torch.cat([mean.new_full((1,), float(count)), mean, variance])
    gathered = [torch.empty_like(packed) for _ in range(world_size())]
    dist.all_gather(gathered, packed)
    table = torch.stack(gathered)
    counts, means, variances = table[:, :1], table[:, 1 : 1 + len(mean)], table[:, 1 + len(mean) :]
    total = counts.sum()  # stays on the device: reading it back would make the step wait
    merged_mean = (counts * means).sum(0) / total
    merged_variance = (counts * (variances + (means - merged_mean) ** 2)).sum(0) / total
    return total, merged_mean, merged_variance


def _channels(values: Tensor, like: Tensor) -> Tensor:
    return values.view(1, -1, *([1] * (like.dim() - 2)))
