"""Memory check of a plan: which trials fit, which fit only with activation recomputation, and what would fit."""

import contextlib
import math
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sweep.console.formatting import GIB, gib, plural
from sweep.planning.launch import LaunchOptions
from sweep.planning.plan import Plan
from sweep.planning.resources import parse_workers
from sweep.planning.trial import PlannedTrial
from trainables.config import TrialConfig
from trainables.errors import BadInputError
from trainables.memory.ledger import Device
from trainables.memory.peak import fits, peak_bytes, process_bytes
from trainables.memory.simulated_worker import ImageShape

MOST_WORKERS = 64
LEAST_SHARE = 8
"""Smallest advised batch: the requested size divided by this; a smaller batch would be a different experiment."""
SMALLER = 0.75
"""If a trial failed although its estimate fits, advised settings need at most this share of the estimate."""


@dataclass(frozen=True)
class MemoryBudget:
    """Memory available to each worker of a trial, as far as it is known."""

    device: Device = "cpu"
    available: int | None = None
    """Bytes for each worker; None if unknown."""
    given: int | None = None
    """Bytes that a worker needs according to the user, which replace the estimate."""

    def recomputes(self, trial: PlannedTrial, workers: int) -> bool:
        """Whether this trial uses activation recomputation: it fits with it, and not without."""
        if self.available is None or self.given is not None:
            return False
        if fits(trial.memory_bytes(workers, self.device), self.available, device=self.device):
            return False
        return fits(trial.memory_bytes(workers, self.device, recompute=True), self.available, device=self.device)

    def needed(self, trial: PlannedTrial, workers: int) -> int:
        """Return the bytes that a worker of the trial needs, in addition to its process."""
        if self.given is not None:
            return self.given
        return trial.memory_bytes(workers, self.device, recompute=self.recomputes(trial, workers))

    def most_needed(self, plan: Plan) -> int:
        """Return the bytes that a worker of the largest trial needs."""
        return max((self.needed(trial, plan.workers) for trial in plan.trials), default=0)

    def holds(self, trial: PlannedTrial, workers: int) -> bool:
        """Whether a worker of this trial fits; true if the memory is unknown."""
        return self.available is None or fits(self.needed(trial, workers), self.available, device=self.device)

    def recomputed(self, plan: Plan) -> list[str]:
        """Return a line for each setting with activation recomputation: memory saved and time added."""
        names: dict[str, list[str]] = {}
        for trial in plan.trials:
            if self.recomputes(trial, plan.workers):
                plain = trial.memory_bytes(plan.workers, self.device)
                gain = f"{gib(self.needed(trial, plan.workers))} instead of {gib(plain)} per worker"
                longer = math.ceil(10 * trial.time_recomputed) / 10
                cost = f"about {longer} times as long per step, same results"
                said = f"activations computed again in the backward pass: {gain}, {cost}"
                names.setdefault(said, []).append(trial.name)
        return [f"{_first(listed)}: {said}" for said, listed in names.items()]

    def not_fitting(self, plan: Plan) -> list[str]:
        """Return a line for each setting that doesn't fit."""
        lines: dict[str, str] = {}
        for trial in plan.trials:
            if not self.holds(trial, plan.workers):
                if self.given is None:
                    said = advice(trial.config, plan.workers, self.available, images=trial.images, device=self.device)
                else:
                    said = f"{gib(self.given)} per worker as given, {gib(self.available or 0)} available"
                lines.setdefault(said, f"{trial.name} does not fit: {said}")
        return list(lines.values())

    def check(self, plan: Plan) -> None:
        """Raise BadInputError when a trial doesn't fit."""
        if lines := self.not_fitting(plan):
            raise BadInputError(*lines, "to run it anyway, state a worker's memory: --memory GIB")


def _bytes(option: str, gibibytes: float | None) -> int | None:
    if gibibytes is not None and not math.isfinite(gibibytes):
        raise BadInputError(f"{option}: must be a finite number of GiB, got {gibibytes}")
    return None if gibibytes is None else int(gibibytes * GIB)


