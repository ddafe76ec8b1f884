"""What several test files share: a small store of real images, which every installation has, and one of labels.

Tests of what PyTorch alone can run are read beside it too, so it imports no more where it isn't asked for more.
"""

from typing import TYPE_CHECKING

import pytest
import torch
from support.small_trials import LABELS

from trainables.config import SimCLRConfig
from trainables.data.preparing.prepare import prepare
from trainables.data.store import ImageStore
from trainables.training.trial import train

if TYPE_CHECKING:
    from sweep.records.sweep_record import SweepRecord
    from sweep.records.sweep_storage import SweepStorage


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> ImageStore:
    """Digits: 1,797 scans of 8 x 8 pixels, ten classes."""
    root = tmp_path_factory.mktemp("data")
    prepare("digits", root=root)
    return ImageStore.open("digits", root)


@pytest.fixture(scope="session")
def patches(tmp_path_factory: pytest.TempPathFactory) -> ImageStore:
    """64 patches, three labels in use."""
    from support.sample_data import write_bigearthnet

    root = tmp_path_factory.mktemp("patches")
    source = write_bigearthnet(root, LABELS * 16)
    prepare("bigearthnet_v1", source=source, root=root / "out", splits="random", image_size=24)
    return ImageStore.open("bigearthnet_v1", root / "out")


@pytest.fixture(scope="session")
def swept(tmp_path_factory: pytest.TempPathFactory, store: ImageStore) -> "tuple[SweepRecord, SweepStorage]":
    """A sweep whose last trial failed before it began."""
    from support.small_sweeps import SMALL_SPACE

    from sweep.planning.dataset_sizes import size_of
    from sweep.planning.plan import make_plan
    from sweep.records.sweep_record import describe
    from sweep.records.sweep_storage import SweepStorage

    folder = tmp_path_factory.mktemp("swept")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SWEEP_DATA", str(store.path.parent))
        plan = make_plan(SMALL_SPACE, assignments={}, size_of=size_of)
    storage = SweepStorage(folder)
    record = describe(plan, name="mine", command="python -m sweep.run --space small", commit="abc", versions={})
    storage.write_sweep(record)
    settings = [entry for entry in record.trials if entry.baseline is None]
    for entry in record.trials:
        if entry is not settings[-1]:
            config = SimCLRConfig.parse(entry.config)
            list(train(config, store=store, files=storage.trial_of(entry), device=torch.device("cpu")))
    return record, storage
