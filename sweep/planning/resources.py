"""Resources of a trial, chosen from those available: one worker per GPU, or one per core."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from trainables.errors import BadInputError

if TYPE_CHECKING:
    from sweep.planning.plan import Plan

Device = Literal["auto", "cpu", "gpu"]
"""Requested device of the trials."""
CORES_A_GPU = "cores_a_gpu"
"""Additional key in a cluster's resources: CPU cores per GPU, on the node with the fewest."""
FREE_SHARE = 0.1
"""Share of a GPU's memory left free if trials share it."""


@dataclass(frozen=True)
class TrialShape:
    """Resources of one trial. They affect the last bits of results, so they don't depend on concurrency."""

    workers: int
    threads: int
    """CPUs and torch threads of each worker."""
    use_gpu: bool
    gpus: float = 1.0
    """GPUs of a worker, if it uses GPUs; less than 1 if trials share one."""
    most_workers: int | None = None
    """Maximum workers of an elastic trial, whose minimum is `workers`; None: a fixed number."""

    def __post_init__(self) -> None:
        for field in ("workers", "threads"):
            if getattr(self, field) < 1:
                raise BadInputError(f"{field} must be >= 1, got {getattr(self, field)}")

    @property
    def inline(self) -> bool:
        """Whether the trial's only worker is the driver process itself."""
        return self.workers == 1 and self.most_workers is None

    def worker_resources(self) -> dict[str, float]:
        """Return the resources of one worker, by Ray's names."""
        return {"CPU": float(self.threads)} | ({"GPU": self.gpus} if self.use_gpu else {})


def parse_workers(text: str) -> tuple[int, int | None]:
    """Return minimum and maximum workers of "2:8", or the number and None of "2"; BadInputError otherwise."""
    parts = text.split(":")
    if not all(part.isdigit() and int(part) >= 1 for part in parts) or len(parts) > 2:
        raise BadInputError(f"--workers {text!r}: give a number, or MINIMUM:MAXIMUM as in 2:8")
    least, most = int(parts[0]), int(parts[1]) if len(parts) == 2 else None
    if most is not None and most <= least:
        raise BadInputError(f"--workers {text!r}: the maximum must be above the minimum")
    return least, most


def choose_shape(workers: int, device: Device, resources: Mapping[str, float], most: int | None = None) -> TrialShape:
    """Return the shape (resources) of every trial.

    On CPUs a worker has one thread: the number of threads changes the last bits of a gradient, so it must not depend on
    how many trials run at once. On GPUs a worker gets its share of the cores, which only feed the GPU.

    Args:
        workers: Workers per trial, at least.
        device: Requested device.
        resources: Resources of the cluster, as `connect` yields them (sweep/cluster/); with an autoscaler they are the
            maximum that the cluster can grow to.
        most: Maximum workers of an elastic trial.

    Raises:
        BadInputError: A trial needs more than the cluster has or can get.
    """
    cores, gpus = int(resources.get("CPU", 0)), int(resources.get("GPU", 0))
    use_gpu = device == "gpu" or (device == "auto" and gpus > 0)
    if use_gpu and not gpus and workers == 1:
        raise BadInputError("--device gpu: there is no GPU; choose --device cpu")
    if use_gpu and workers > gpus:
        raise BadInputError(
            f"--workers {workers}: needs {workers} GPUs, there are {gpus}; choose fewer workers or --device cpu"
        )
    if workers > cores:
        raise BadInputError(f"--workers {workers}: needs {workers} cores, there are {cores}; choose fewer workers")
    share = int(resources.get(CORES_A_GPU, cores // max(1, gpus)))  # of the node: a worker's cores are beside its GPU
    threads = max(1, share) if use_gpu else 1
    return TrialShape(workers=workers, threads=threads, use_gpu=use_gpu, most_workers=most)


def shared(shape: TrialShape, needed: int, share: int, gpu_bytes: int) -> TrialShape:
    """Return the shape of a one-worker trial that shares its GPU with up to `share` - 1 others, if all fit.

    `needed` are the bytes of each trial.
    """
    if not shape.use_gpu or share == 1 or not shape.inline:
        return shape
    places = max(1, min(share, int((1 - FREE_SHARE) * gpu_bytes // max(1, needed))))
    return replace(shape, gpus=1.0 / places, threads=max(1, shape.threads // places))


def check_precision(plan: "Plan", shape: TrialShape) -> None:
    """Raise BadInputError for a precision that the shape's device doesn't support."""
    if not shape.use_gpu and any(trial.config.precision == "tf32" for trial in plan.trials):
        raise BadInputError("precision: 'tf32' needs GPUs, the trials run on CPUs; choose fp32 or --device gpu")


def concurrency(
    shape: TrialShape, resources: Mapping[str, float], share: int = 1, *, available: int | None = None, needed: int = 0
) -> int:
    """Return the number of trials of a shape that fit at once, at least 1.

    If `available` is given, memory also limits it: a worker needs `needed` of the machine's `available` bytes.
    """
    wanted = shape.worker_resources()
    if share > 1 and shape.use_gpu:
        wanted = {name: amount / share for name, amount in wanted.items()}
    workers = shape.most_workers or shape.workers  # an elastic trial takes what there is, up to its most
    most = min(int(resources.get(name, 0) / (workers * amount)) for name, amount in wanted.items())
    if available is not None and not shape.use_gpu:
        most = min(most, available // max(1, needed))
    return max(1, most)
