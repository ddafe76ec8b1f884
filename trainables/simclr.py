"""Training of one SimCLR trial with its linear probe, in plain PyTorch; prints one line per epoch record.

    python -m trainables.simclr --set dataset=digits --set epochs=2
    torchrun --nproc-per-node 2 -m trainables.simclr --set dataset=digits --set epochs=2

From Python: `train`.
"""

import argparse
import faulthandler
import gc
import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist

from trainables.config import TrialConfig, data_fingerprint
from trainables.data.store import ImageStore
from trainables.errors import BadInputError, NonFiniteLossError
from trainables.fields.overrides import parse_assignments
from trainables.metrics import names
from trainables.printing.lasting_output import open_streams
from trainables.storage.deferred_writes import DeferredWrites
from trainables.storage.filesystem import Storage
from trainables.storage.trial_files import TrialFiles
from trainables.storage.trial_records import EpochRecord
from trainables.training.trial import train

__all__ = ["main", "run", "train"]

DESCRIPTION = "`python -m trainables.simclr`: train one trial without Ray, and print each epoch's record in a line."


def run(arguments: list[str] | None = None) -> None:
    """Parse the command line and train; exit code 2 for bad input, 1 for a loss that is not finite."""
    options = _parser().parse_args(arguments)
    faulthandler.enable()
    open_streams()
    try:
        _run_trial(options)
    except (BadInputError, NonFiniteLossError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2 if isinstance(error, BadInputError) else 1)
    finally:
        if dist.is_initialized():
            gc.collect()  # what of the trial still held the group would keep its threads to the process's last moment
            dist.destroy_process_group()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m trainables.simclr", description=DESCRIPTION)
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="field of the trial (docs/settings.md); repeatable",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("trials"),
        help="folder of the trials, each in a folder of its own (default: trials)",
    )
    parser.add_argument("--threads", type=int, default=None, help="threads of each process (default: torch's choice)")
    parser.add_argument(
        "--recompute", action="store_true", help="recompute activations: less memory, slower steps, the same result"
    )
    return parser


def _run_trial(options: argparse.Namespace) -> None:
    config = _configuration(options.set).pinned()
    device = _join_group()
    if options.threads:
        torch.set_num_threads(options.threads)
    store = ImageStore.open(config.dataset)
    config = config.for_channels(store.info.channels)
    evaluated = ImageStore.open(config.evaluation_dataset) if config.evaluation_dataset else None
    trial_id = config.trial_id(data_fingerprint(store.fingerprint, evaluated.fingerprint if evaluated else None))
    backlog = DeferredWrites()
    files = TrialFiles(Storage.at(options.output).child(trial_id), backlog)
    speaks = not dist.is_initialized() or dist.get_rank() == 0
    if speaks:
        print(f"trial {trial_id} in {files.storage.address()}", flush=True)
    records = train(
        config, store=store, evaluation_store=evaluated, files=files, device=device, recompute=options.recompute
    )
    for record in records:
        if speaks:
            print(_line(record) + (f"  not written yet: {backlog.error}" if files.behind else ""), flush=True)
    if speaks and (final := files.final()):
        print(f"finished after {final.epochs} epochs, {final.seconds:.1f} s", flush=True)


def _configuration(texts: list[str]) -> TrialConfig:
    values = {}
    for field, choices in parse_assignments(texts).items():
        if len(choices) > 1:
            raise BadInputError(f"--set {field}: one trial takes one value, got {choices}; a sweep varies them")
        values[field] = choices[0]
    return TrialConfig.parse(values)


def _join_group() -> torch.device:
    """Join torchrun's process group if there is one; return this process's device."""
    on_gpu = torch.cuda.is_available()
    if "WORLD_SIZE" in os.environ:
        dist.init_process_group("nccl" if on_gpu else "gloo")
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    if on_gpu:
        torch.cuda.set_device(local_rank)
    return torch.device("cuda", local_rank) if on_gpu else torch.device("cpu")


def _line(record: EpochRecord) -> str:
    shown = (names.CONTRASTIVE_LOSS, names.CONTRASTIVE_ACCURACY, names.SUPERVISED_ACCURACY)
    held_out = [name for name in record.metrics if name.split("/")[-1] in (names.TOP1, names.KNN_TOP1, "linear_top1")]
    values = "  ".join(f"{name} {record.metrics[name]:.4f}" for name in (*shown, *held_out) if name in record.metrics)
    return f"epoch {record.epoch}  {values}  {record.seconds:.1f} s"


def main() -> None:
    """Run one trial from the command line, alone or as one of torchrun's processes."""
    run()


if __name__ == "__main__":
    main()
