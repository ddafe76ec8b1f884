"""Measurement of one setting on a GPU: step, bare step, views, memory, and a profile of the step."""

import contextlib
import io
import statistics
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.harness.arithmetic import peak_of, step_flops
from benchmarks.harness.measurement import in_turns
from benchmarks.harness.steps import CLASSES, TrialSteps, bare_step, made_trial, settle, sizes
from trainables.config import TrialConfig
from trainables.memory.peak import phases
from trainables.training.trial import TrialTrainer

TURNS = 5
PROFILED_STEPS, SHOWN = 3, 18
WAITS = ("cudaStreamSynchronize", "cudaEventSynchronize", "cudaMemcpy")
"""CUDA calls in which the host waits; cudaDeviceSynchronize is the profiler's own."""
SHARE_OF_FREE = 0.9


@dataclass(frozen=True)
class GpuCase:
    """Measurements of one setting, in seconds and bytes."""

    encoder: str
    side: int
    batch: int
    precision: str
    step: float
    bare: float
    views: float
    """Seconds to read images and make both views."""
    ratio: float
    """Step over bare step, median over turns."""
    spread: tuple[float, float]
    share_of_peak: float | None
    """Counted FLOP/s over the device's peak; None if the peak is unknown."""
    memory: int | None
    estimate: int

    @property
    def images_a_second(self) -> float:
        """Training rate in images per second."""
        return self.batch / self.step


def configuration(encoder: str, side: int, batch: int, precision: str) -> dict[str, Any]:
    """Return the configuration fields of a setting."""
    return {"encoder": encoder, "image_size": side, "batch_size": batch, "precision": precision}


def estimate(fields: dict[str, Any], device: torch.device) -> int:
    """Return the plan's estimate of the peak memory of training, in bytes."""
    config = TrialConfig.parse({"dataset": "made-up", "epochs": 2, **fields})
    return phases(config, sizes(config), device="cuda" if device.type == "cuda" else "cpu")[0]


def fits(fields: dict[str, Any], device: torch.device) -> bool:
    """Whether the estimate fits into the free memory."""
    if device.type != "cuda":
        return True
    torch.cuda.empty_cache()
    return estimate(fields, device) <= SHARE_OF_FREE * torch.cuda.mem_get_info(device)[0]


@contextlib.contextmanager
def trial_of(fields: dict[str, Any], device: torch.device) -> Iterator[TrialTrainer]:
    """Yield the trainer of a trial with these fields, without its log output."""
    with tempfile.TemporaryDirectory() as folder:
        with contextlib.redirect_stdout(io.StringIO()):
            trial = made_trial(Path(folder), device, **fields)
        yield trial
        if device.type == "cuda":
            trial.watch.finish()


def measure(fields: dict[str, Any], device: torch.device, turns: int = TURNS) -> GpuCase:
    """Measure one setting; torch.cuda.OutOfMemoryError if it doesn't fit."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    with trial_of(fields, device) as trial:
        stepper = TrialSteps(trial)
        for _ in range(2):  # the first has no gradients of a step before
            stepper()
        memory = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
        calls = [stepper, bare_step(trial), stepper.input]
        took = list(in_turns(calls, turns=turns, settle=settle(device)))
        config = trial.config
    step, bare, views = (statistics.median(each) for each in zip(*took, strict=True))
    ratios = [turn[0] / turn[1] for turn in took]
    peak = peak_of(torch.cuda.get_device_name(device), config.precision) if device.type == "cuda" else None
    return GpuCase(
        config.encoder,
        config.image_size,
        config.batch_size,
        config.precision,
        step,
        bare,
        views,
        statistics.median(ratios),
        (min(ratios), max(ratios)),
        None if peak is None else step_flops(config, CLASSES) / step / peak,
        memory,
        estimate(fields, device),
    )


def profiled(fields: dict[str, Any], device: torch.device) -> tuple[str, dict[str, float]]:
    """Return the profiler's table of the longest operations, and the number of host waits per step."""
    on_gpu = device.type == "cuda"
    with trial_of(fields, device) as trial:
        stepper, wait = TrialSteps(trial), settle(device)
        for _ in range(3):
            stepper()
        wait()
        activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
        with profile(activities=activities) as record:
            for _ in range(PROFILED_STEPS):
                stepper()
        waits = {event.key: event.count / PROFILED_STEPS for event in record.key_averages() if event.key in WAITS}
        wait()
        order = "self_cuda_time_total" if on_gpu else "self_cpu_time_total"
        table = record.key_averages().table(sort_by=order, row_limit=SHOWN, max_name_column_width=60)
        return table, waits | ({"warned of": _warned(stepper)} if on_gpu else {})


def _warned(stepper: TrialSteps) -> float:
    """Return the number of operations per step that torch reports as synchronising."""
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            stepper()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return float(sum("synchroniz" in str(each.message) for each in caught))
