"""What a trial runs on, chosen from what there is: a worker a GPU, or a worker a core."""

from collections.abc import Mapping
from typing import Literal

from sweep.plan import Plan
from sweep.tasks import TrialShape
from trainables.errors import BadInputError

Device = Literal["auto", "cpu", "gpu"]


def choose_shape(workers: int, device: Device, resources: Mapping[str, float]) -> TrialShape:
    """Return the shape of every trial; BadInputError when one trial asks for more than there is.

    On the CPU a worker has one thread: threads change the last bits of a gradient, so they are fixed rather than
    follow how many trials run at once. On GPUs a worker has its share of the cores, which don't compute.
    """
    cores, gpus = int(resources.get("CPU", 0)), int(resources.get("GPU", 0))
    use_gpu = device == "gpu" or (device == "auto" and gpus > 0)
    if use_gpu and workers > gpus:
        raise BadInputError(
            f"--workers {workers}: needs {workers} GPUs, there are {gpus}; choose fewer workers or --device cpu"
        )
    if workers > cores:
        raise BadInputError(f"--workers {workers}: needs {workers} cores, there are {cores}; choose fewer workers")
    return TrialShape(workers=workers, threads=max(1, cores // gpus) if use_gpu else 1, use_gpu=use_gpu)


def check_precision(plan: Plan, shape: TrialShape) -> None:
    """Raise BadInputError for a precision that the device of this shape doesn't have."""
    if not shape.use_gpu and any(trial.config.precision == "tf32" for trial in plan.trials):
        raise BadInputError("precision: 'tf32' needs GPUs, the trials run on CPUs; choose fp32 or --device gpu")


def concurrency(shape: TrialShape, resources: Mapping[str, float]) -> int:
    """Return how many trials of a shape fit at once, at least 1."""
    wanted = shape.worker_resources()
    return max(1, min(int(resources.get(name, 0) / (shape.workers * amount)) for name, amount in wanted.items()))
