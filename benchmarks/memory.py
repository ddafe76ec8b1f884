"""Peak memory of a worker, measured beside the plan's estimate (trainables/memory/peak.py).

    python -m benchmarks.memory                            # about ten minutes on 2 cores
    python -m benchmarks.memory --device cuda              # needs torch, torchvision, numpy, pyarrow, pydantic
    python -m benchmarks.memory --only resnet50 --json memory.json
    python -m benchmarks.memory --show memory.json         # an earlier run beside the estimate as it is now

    python -m benchmarks.memory --recompute                # a plain step and one that computes activations again

Every setting is a process of its own (one a worker), with one thread: a tiny trial loads what is loaded on first use,
then some real steps of `trainables.simclr.Trial` on made-up images, then the last epoch's evaluation. On the CPU the
peak is that of the resident set (VmHWM, reset before each phase) above what the process had before; on a GPU
torch.cuda.max_memory_allocated. Prints a table and, as the last line, JSON. With --recompute each setting is measured
plain and recomputing in turn, three times, and the medians of memory and of the steps' time stand side by side.
"""

import argparse
import ctypes
import gc
import importlib.util
import json
import math
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from types import ModuleType
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from benchmarks.made_up import MadeUpStore
from trainables.config import SimCLRConfig
from trainables.memory.layer_sizes import footprint
from trainables.memory.ledger import Device
from trainables.memory.peak import Images, phases
from trainables.memory.recomputation import time_factor

MIB = 2**20
CLASSES, LEAST_TRAIN, HELD_OUT = 10, 512, 256
RESNET18 = {"encoder": "resnet18", "image_size": 64, "batch_size": 64}
RESNET10 = {"encoder": "resnet10", "image_size": 32, "batch_size": 64}
RESNET50 = {"encoder": "resnet50", "image_size": 64, "batch_size": 64}
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
"""On a GPU these, too."""
RECOMPUTED: tuple[dict[str, Any], ...] = (
    RESNET18 | {"batch_size": 256},
    RESNET50 | {"batch_size": 128},
    {"encoder": "resnet34", "image_size": 64, "batch_size": 128},
    RESNET18 | {"image_size": 32},
)
ROUNDS = 3


@dataclass(frozen=True)
class Result:
    """Bytes of one setting on its largest worker."""

    setting: dict[str, Any]
    device: Device
    training: int
    evaluation: int
    process: int
    """What the process held before: on the CPU its anonymous memory, on a GPU everything outside torch's allocator."""
    seconds: float = math.nan
    """Of a step after the first."""

    @property
    def measured(self) -> int:
        """The larger of both phases."""
        return max(self.training, self.evaluation)

    @property
    def estimate(self) -> int:
        """What a plan says."""
        return max(self.estimates)

    @property
    def estimates(self) -> tuple[int, int]:
        """Of training and of the evaluation after it."""
        config, workers = configuration(self.setting)
        recompute = self.setting.get("recompute", False)
        return phases(config, images(config), workers=workers, device=self.device, recompute=recompute)


def configuration(setting: dict[str, Any]) -> tuple[SimCLRConfig, int]:
    """Return a setting's configuration and its workers."""
    fields = {name: value for name, value in setting.items() if name not in ("workers", "recompute")}
    return SimCLRConfig.parse({"dataset": "made-up", "epochs": 2, "warmup_epochs": 0, **fields}), setting.get(
        "workers", 1
    )


def images(config: SimCLRConfig) -> Images:
    """Return the sizes of the made-up data."""
    return Images(CLASSES, train=max(config.batch_size, LEAST_TRAIN), held_out=HELD_OUT)


class ResidentSet:
    """The resident memory of this process on Linux."""

    def __init__(self) -> None:
        gc.collect()
        ctypes.CDLL("libc.so.6").malloc_trim(0)
        self._base = self._bytes("VmRSS")
        self.process = self._bytes("RssAnon")

    def reset(self) -> None:
        """Forget earlier peaks."""
        Path("/proc/self/clear_refs").write_text("5")

    def peak(self) -> int:
        """Return the peak since, above what the process held at first."""
        return self._bytes("VmHWM") - self._base

    @staticmethod
    def _bytes(name: str) -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return 1024 * int(next(line.split()[1] for line in lines if line.startswith(f"{name}:")))


class GpuMemory:
    """What torch's allocator has handed out on this process's GPU."""

    def __init__(self) -> None:
        gc.collect()
        torch.cuda.empty_cache()
        free, total = torch.cuda.mem_get_info()
        self.process = total - free - torch.cuda.memory_reserved()

    def reset(self) -> None:
        """Forget earlier peaks."""
        torch.cuda.reset_peak_memory_stats()

    def peak(self) -> int:
        """Return the peak since."""
        return torch.cuda.max_memory_allocated()


