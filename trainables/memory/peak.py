"""Estimate of a worker's peak memory: a step and an evaluation simulated block by block.

The simulation follows the training loop (training/trial.py). A plain sum would be wrong: when the gradients of the
first and largest feature maps exist, the maps of later layers are already freed. benchmarks/memory.py measures the
same peak. Planning imports this module, so it imports nothing heavy.
"""

import math
from functools import cache

from trainables.config import UNTRAINABLE, TrialConfig
from trainables.memory.evaluation_step import evaluate
from trainables.memory.ledger import Device
from trainables.memory.simulated_worker import ImageShape, SimulatedWorker
from trainables.memory.training_step import step

INDIFFERENT = {"dataset": "", "seed": 0, "temperature": 1.0, "base_learning_rate": 1.0, "weight_decay": 0.0}
"""Fields that spaces vary and that don't affect memory."""
CPU_PROCESS_BYTES = 468 * 2**20
"""Private memory of Python, torch and scikit-learn, without shared file mappings; measured by benchmarks/memory.py."""
CUDA_CONTEXT_BYTES = 600 * 2**20
"""Memory of CUDA and its libraries besides torch's allocator: a guess, not measured yet.

`python -m benchmarks.memory --device cuda` prints it as "process".

Workspaces of convolutions and gaps of the allocator on a GPU weren't measured either.
"""


def peak_bytes(
    config: TrialConfig, images: ImageShape, *, workers: int = 1, device: Device = "cpu", recompute: bool = False
) -> int:
    """Return the peak memory in bytes of one of `workers` workers, on top of `process_bytes`."""
    return max(phases(config, images, workers=workers, device=device, recompute=recompute))


def phases(
    config: TrialConfig, images: ImageShape, *, workers: int = 1, device: Device = "cpu", recompute: bool = False
) -> tuple[int, int]:
    """Return the peak memory in bytes of training (0 without training) and of the evaluation after it."""
    if config.encoder in UNTRAINABLE:
        return 0, 0
    # A plan of ten thousand trials has a few dozen that differ in memory.
    alike = config.model_copy(update={**INDIFFERENT, "epochs": min(config.epochs, 2)})
    return _phases(alike, images, workers, device, recompute)


@cache
def _phases(config: TrialConfig, images: ImageShape, workers: int, device: Device, recompute: bool) -> tuple[int, int]:
    worker = SimulatedWorker(config, images, workers, device, recompute)
    worker.hold_weights()
    if config.epochs > 0:
        step(worker)
    training = worker.ledger.end_phase() if config.epochs > 0 else 0.0
    evaluate(worker)
    return math.ceil(training), math.ceil(worker.ledger.end_phase())


def process_bytes(device: Device) -> int:
    """Return the bytes that a worker's process uses before the trial, of host memory or of GPU memory."""
    return CUDA_CONTEXT_BYTES if device == "cuda" else CPU_PROCESS_BYTES


def fits(estimate_bytes: int, available_bytes: int, *, device: Device = "cpu") -> bool:
    """Whether a worker with this peak, estimated or given by the user, fits in addition to `process_bytes`."""
    return estimate_bytes + process_bytes(device) <= available_bytes