def memory_budget(launch: LaunchOptions, gpu_gib: float | None, *, use_gpu: bool, here: bool = True) -> MemoryBudget:
    """Return the memory budget of a worker: of a GPU with `gpu_gib`, else of this machine, if trials run here.

    Without `gpu_gib`, the size of a GPU is not queried, so this function stays light.
    """
    given = _bytes("--memory", launch.memory)
    if use_gpu:
        return MemoryBudget("cuda", _bytes("--gpu-memory", gpu_gib), given)
    least, _ = parse_workers(launch.workers)
    return MemoryBudget("cpu", machine_bytes() // least if here else None, given)


def machine_bytes() -> int:
    """Return this machine's memory in bytes, or the limit of its control group."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with contextlib.suppress(OSError, ValueError):  # "max": no limit
        total = min(total, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return total


def advice(
    config: TrialConfig,
    workers: int,
    available: int | None = None,
    *,
    images: ImageShape | None = None,
    device: Device = "cpu",
    recomputed: bool = False,
) -> str:
    """Return a sentence with the memory estimate of a worker and the options that would fit into `available` bytes.

    Example: "estimated 38.2 GiB per worker at batch 2048 on 1 worker, 24.0 GiB available; what would fit: --workers 4:
    9.8 GiB each; --set precision=bf16: 21.0 GiB; --set batch_size=1024: 19.1 GiB". Without `available`, it lists
    options that need clearly less. An option uses activation recomputation if it doesn't fit without, or if the trial
    was `recomputed`.
    """
    known = images or ImageShape()

    def estimate(trial: TrialConfig, count: int) -> int:
        plain, less = (peak_bytes(trial, known, workers=count, device=device, recompute=r) for r in (False, True))
        too_much = available is not None and not fits(plain, available, device=device)
        return min(plain, less) if recomputed or too_much else plain

    now = estimate(config, workers)
    does_fit = available is None or fits(now, available, device=device)

    def would_fit(needed: int) -> bool:
        smaller = not does_fit or needed <= SMALLER * now
        return smaller and (available is None or fits(needed, available, device=device))

    plain = peak_bytes(config, known, workers=workers, device=device)
    how = f" with activations computed again ({gib(plain)} without)" if now < plain else ""
    said = f"estimated {gib(now)} per worker{how} at batch {config.batch_size} on {plural(workers, 'worker')}"
    if available is not None:
        said += f", {gib(available)} available"
    if does_fit and available is not None:
        said += ", which should do: it may be shared, or the estimate too low"
    options = list(_options(config, workers, estimate, would_fit)) or list(_combined(config, estimate, would_fit))
    less = peak_bytes(config, known, workers=workers, device=device, recompute=True)
    if device == "cuda" and available is None and not recomputed and would_fit(less):
        options.insert(0, f"--gpu-memory {_least_gib(less)}: {gib(less)} with activations computed again")
    if options:
        return f"{said}; what would fit: {'; '.join(options)}"
    return f"{said}; nothing up to {MOST_WORKERS} workers would fit: choose a smaller encoder or smaller images"


def _options(
    config: TrialConfig,
    workers: int,
    estimate: Callable[[TrialConfig, int], int],
    would_fit: Callable[[int], bool],
) -> Iterator[str]:
    """Yield single options that would fit: the fewest workers (same results), bf16, and the largest batch."""
    for count in _doubled(workers, min(MOST_WORKERS, config.batch_size)):
        if would_fit(needed := estimate(config, count)):
            yield f"--workers {count}: {gib(needed)} each"
            break
    half = config.model_copy(update={"precision": "bf16"})
    if config.precision != "bf16" and would_fit(needed := estimate(half, workers)):
        yield f"--set precision=bf16: {gib(needed)}"
    for batch in _halved(config.batch_size, max(2, workers, config.batch_size // LEAST_SHARE)):
        if would_fit(needed := estimate(config.model_copy(update={"batch_size": batch}), workers)):
            yield f"--set batch_size={batch}: {gib(needed)}"
            break


def _combined(
    config: TrialConfig, estimate: Callable[[TrialConfig, int], int], would_fit: Callable[[int], bool]
) -> Iterator[str]:
    """Yield the largest batch that would fit with bf16, and the fewest workers for it."""
    for batch in [config.batch_size, *_halved(config.batch_size, 2)]:
        smaller = config.model_copy(update={"batch_size": batch, "precision": "bf16"})
        for count in [1, *_doubled(1, min(MOST_WORKERS, batch))]:
            if would_fit(needed := estimate(smaller, count)):
                yield f"--workers {count} --set precision=bf16 --set batch_size={batch}: {gib(needed)} each"
                return


def _doubled(start: int, most: int) -> Iterable[int]:
    while (start := 2 * start) <= most:
        yield start


def _halved(start: int, least: int) -> Iterable[int]:
    while (start := start // 2) >= least:
        yield start


def _least_gib(needed: int) -> float:
    """Return the memory in GiB (one decimal) of the smallest GPU that holds `needed` bytes."""
    return math.ceil(10 * (needed + process_bytes("cuda")) / GIB) / 10


def _first(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
