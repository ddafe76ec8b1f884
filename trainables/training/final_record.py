"""Record of a finished trial: the data, hardware and versions that decide or explain its results."""

import platform
import socket
from collections.abc import Sequence

import torch
import torchvision

from trainables.config import TrialConfig
from trainables.data.trial_data import TrialData
from trainables.distributed import world_size
from trainables.storage.trial_records import EpochRecord, FinalRecord, NumberRecord, now_ms


def final_record(
    config: TrialConfig, data: TrialData, epochs: Sequence[EpochRecord], *, recomputed: bool, device: torch.device
) -> FinalRecord:
    """Return the final record of a trial that ends now."""
    return FinalRecord(
        time_ms=now_ms(),
        epochs=config.epochs,
        seconds=sum(record.seconds for record in epochs),
        workers=world_size(),
        threads=torch.get_num_threads(),
        recomputed=recomputed,
        device=torch.cuda.get_device_name() if device.type == "cuda" else platform.machine(),
        host=socket.gethostname(),
        versions=versions(),
        train_images=len(data.train),
        classes=data.classes,
        positive=data.positive_classes,
        number=_number(data),
    )


def _number(data: TrialData) -> NumberRecord | None:
    if not data.has_numbers:
        return None
    values, (mean, deviation) = data.bank.targets, data.number_moments
    ends = {"least": float(values.min()), "largest": float(values.max())}
    return NumberRecord(name=data.number, **ends, mean=mean, deviation=deviation)


def versions() -> dict[str, str]:
    """Return the versions of the libraries on which the last bits of a result depend."""
    return {
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "torchvision": str(torchvision.__version__),
    }
