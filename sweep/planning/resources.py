"""Resources of a trial, chosen from those available: one worker per GPU, or one per core."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from trainables.errors import BadInputError

if TYPE_CHECKING:
    from sweep.planning.plan import Plan

Device = Literal["auto", "cpu", "gpu"]
"""What trials run on, as a person asks for it."""
CORES_A_GPU = "cores_a_gpu"
"""Beside Ray's names in a cluster's resources: the cores that each GPU has of its node, on the worst node."""
FREE_SHARE = 0.1
"""Of a GPU's memory, left free where trials share it."""


@dataclass(frozen=True)
class TrialShape:
    """What one trial runs on; part of its outcome's last bits, so it doesn't follow concurrency."""

    workers: int
    threads: int
    """CPUs, and torch's threads, of each worker."""
    use_gpu: bool
    gpus: float = 1.0
    """GPUs of a worker, where it uses one: less than 1 where trials share it."""
    most_workers: int | None = None
    """Workers of an elastic trial go from `workers` to this many."""

    def __post_init__(self) -> None:
        for field in ("workers", "threads"):
            if getattr(self, field) < 1:
                raise BadInputError(f"{field} must be >= 1, got {getattr(self, field)}")

    @property
    def inline(self) -> bool:
        """Whether its one worker is the process that drives it."""
        return self.workers == 1 and self.most_workers is None

    def worker_resources(self) -> dict[str, float]:
        """Return what one worker holds, in Ray's names."""
        return {"CPU": float(self.threads)} | ({"GPU": self.gpus} if self.use_gpu else {})


def parse_workers(text: str) -> tuple[int, int | None]:
    """Return the least and the most workers of "2:8", or the number and None of "2"; BadInputError otherwise."""
    parts = text.split(":")
    if not all(part.isdigit() and int(part) >= 1 for part in parts) or len(parts) > 2:
        raise BadInputError(f"--workers {text!r}: give a number, or the least and the most as in 2:8")
    least, most = int(parts[0]), int(parts[1]) if len(parts) == 2 else None
    if most is not None and most <= least:
        raise BadInputError(f"--workers {text!r}: the most must be above the least")
    return least, most


def choose_shape(workers: int, device: Device, resources: Mapping[str, float], most: int | None = None) -> TrialShape:
    """Return the shape of every trial; BadInputError when one trial asks for more than there is or can be.

    `resources` is what `connect` yields (sweep/cluster/): with nodes that are still to come where a cluster adds some.

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
    share = int(resources.get(CORES_A_GPU, cores // max(1, gpus)))  # of the node: a worker's cores are beside its GPU
    threads = max(1, share) if use_gpu else 1
    return TrialShape(workers=workers, threads=threads, use_gpu=use_gpu, most_workers=most)


def shared(shape: TrialShape, needed: int, share: int, gpu_bytes: int) -> TrialShape:
    """Return the shape of a trial of one worker that may share its GPU with up to `share` - 1 others, if all fit.

    `needed` are the bytes that each takes.
    """
    if not shape.use_gpu or share == 1 or not shape.inline:
        return shape
    places = max(1, min(share, int((1 - FREE_SHARE) * gpu_bytes // max(1, needed))))
    return replace(shape, gpus=1.0 / places, threads=max(1, shape.threads // places))


def check_precision(plan: "Plan", shape: TrialShape) -> None:
    """Raise BadInputError for a precision that the device of this shape doesn't have."""
    if not shape.use_gpu and any(trial.config.precision == "tf32" for trial in plan.trials):
        raise BadInputError("precision: 'tf32' needs GPUs, the trials run on CPUs; choose fp32 or --device gpu")


def concurrency(
    shape: TrialShape, resources: Mapping[str, float], share: int = 1, *, available: int | None = None, needed: int = 0
) -> int:
    """Return how many trials of a shape fit at once, at least 1.

    On a machine each of whose trials' workers finds `available` bytes and needs at most `needed`, memory limits too.
    """
    wanted = shape.worker_resources()
    if share > 1 and shape.use_gpu:
        wanted = {name: amount / share for name, amount in wanted.items()}
    workers = shape.most_workers or shape.workers  # an elastic trial takes what there is, up to its most
    most = min(int(resources.get(name, 0) / (workers * amount)) for name, amount in wanted.items())
    if available is not None and not shape.use_gpu:
        most = min(most, available // max(1, needed))
    return max(1, most)
