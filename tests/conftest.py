"""What several test files share: a small store of real images, which every installation has, and one of labels.

Tests of what PyTorch alone can run are read beside it too, so it imports no more where it isn't asked for more.
"""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from support.small_trials import LABELS

from trainables.config import TrialConfig
from trainables.data.preparing.prepare import prepare
from trainables.data.store import ImageStore
from trainables.training.trial import train

if TYPE_CHECKING:
    from sweep.records.sweep_record import SweepRecord
    from sweep.records.sweep_storage import SweepStorage


def pytest_configure() -> None:
    """Let workers of pytest-xdist, and programs that they start, compute with their part of the cores.

    Threads of torch that wait for each other spin, which takes the other worker's time.
    """
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if workers > 1:
        threads = max(1, (os.cpu_count() or 1) // workers)
        torch.set_num_threads(threads)
        os.environ["OMP_NUM_THREADS"] = str(threads)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Start the server of forked processes before the code under test starts one without what tests preload."""
    if session.items and not session.config.option.collectonly and "support.process_group" in sys.modules:
        sys.modules["support.process_group"].start_server()


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
def mlflow_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's SQLite file, migrated and without any run: making one takes seconds, copying it none."""
    from sweep.records.paths import tracking_database
    from sweep.tracking.store import TrackingStore

    folder = tmp_path_factory.mktemp("database")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        store = TrackingStore.choose(None, storage=folder, experiment="unused")
        store.client().search_experiments(max_results=1)
    return tracking_database(folder)


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
            config = TrialConfig.parse(entry.config)
            list(train(config, store=store, files=storage.trial_of(entry), device=torch.device("cpu")))
    return record, storage