def provide_stand_ins() -> None:
    """Where SciPy and scikit-learn aren't installed, put what a trial calls of them: memory is all that is measured."""
    if "scipy" not in sys.modules and importlib.util.find_spec("scipy") is None:
        special = ModuleType("scipy.special")
        special.ndtr = lambda x: 0.5 * (1 + math.erf(x / math.sqrt(2)))  # type: ignore[attr-defined]
        special.ndtri = lambda x: torch.special.ndtri(torch.from_numpy(x)).numpy()  # type: ignore[attr-defined]
        sys.modules |= {"scipy": ModuleType("scipy"), "scipy.special": special}
    if "sklearn" not in sys.modules and importlib.util.find_spec("sklearn") is None:
        metrics = ModuleType("sklearn.metrics")
        metrics.average_precision_score = metrics.roc_auc_score = lambda *_: math.nan  # type: ignore[attr-defined]
        sys.modules |= {"sklearn": ModuleType("sklearn"), "sklearn.metrics": metrics}


def _worker(rank: int, setting: dict[str, Any], device: Device, steps: int, folder: str) -> None:
    """Measure on one worker and write what was found."""
    config, workers = configuration(setting)
    torch.set_num_threads(1)
    place = torch.device("cuda", rank) if device == "cuda" else torch.device("cpu")
    if device == "cuda":
        torch.cuda.set_device(rank)
    if workers > 1:
        backend = "nccl" if device == "cuda" else "gloo"
        dist.init_process_group(backend, init_method=f"file://{folder}/meet", rank=rank, world_size=workers)
    tiny = RESNET10 | {"image_size": 16, "width_factor": 1 / 16, "batch_size": 4, "precision": config.precision}
    recompute = setting.get("recompute", False)
    _phases(configuration(tiny)[0], place, 2, f"{folder}/tiny", None, recompute)
    memory = GpuMemory() if device == "cuda" else ResidentSet()
    training, evaluation, seconds = _phases(config, place, steps, f"{folder}/trial", memory, recompute)
    found = {"training": training, "evaluation": evaluation, "process": memory.process, "seconds": seconds}
    Path(folder, f"worker-{rank}.json").write_text(json.dumps(found))
    if workers > 1:
        dist.destroy_process_group()


def _phases(
    config: SimCLRConfig,
    place: torch.device,
    steps: int,
    folder: str,
    memory: ResidentSet | GpuMemory | None,
    recompute: bool,
) -> tuple[int, int, float]:
    """Run a trial's steps, a checkpoint on its way, and the last epoch's evaluation.

    Return the peak of each, and a later step's seconds.
    """
    provide_stand_ins()
    from trainables.storage.filesystem import Storage
    from trainables.storage.host_copy import HostCopy
    from trainables.storage.trial_files import TrialFiles
    from trainables.training.trial import Trial

    store: Any = MadeUpStore(config.image_size, images(config))
    if memory is not None:
        memory.reset()
    trial = Trial(config, store=store, files=TrialFiles(Storage.at(folder)), device=place, recompute=recompute)
    trial.model.train()
    started = 0.0
    for step in range(steps):
        trial._step(step, 1e-3)
        trial.watch.finish()
        if step == 0:
            _on_its_way = HostCopy({"model": trial.model.state_dict(), "optimiser": trial.optimiser.state_dict()})
            started = time.perf_counter()
    seconds = (time.perf_counter() - started) / (steps - 1)
    training = memory.peak() if memory else 0
    if memory:
        memory.reset()
    trial._evaluator().everything()
    return training, memory.peak() if memory else 0, seconds


def measure(setting: dict[str, Any], *, device: Device = "cpu", steps: int = 3) -> Result:
    """Measure one setting in processes of its own."""
    workers = setting.get("workers", 1)
    with tempfile.TemporaryDirectory() as folder:
        mp.start_processes(_worker, args=(setting, device, steps, folder), nprocs=workers, start_method="spawn")
        found = [json.loads(path.read_text()) for path in Path(folder).glob("worker-*.json")]
    return Result(setting, device, **{name: max(each[name] for each in found) for name in found[0]})


def row(result: Result) -> str:
    """Return a line of the table, in MiB."""
    training, evaluation = (f"{bytes_ / MIB:,.0f}" for bytes_ in result.estimates)
    ratio = result.estimate / result.measured
    return (
        f"| {spelled(result.setting)} | {training} | {result.training / MIB:,.0f} | {evaluation} | "
        f"{result.evaluation / MIB:,.0f} | {ratio:.2f} |"
    )


def compared(setting: dict[str, Any], device: Device, steps: int) -> tuple[str, list[Result]]:
    """Return a line of the other table, and what was measured: a step of both kinds, in turn."""
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
    """Return the settings that the device can run and that were asked for."""
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
    """Measure what the command line asks for."""
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
        results = [Result(**fields) for fields in json.loads(options.show.read_text())]
        print(*map(row, results), sep="\n")
        return
    results: list[Result] = []
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
