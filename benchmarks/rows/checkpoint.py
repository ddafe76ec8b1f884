"""Checkpoint wait: the time that training waits for a checkpoint, `python -m benchmarks.rows.checkpoint`.

A ResNet-50 with its momenta is written as in a trial, while the next steps train. Beside it: the same bytes written to
the disk alone, and the same checkpoint written synchronously. Values are medians over turns. Output: a table, and JSON
as the last line.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trainables.config import TrialConfig
from trainables.models.simclr_model import SimCLR, parameter_groups
from trainables.storage.deferred_writes import DeferredWrites
from trainables.storage.filesystem import Storage
from trainables.storage.trial_files import TrialFiles
from trainables.training.optimiser import make_optimiser

CONFIG = TrialConfig.parse({"dataset": "made-up", "encoder": "resnet50", "image_size": 64})
IMAGES, STEPS = 16, 6
REPEATS = 5


class CheckpointTraining:
    """Training steps of a ResNet-50 on random images, without the parts that don't concern checkpoints."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.model = SimCLR(CONFIG, 10).to(device)
        self.optimiser = make_optimiser(CONFIG, parameter_groups(self.model, CONFIG.weight_decay))
        self.images = torch.rand(IMAGES, 3, 64, 64, device=device)

    def steps(self, count: int) -> None:
        """Run `count` steps and wait for the last."""
        for _ in range(count):
            outputs = self.model(self.images)
            loss: Tensor = outputs.embeddings.square().mean() + outputs.logits.square().mean()
            self.optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimiser.step()
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def state(self) -> dict[str, Any]:
        """Return the content of a checkpoint."""
        return {"model": self.model.state_dict(), "optimiser": self.optimiser.state_dict()}


def measure(*, repeats: int = REPEATS, folder: Path | None = None) -> dict[str, Any]:
    """Return seconds of waiting and of its comparisons, and the checkpoint's size in bytes."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    training = CheckpointTraining(device)
    training.steps(2)
    times: dict[str, list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory(dir=folder) as name:
        files = TrialFiles(Storage.at(name).child("aside"), DeferredWrites())
        waited = TrialFiles(Storage.at(name).child("waited_for"))
        first = _seconds(lambda: files.save_checkpoint(0, training.state()))
        files.flush()
        size = (Path(name) / "aside" / "checkpoints" / "000000.pt").stat().st_size
        content = os.urandom(size)
        for epoch in range(1, repeats + 1):
            times["steps_alone"].append(_seconds(lambda: training.steps(STEPS)))
            # With a function in a loop, the number has to be bound.
            times["waits"].append(_seconds(lambda epoch=epoch: files.save_checkpoint(epoch, training.state())))
            times["steps_beside"].append(_seconds(lambda: training.steps(STEPS)))
            files.flush()
            times["written_alone"].append(
                _seconds(lambda epoch=epoch: (files.save_checkpoint(epoch, training.state()), files.flush()))
            )
            times["waited_for"].append(_seconds(lambda epoch=epoch: waited.save_checkpoint(epoch, training.state())))
            times["disk_alone"].append(_seconds(lambda: _write(Path(name) / "bytes", content)))
    medians = {f"{what}_seconds": statistics.median(values) for what, values in times.items()}
    return {
        "device": torch.cuda.get_device_name() if device.type == "cuda" else f"{torch.get_num_threads()} threads",
        "bytes": size,
        "repeats": repeats,
        "first_wait_seconds": first,
        "longest_wait_seconds": max(times["waits"]),
        **medians,
        "slowed_seconds": medians["steps_beside_seconds"] - medians["steps_alone_seconds"],
    }


def _seconds(call: Callable[[], object]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


ROWS = {
    "first_wait_seconds": "training waits, the first time",
    "waits_seconds": "training waits",
    "longest_wait_seconds": "training waits, at most",
    "written_alone_seconds": "until the checkpoint is in the storage, nothing beside it",
    "waited_for_seconds": "the same checkpoint, training waits for the storage",
    "disk_alone_seconds": "the same bytes, written and synchronised by the disk alone",
    "steps_alone_seconds": f"{STEPS} steps of {IMAGES} images",
    "steps_beside_seconds": f"{STEPS} steps while the checkpoint before is written",
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--folder", type=Path, help="on the disk to be measured (default: the temporary folder)")
    options = parser.parse_args()
    found = measure(repeats=options.repeats, folder=options.folder)
    print(f"{found['device']}, {found['bytes'] / 1e6:.0f} MB\n\n| what | seconds |\n|---|---|")
    for name, words in ROWS.items():
        print(f"| {words} | {found[name]:.3f} |")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
