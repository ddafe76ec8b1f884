"""Smoke run: a space reduced to a tiny size, for an end-to-end run before paying for GPUs."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sweep.planning.expansion import Assignments, DrawCheck, settings_of_all_stages
from sweep.planning.trial import DataSize
from sweep.space import Best, SearchSpace
from trainables.config import TrialConfig
from trainables.errors import BadInputError

TRAIN_IMAGES = 256
TEST_IMAGES = 128
SMALLEST_BATCH = 2
SEARCHED_BATCH, SEARCHED_EPOCHS = 64, 2
TINY: Mapping[str, Any] = {
    "encoder": "resnet10",
    "width_factor": 0.25,
    "max_train_images": TRAIN_IMAGES,
    "max_test_images": TEST_IMAGES,
    "warmup_epochs": 0.0,
}


def shrink(
    settings: Sequence[Mapping[str, Any]],
    space: SearchSpace,
    assignments: Assignments,
    *,
    size_of: Callable[[str], DataSize],
    workers: int,
    check: DrawCheck,
) -> list[dict[str, Any]]:
    """Return the settings with a small encoder, few images and few steps.

    Different batch sizes and training lengths stay different. All batch sizes are scaled by one factor, so that the
    largest is at most half of the train images; training lengths become 1, 2, 3, ... in their order.
    """
    everything = settings_of_all_stages(space, assignments, check)
    if not everything:
        return []
    images = min(_train_images(setting, size_of) for setting in everything)
    batches = _scaled({_value(setting, "batch_size") for setting in everything}, images, workers)
    longer = sorted({_value(setting, "epochs") for setting in everything} - {0})
    lengths = {0: 0, **{length: rank for rank, length in enumerate(longer, start=1)}}
    return [
        {
            **setting,
            **TINY,
            "batch_size": batches[_value(setting, "batch_size")],
            "epochs": lengths[_value(setting, "epochs")],
        }
        for setting in settings
    ]


def made_tiny(setting: Mapping[str, Any], workers: int) -> dict[str, Any]:
    """Return one setting of a search at a tiny size; several settings may become equal."""
    batch = min(_value(setting, "batch_size"), SEARCHED_BATCH) // workers * workers
    return {**setting, **TINY, "batch_size": batch, "epochs": min(_value(setting, "epochs"), SEARCHED_EPOCHS)}


def _value(setting: Mapping[str, Any], name: str) -> Any:
    return setting.get(name, TrialConfig.model_fields[name].default)


def _train_images(setting: Mapping[str, Any], size_of: Callable[[str], DataSize]) -> int:
    name = _value(setting, "dataset")
    # A Best can't stand for a data set: it has to be known what is trained on.
    if isinstance(name, Best):
        raise BadInputError("dataset: a stage can't have its data set decided by another")
    return size_of(name).chosen(float(_value(setting, "validation_fraction")), TRAIN_IMAGES).train


def _scaled(sizes: set[int], images: int, workers: int) -> dict[int, int]:
    """Return each batch size times one power of two, rounded down to a multiple of the workers."""
    largest = max(sizes)
    factor = 1.0
    while largest * factor > images / 2:
        factor /= 2
    scaled = {size: int(size * factor) // workers * workers for size in sizes}
    if min(scaled.values()) < SMALLEST_BATCH or len(set(scaled.values())) < len(sizes):
        raise BadInputError(
            f"--smoke: batch sizes {sorted(sizes)} can't be scaled to fit {images} train images and stay distinct for "
            f"{workers} workers; prepare more images or set fewer batch sizes with --set batch_size=..."
        )
    return scaled
