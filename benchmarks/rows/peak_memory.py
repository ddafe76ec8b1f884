"""Peak memory of one setting, measured on real workers, and the plan's estimate."""

import importlib.util
import json
import math
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from benchmarks.harness.made_up import MadeUpStore
from benchmarks.harness.memory_in_use import GpuMemory, ResidentSet
from trainables.config import TrialConfig
from trainables.memory.ledger import Device
from trainables.memory.peak import phases
from trainables.memory.simulated_worker import ImageShape

CLASSES, LEAST_TRAIN, HELD_OUT = 10, 512, 256
RESNET18 = {"encoder": "resnet18", "image_size": 64, "batch_size": 64}
RESNET10 = {"encoder": "resnet10", "image_size": 32, "batch_size": 64}
RESNET50 = {"encoder": "resnet50", "image_size": 64, "batch_size": 64}


@dataclass(frozen=True)
class MeasuredMemory:
    """Memory in bytes of one setting, on the worker with the largest peak."""

    setting: dict[str, Any]
    device: Device
    training: int
    evaluation: int
    process: int
    """Memory at the start: on the CPU anonymous memory, on a GPU everything outside torch's allocator."""
    seconds: float = math.nan
    """Seconds of a step after the first."""

    @property
    def measured(self) -> int:
        """Larger peak of the two phases."""
        return max(self.training, self.evaluation)

    @property
    def estimate(self) -> int:
        """Estimate of the plan."""
        return max(self.estimates)

    @property
    def estimates(self) -> tuple[int, int]:
        """Estimates for training and for the evaluation after it."""
        config, workers = configuration(self.setting)
        recompute = self.setting.get("recompute", False)
        return phases(config, images(config), workers=workers, device=self.device, recompute=recompute)


def configuration(setting: dict[str, Any]) -> tuple[TrialConfig, int]:
    """Return a setting's configuration and number of workers."""
    fields = {name: value for name, value in setting.items() if name not in ("workers", "recompute")}
    return TrialConfig.parse({"dataset": "made-up", "epochs": 2, "warmup_epochs": 0, **fields}), setting.get(
        "workers", 1
    )


def images(config: TrialConfig) -> ImageShape:
    """Return the shape of the synthetic data."""
    return ImageShape(CLASSES, train=max(config.batch_size, LEAST_TRAIN), held_out=HELD_OUT)


def provide_stand_ins() -> None:
    """Replace the functions of SciPy and scikit-learn that a trial calls if these aren't installed.

    Only memory is measured, so their results don't matter.
    """
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
    """Measure one worker and write the result to a file."""
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
    config: TrialConfig,
    place: torch.device,
    steps: int,
    folder: str,
    memory: ResidentSet | GpuMemory | None,
    recompute: bool,
) -> tuple[int, int, float]:
    """Run a trial's steps, a checkpoint in the background, and the last epoch's evaluation.

    Returns:
        Peak bytes of training and of evaluation, and the seconds of a later step.
    """
    provide_stand_ins()
    from trainables.storage.filesystem import Storage
    from trainables.storage.host_copy import HostCopy
    from trainables.storage.trial_files import TrialFiles
    from trainables.training.trial import TrialTrainer

    store: Any = MadeUpStore(config.image_size, images(config))
    if memory is not None:
        memory.reset()
    trial = TrialTrainer(config, store=store, files=TrialFiles(Storage.at(folder)), device=place, recompute=recompute)
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


def measure(setting: dict[str, Any], *, device: Device = "cpu", steps: int = 3) -> MeasuredMemory:
    """Measure one setting in separate processes."""
    workers = setting.get("workers", 1)
    for tries_left in (1, 0):
        with tempfile.TemporaryDirectory() as folder:
            try:
                mp.start_processes(_worker, args=(setting, device, steps, folder), nprocs=workers, start_method="spawn")
            except mp.ProcessExitedException as error:  # PyTorch's own threads abort a process once in a while
                if not tries_left or error.signal_name != "SIGABRT":
                    raise
                continue
            found = [json.loads(path.read_text()) for path in Path(folder).glob("worker-*.json")]
        break
    return MeasuredMemory(setting, device, **{name: max(each[name] for each in found) for name in found[0]})
