"""Steps, epochs and the learning rate: pure functions of numbers (reference: model.py, data.py)."""

import math
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class TrainingSteps:
    """Division of a run into steps: no image is dropped, so batches span epochs and the last one runs past the end.

    Step s (0-based) takes positions [s * batch_size, (s + 1) * batch_size) of the concatenated epoch permutations.
    """

    num_examples: int
    batch_size: int
    epochs: int

    @property
    def total(self) -> int:
        """Steps of the run: num_examples * epochs // batch_size + 1."""
        return self.num_examples * self.epochs // self.batch_size + 1

    def of_epoch(self, epoch: int) -> range:
        """Return the steps that end in `epoch` (1-based); the last epoch also has the step that runs past it."""
        first = (epoch - 1) * self.num_examples // self.batch_size
        last = self.total if epoch == self.epochs else epoch * self.num_examples // self.batch_size
        return range(first, last)


def scaled_learning_rate(base: float, batch_size: int, scaling: Literal["linear", "sqrt"]) -> float:
    """Return the peak learning rate: base * batch_size / 256, or base * sqrt(batch_size)."""
    return base * batch_size / 256 if scaling == "linear" else base * math.sqrt(batch_size)


def learning_rate(
    step: int,
    *,
    base: float,
    batch_size: int,
    num_examples: int,
    epochs: int,
    warmup_epochs: float,
    scaling: Literal["linear", "sqrt"] = "linear",
) -> float:
    """Return the learning rate of a step: linear warm-up from 0, then half a cosine to 0.

    The warm-up takes round(warmup_epochs * num_examples // batch_size) steps. If that is the whole run or more, the run
    ends during the warm-up and never reaches the peak; the reference raises an error.

    Args:
        step: Number of the step, from 0.
        base: Learning rate before scaling by the batch size.
        batch_size: Images per step over all workers.
        num_examples: Training images.
        epochs: Epochs of the whole run.
        warmup_epochs: Epochs of the warm-up; may be a fraction.
        scaling: linear: base * batch_size / 256; sqrt: base * sqrt(batch_size).

    Example:
        >>> settings = dict(base=1.0, batch_size=256, num_examples=2560, epochs=10, warmup_epochs=1.0)
        >>> [round(learning_rate(step, **settings), 2) for step in (0, 5, 10, 100)]
        [0.0, 0.5, 1.0, 0.0]
    """
    peak = scaled_learning_rate(base, batch_size, scaling)
    warmup_steps = round(warmup_epochs * num_examples // batch_size)
    total_steps = TrainingSteps(num_examples, batch_size, epochs).total
    if step < warmup_steps:
        return peak * step / warmup_steps
    progress = min((step - warmup_steps) / max(total_steps - warmup_steps, 1), 1.0)
    return peak * 0.5 * (1.0 + math.cos(math.pi * progress))
