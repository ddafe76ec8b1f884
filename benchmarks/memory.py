"""Peak memory of a worker, beside the plan's estimate (trainables/memory/peak.py).

    python -m benchmarks.memory                            # about ten minutes on 2 cores
    python -m benchmarks.memory --device cuda              # needs torch, torchvision, numpy, pyarrow, pydantic
    python -m benchmarks.memory --only resnet50 --json memory.json
    python -m benchmarks.memory --show memory.json         # an earlier run beside the current estimate

    python -m benchmarks.memory --recompute                # a plain step, and one with activation recomputation

Each setting runs in its own processes, one per worker, with one thread: a tiny trial for everything that is loaded on
first use, then some real steps of trainables/training/trial.py on synthetic images, then the last epoch's evaluation.
The peak on the CPU is that of the resident set (VmHWM, reset before each phase) above the memory at the start; on a GPU
it is torch.cuda.max_memory_allocated. Output: a table, and JSON as the last line. With --recompute each setting is
measured three times in turns with and without recomputation; the table has the medians of memory and step time.
"""

import argparse
import json
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.rows.peak_memory import CLASSES, RESNET10, RESNET18, RESNET50, MeasuredMemory, configuration, measure
from trainables.memory.layer_sizes import footprint
from trainables.memory.ledger import Device
from trainables.memory.recomputation import time_factor

MIB = 2**20
SETTINGS: tuple[dict[str, Any], ...] = (
    RESNET10,
    RESNET10 | {"stem": "large", "batch_size": 16, "precision": "bf16"},
    RESNET10 | {"stem": "large", "batch_size": 32, "precision": "bf16", "workers": 2},
    RESNET10 | {"width_factor": 0.25, "precision": "bf16"},
    RESNET10 | {"width_factor": 0.25, "precision": "bf16", "batch_size": 256},
    RESNET10 | {"width_factor": 0.25},
    RESNET10 | {"width_factor": 0.25, "batch_size": 256},
    RESNET10 | {"image_size": 64, "width_factor": 0.25, "batch_size": 512},
    RESNET10 | {"image_size": 120, "width_factor": 0.25, "batch_size": 128, "workers": 2},
    RESNET10 | {"image_size": 16, "width_factor": 1 / 16, "batch_size": 2048},
    RESNET18,
    RESNET18 | {"workers": 2},
    RESNET18 | {"batch_size": 256},
    RESNET18 | {"image_size": 32},
    RESNET18 | {"image_size": 32, "stem": "large", "batch_size": 512},
    RESNET18 | {"projector_layers": 4, "optimiser": "adamw"},
    {"encoder": "resnet34", "image_size": 120, "width_factor": 0.5, "batch_size": 64},
    RESNET50,
    RESNET50 | {"image_size": 32, "stem": "large", "width_factor": 0.5, "projector_layers": 1},
)
LARGE: tuple[dict[str, Any], ...] = (
    RESNET18 | {"batch_size": 2048},
    RESNET50 | {"batch_size": 1024},
    RESNET50 | {"batch_size": 1024, "precision": "bf16"},
    RESNET50 | {"batch_size": 1024, "precision": "tf32"},
    RESNET50 | {"image_size": 120, "batch_size": 512, "precision": "bf16"},
)
"""Additional settings on a GPU."""
RECOMPUTED: tuple[dict[str, Any], ...] = (
    RESNET18 | {"batch_size": 256},
    RESNET50 | {"batch_size": 128},
    {"encoder": "resnet34", "image_size": 64, "batch_size": 128},
    RESNET18 | {"image_size": 32},
)
ROUNDS = 3


def row(result: MeasuredMemory) -> str:
    """Return a line of the table, in MiB."""
    training, evaluation = (f"{bytes_ / MIB:,.0f}" for bytes_ in result.estimates)
    ratio = result.estimate / result.measured
    return (
        f"| {spelled(result.setting)} | {training} | {result.training / MIB:,.0f} | {evaluation} | "
        f"{result.evaluation / MIB:,.0f} | {ratio:.2f} |"
    )


def compared(setting: dict[str, Any], device: Device, steps: int) -> tuple[str, list[MeasuredMemory]]:
    """Return a line of the table with and without recomputation, and the measurements in turns."""
    kinds = [setting, setting | {"recompute": True}]
    found = [[measure(kind, device=device, steps=steps) for kind in kinds] for _ in range(ROUNDS)]
    plain, less = zip(*found, strict=True)
    memory = [median(one.training for one in kind) / MIB for kind in (plain, less)]
    seconds = [median(one.seconds for one in kind) for kind in (plain, less)]
    estimates = [kind[0].estimates[0] / MIB for kind in (plain, less)]
    factor = time_factor(footprint(configuration(setting)[0], CLASSES))
    cells = [
        spelled(setting),
        *(f"{value:,.0f}" for pair in zip(estimates, memory, strict=True) for value in pair),
        f"{memory[1] / memory[0]:.2f}",
        *(f"{value:.2f}" for value in seconds),
        f"{factor:.2f}",
        f"{seconds[1] / seconds[0]:.2f}",
    ]
    return f"| {' | '.join(cells)} |", [result for pair in found for result in pair]


COMPARED = (
    "| setting | plain, MiB: estimate | measured | again: estimate | measured | ratio | plain, s a step | again | "
    "time: estimate | ratio |\n|---|---|---|---|---|---|---|---|---|---|"
)
HEADER = "| setting | training, MiB: estimate | measured | evaluation: estimate | measured | ratio of peaks |\n" + (
    "|---|---|---|---|---|---|"
)


def spelled(setting: dict[str, Any]) -> str:
    """Return a setting in words."""
    fields = {name: value for name, value in setting.items() if name not in ("encoder", "image_size", "batch_size")}
    rest = "".join(
        f", {name} {value:g}" if isinstance(value, float) else f", {name} {value}" for name, value in fields.items()
    )
    return f"{setting['encoder']}, {setting['image_size']} px, batch {setting['batch_size']}{rest}"


def chosen(device: Device, only: str, recompute: bool) -> list[dict[str, Any]]:
    """Return the requested settings that the device can run."""
    settings = RECOMPUTED if recompute else SETTINGS
    settings += () if device == "cpu" else LARGE
    return [
        setting
        for setting in settings
        if only in spelled(setting)
        # A GPU takes one worker.
        and (device == "cpu" or setting.get("workers", 1) <= torch.cuda.device_count())
    ]


def main() -> None:
    """Measure the settings of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--steps", type=int, default=2, help="at least 2: the first has no gradients of a step before")
    parser.add_argument("--only", default="", help="settings whose row holds this text")
    parser.add_argument("--json", type=Path, help="write the results here, too")
    parser.add_argument("--show", type=Path, help="measure nothing, print these results")
    parser.add_argument("--recompute", action="store_true", help="compare steps that compute activations again")
    options = parser.parse_args()
    print(COMPARED if options.recompute else HEADER, flush=True)
    if options.show:
        results = [MeasuredMemory(**fields) for fields in json.loads(options.show.read_text())]
        print(*map(row, results), sep="\n")
        return
    results: list[MeasuredMemory] = []
    for setting in chosen(options.device, options.only, options.recompute):
        if options.recompute:
            line, found = compared(setting, options.device, options.steps)
        else:
            found = [measure(setting, device=options.device, steps=options.steps)]
            line = row(found[0])
        results += found
        print(line, flush=True)
        if options.json:
            options.json.write_text(json.dumps([vars(result) for result in results]))
    print(json.dumps([vars(result) for result in results]))


if __name__ == "__main__":
    main()
