"""Cost of global batch norm: two workers of a trial, beside the same two with torch's local batch norm.

Two processes of one thread each communicate over gloo and take the same steps of the same trial, with the same global
batch. The peer's batch norm, `torch.nn.functional.batch_norm`, uses its own half only, as in plain
DistributedDataParallel. Turns alternate within the same processes.
"""

import functools
import json
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.harness.measurement import PairedTimings, PlannedMeasurement, beside, seconds
from benchmarks.harness.steps import TrialSteps, made_trial
from trainables.models.batch_norm import GlobalBatchNorm

FIELDS: dict[str, Any] = {"encoder": "resnet18", "image_size": 64, "batch_size": 64}
WORKERS, TURNS = 2, 5
GOAL = 0.85


def measurements() -> Iterator[PlannedMeasurement]:
    """Yield images per second of two workers, beside local batch norm and beside one process."""
    what = "images per second of two workers with global batch norm, resnet18, 64 px, 64 images"
    yield PlannedMeasurement(
        what, "the same with torch's local batch norm", lambda: measured()[0], "/s", GOAL, at_most=False
    )
    yield PlannedMeasurement(what, "one process with two threads", lambda: measured()[1], "/s", at_most=False)


@cache
def measured() -> tuple[PairedTimings, PairedTimings]:
    """Measure both: in turns with local batch norm, and beside one process before and after."""
    with tempfile.TemporaryDirectory() as folder:
        stepper = TrialSteps(made_trial(Path(folder, "one"), torch.device("cpu"), **FIELDS))
        stepper()
        before = [seconds(stepper) for _ in range(TURNS // 2)]
        mp.start_processes(_worker, args=(folder,), nprocs=WORKERS, start_method="spawn")
        found = json.loads(Path(folder, "found.json").read_text())
        alone = (*before, *(seconds(stepper) for _ in range(TURNS - len(before))))
    images = FIELDS["batch_size"]
    workers = tuple(found["ours"])
    return PairedTimings(workers, tuple(found["peer"])).rates(images), PairedTimings(workers, alone).rates(images)


def _worker(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=WORKERS)
    ours, peer = (made_trial(Path(folder, name), torch.device("cpu"), **FIELDS) for name in ("ours", "peer"))
    make_local(peer.model)
    # Every step ends with sums over both ranks, so that they are in step without being told.
    took = beside(TrialSteps(ours), TrialSteps(peer), turns=TURNS, least_seconds=0.0, settle=dist.barrier)
    if rank == 0:
        Path(folder, "found.json").write_text(json.dumps({"ours": took.ours, "peer": took.peer}))
    del ours, peer
    dist.destroy_process_group()


def make_local(model: nn.Module) -> None:
    """Restrict every batch norm of a model to its own rank's images, as in torch."""
    for module in model.modules():
        if isinstance(module, GlobalBatchNorm):
            module.forward = functools.partial(_local, module)  # type: ignore[method-assign]


def _local(norm: GlobalBatchNorm, values: Tensor) -> Tensor:
    return functional.batch_norm(
        values, norm.running_mean, norm.running_var, norm.weight, norm.bias, True, 0.1, norm.eps
    )
