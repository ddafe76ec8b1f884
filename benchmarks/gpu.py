"""Training speed on a GPU: `make bench-gpu`.

    python -m benchmarks.gpu                      # needs torch, torchvision, numpy, pyarrow and pydantic, no more
    python -m benchmarks.gpu --minutes 3 --only resnet50
    python -m benchmarks.gpu --device cpu --quick  # every code path at a tiny size, without a GPU

Measured for each encoder, image side, batch size and precision, as far as memory and time allow, the thesis' settings
first: a complete training step in turns with the forward and backward pass of torchvision's encoder; images per second;
counted FLOP/s beside the device's peak; peak memory beside the plan's estimate; the views' share of the step. Then: the
top of a profile, the number of host waits per step, the time of an epoch of TinyImageNet, and the GPU-hours of the
thesis' grid without its evaluations. Output: plain text, and JSON as the last line.
"""

import argparse
import itertools
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from benchmarks.harness.arithmetic import counted, grid_hours
from benchmarks.harness.machine import described, machine
from benchmarks.rows.gpu_case import GpuCase, configuration, fits, measure, profiled
from trainables.config import TrialConfig

MINUTES = 8.0
PRECISIONS = ("bf16", "tf32", "fp32")
BATCHES = (256, 1024, 2048)
THESIS = [("resnet50", 64, batch) for batch in BATCHES] + [("resnet50", 120, batch) for batch in BATCHES[:2]]
OTHERS = [("resnet18", side, batch) for side in (64, 120) for batch in BATCHES] + [("resnet50", 120, BATCHES[2])]
QUICK = [("resnet18", 40, 8), ("resnet50", 40, 4)]
EPOCH_IMAGES = 100_000
"""Number of train images of TinyImageNet."""
GOAL_HOURS = 4.0
MIB = 2**20


def main() -> None:
    """Measure the settings of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--quick", action="store_true", help="tiny sizes")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="after so many no further setting is begun")
    parser.add_argument("--only", default="", help="settings whose line holds this text")
    parser.add_argument("--json", type=Path, help="write the results here, too")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        sys.exit("error: torch sees no GPU here; --device cpu --quick tries every path on the CPU")
    found = run(torch.device(options.device), options.quick, options.minutes, options.only)
    text = json.dumps(found)
    if options.json:
        options.json.write_text(text + "\n")
    print(text)


def run(device: torch.device, quick: bool, minutes: float, only: str) -> dict[str, Any]:
    """Measure and print each setting; return the results as JSON values."""
    begin = time.monotonic()
    print(f"{described(machine())}\n\n{HEADINGS}", flush=True)
    cases: list[GpuCase] = []
    skipped: list[str] = []
    for encoder, side, batch, precision in settings(device, quick):
        name = f"{encoder} {side} px {batch} {precision}"
        if only not in name:
            continue
        fields = configuration(encoder, side, batch, precision)
        if time.monotonic() - begin > 60 * minutes:
            skipped.append(f"{name}: no time left")
        elif not fits(fields, device):
            skipped.append(f"{name}: too large for this GPU")
        else:
            try:
                cases.append(measure(fields, device, turns=2 if quick else 5))
                print(row(cases[-1]), flush=True)
            except torch.cuda.OutOfMemoryError:
                skipped.append(f"{name}: out of memory")
    print(*(f"left out: {each}" for each in skipped), sep="\n")
    looked = [each for each in cases if each.encoder == "resnet50"] or cases
    profile = _look_inside(looked[0], device) if looked else {}
    return {
        "machine": machine(),
        "cases": [asdict(case) | {"images_a_second": case.images_a_second} for case in cases],
        "left_out": skipped,
        **profile,
        "thesis": thesis(cases, quick),
    }


def settings(device: torch.device, quick: bool) -> list[tuple[str, int, int, str]]:
    """Return the settings in order: the thesis' in bf16, tf32 and fp32, then the others."""
    precisions = PRECISIONS if device.type == "cuda" else ("bf16", "fp32")
    groups = (QUICK,) if quick else (THESIS, OTHERS)
    return [(*setting, precision) for group in groups for precision, setting in itertools.product(precisions, group)]


HEADINGS = (
    f"{'setting':<28}{'step ms':>9}{'bare ms':>9}{'ratio':>7}{'spread':>14}{'images/s':>10}{'of peak':>9}"
    f"{'views':>8}{'MiB':>9}{'estimate':>10}"
)


def row(case: GpuCase) -> str:
    """Return a line of the table."""
    name = f"{case.encoder} {case.side} px {case.batch} {case.precision}"
    low, high = case.spread
    share = "-" if case.share_of_peak is None else f"{case.share_of_peak:.1%}"
    memory = "-" if case.memory is None else f"{case.memory / MIB:,.0f}"
    return (
        f"{name:<28}{1000 * case.step:>9.1f}{1000 * case.bare:>9.1f}{case.ratio:>7.3f}{f'{low:.3f}-{high:.3f}':>14}"
        f"{case.images_a_second:>10,.0f}{share:>9}{case.views / case.step:>8.1%}{memory:>9}"
        f"{case.estimate / MIB:>10,.0f}"
    )


def _look_inside(case: GpuCase, device: torch.device) -> dict[str, Any]:
    fields = configuration(case.encoder, case.side, case.batch, case.precision)
    table, waits = profiled(fields, device)
    print(f"\nthree steps of {case.encoder}, {case.side} px, {case.batch} images, {case.precision}\n{table}")
    print(f"the host waited in a step: {waits or 'never'}\n", flush=True)
    return {"profiled": fields, "waits_a_step": waits, "profile": table.splitlines()}


def thesis(cases: Sequence[GpuCase], quick: bool) -> dict[str, Any]:
    """Print and return the predicted times of a TinyImageNet epoch and of the thesis' grid at the measured rates."""
    found: dict[str, Any] = {"counted": counted(), "epoch_seconds": {}, "grid_hours": {}}
    print(f"counted: {found['counted']['flop']:.2e} FLOP for {found['counted']['trials']} trials of the thesis' grid")
    for case in cases:
        if quick or (case.encoder, case.side) == ("resnet50", 64):
            name = f"{case.encoder} {case.batch} {case.precision}"
            found["epoch_seconds"][name] = EPOCH_IMAGES / case.images_a_second
            print(f"an epoch of {EPOCH_IMAGES:,} images, {name}: {found['epoch_seconds'][name]:,.1f} s")
    for precision in dict.fromkeys(case.precision for case in cases):
        rates = {(case.side, case.batch): case.images_a_second for case in cases if _trains(case, precision, quick)}
        if quick or all(any(side == wanted for side, _ in rates) for wanted in (64, 120)):
            hours = grid_hours(lambda trial, rates=rates: _nearest(rates, trial))
            found["grid_hours"][precision] = hours
            print(f"the thesis' grid in {precision}: {hours:,.2f} GPU-hours (goal on one H100: {GOAL_HOURS:g})")
    return found


def _trains(case: GpuCase, precision: str, quick: bool) -> bool:
    return case.precision == precision and (quick or case.encoder == "resnet50")


def _nearest(rates: dict[tuple[int, int], float], trial: TrialConfig) -> float:
    """Return the measured rate for the trial's image side, or otherwise the nearest, and for the nearest batch size."""
    return rates[min(rates, key=lambda key: (abs(key[0] - trial.image_size), abs(key[1] - trial.batch_size)))]


if __name__ == "__main__":
    main()
