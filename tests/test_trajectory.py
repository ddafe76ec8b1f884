"""One seed has one trajectory: by number of workers, by restart, and whether or not the probe is looked at."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from trainables.config import SimCLRConfig
from trainables.data.prepare import prepare
from trainables.data.store import ImageStore
from trainables.errors import BadInputError
from trainables.simclr import Trial, train
from trainables.storage import Storage
from trainables.trial_files import EpochRecord, FailureRecord, TrialFiles

SMALL = SimCLRConfig(
    dataset="digits",
    image_size=20,
    encoder="resnet10",
    width_factor=1 / 16,
    projector_layers=2,
    projector_output_width=16,
    batch_size=20,
    epochs=2,
    warmup_epochs=1,
    max_train_images=50,
    max_test_images=31,
    positive=("closed_loop",),
    validation_fraction=0.2,
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ImageStore:
    root = tmp_path_factory.mktemp("data")
    prepare("digits", root=root)
    return ImageStore.open("digits", root)


def files_in(folder: Path) -> TrialFiles:
    return TrialFiles(Storage.at(folder))


def run(config: SimCLRConfig, store: ImageStore, folder: Path) -> list[EpochRecord]:
    return list(train(config, store=store, files=files_in(folder), device=torch.device("cpu")))


def _work(rank: int, world: int, rendezvous: str, body: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=world)
    try:
        body(*arguments)
    finally:
        dist.destroy_process_group()


def on_ranks(world: int, tmp_path: Path, body: Callable[..., None], *arguments: Any) -> None:
    rendezvous = tmp_path / f"rendezvous-{world}-{len(list(tmp_path.iterdir()))}"
    mp.spawn(_work, args=(world, str(rendezvous), body, arguments), nprocs=world)  # type: ignore[no-untyped-call]


def _train_double(store_path: str, folder: str, config: SimCLRConfig) -> None:
    torch.set_default_dtype(torch.float64)
    try:
        run(config, ImageStore(Path(store_path)), Path(folder))
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.fixture(scope="module")
def one_worker(store: ImageStore, tmp_path_factory: pytest.TempPathFactory) -> TrialFiles:
    folder = tmp_path_factory.mktemp("one")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    _train_double(str(store.path), str(folder), SMALL)
    torch.set_num_threads(threads)
    return files_in(folder)


@pytest.mark.parametrize("world", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_workers_follow_one_trajectory(world: int, one_worker: TrialFiles, store: ImageStore, tmp_path: Path) -> None:
    """Batch 20 straddles epochs of 50, 31 test images leave uneven shares, and all must count exactly once."""
    on_ranks(world, tmp_path, _train_double, str(store.path), str(tmp_path / "trial"), SMALL)
    several = files_in(tmp_path / "trial")
    for mine, theirs in zip(one_worker.epochs(), several.epochs(), strict=True):
        for name, value in mine.metrics.items():
            if name != "train/images_per_second":
                # The regression is a search that ends within a tolerance; all else is arithmetic.
                relative = 1e-4 if "linear_" in name else 1e-8
                assert theirs.metrics[name] == pytest.approx(value, rel=relative, abs=1e-9), (mine.epoch, name)
    device = torch.device("cpu")
    expected, found = one_worker.load_checkpoint(2, device)["model"], several.load_checkpoint(2, device)["model"]
    for name, weights in expected.items():
        torch.testing.assert_close(found[name], weights, rtol=1e-8, atol=1e-9, msg=name)
    for split in ("val", "test"):
        mine_table, their_table = one_worker.outputs(split), several.outputs(split)
        assert mine_table is not None
        assert their_table is not None
        assert mine_table["row"] == their_table["row"]
        assert mine_table["label"] == their_table["label"]


def test_resumed_trial_is_bit_identical(store: ImageStore, tmp_path: Path) -> None:
    whole = run(SMALL, store, tmp_path / "whole")
    broken = files_in(tmp_path / "broken")
    unfinished = train(SMALL, store=store, files=broken, device=torch.device("cpu"))
    first = next(unfinished)
    unfinished.close()
    rest = run(SMALL, store, tmp_path / "broken")
    assert [record.epoch for record in (first, *rest)] == [record.epoch for record in whole]
    for name, value in whole[-1].metrics.items():
        if name != "train/images_per_second":
            assert rest[-1].metrics[name] == value, name
    device = torch.device("cpu")
    expected = files_in(tmp_path / "whole").load_checkpoint(2, device)
    found = broken.load_checkpoint(2, device)
    for name, weights in expected["model"].items():
        assert torch.equal(found["model"][name], weights), name
    for key, state in expected["optimiser"]["state"].items():
        assert torch.equal(found["optimiser"]["state"][key]["momentum_buffer"], state["momentum_buffer"])


def test_torn_checkpoint_falls_back_and_first_record_stands(
    store: ImageStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = SMALL.model_copy(update={"epochs": 3})
    files = files_in(tmp_path)
    unfinished = train(config, store=store, files=files, device=torch.device("cpu"))
    records = [next(unfinished), next(unfinished)]
    unfinished.close()
    newest = tmp_path / "checkpoints" / "000002.pt"
    newest.write_bytes(newest.read_bytes()[:1000])
    again = run(config, store, tmp_path)
    assert "epoch 2 can't be read" in capsys.readouterr().out
    assert [record.epoch for record in again] == [2, 3]
    assert again[0] == records[1]


def test_new_attempt_clears_the_failure_of_the_last(store: ImageStore, tmp_path: Path) -> None:
    files = files_in(tmp_path)
    files.write_failure(FailureRecord(time_ms=1, kind="crash", message="it fell over"))
    attempt = train(SMALL, store=store, files=files, device=torch.device("cpu"))
    next(attempt)
    attempt.close()
    assert files.failure() is None


def test_finished_trial_yields_nothing(store: ImageStore, tmp_path: Path) -> None:
    assert len(run(SMALL, store, tmp_path)) == 2
    assert run(SMALL, store, tmp_path) == []


def test_probe_does_not_change_the_encoder(store: ImageStore, tmp_path: Path) -> None:
    """Targets of another kind change the probe alone."""
    run(SMALL, store, tmp_path / "classes")
    binary = SMALL.model_copy(update={"target": "positive"})
    run(binary, store, tmp_path / "binary")
    a = files_in(tmp_path / "classes").load_model()
    b = files_in(tmp_path / "binary").load_model()
    assert a["probe"]["weight"].shape != b["probe"]["weight"].shape
    for name, weights in a["encoder"].items():
        assert torch.equal(weights, b["encoder"][name]), name


def test_outputs_hold_every_image_and_give_the_metrics(store: ImageStore, tmp_path: Path) -> None:
    last = run(SMALL, store, tmp_path)[-1].metrics
    table = files_in(tmp_path).outputs("test")
    assert table is not None
    logits = np.array(table["logits"].to_pylist())
    labels = table["label"].to_numpy()
    assert len(labels) == 31
    assert (logits.argmax(1) == labels).mean() == pytest.approx(last["test/top1"])
    closed = np.isin(np.arange(10), [0, 6, 8, 9])
    said, truth = closed[logits.argmax(1)], closed[labels]
    assert (said & truth).sum() / truth.sum() == pytest.approx(last["test/sensitivity"])
    assert (~said & ~truth).sum() / (~truth).sum() == pytest.approx(last["test/specificity"])


def test_batch_larger_than_train_is_refused(store: ImageStore) -> None:
    config = SMALL.model_copy(update={"batch_size": 60})
    with pytest.raises(BadInputError, match=r"batch_size: 60 is larger than the 50 train images of digits"):
        Trial(config, store=store, files=files_in(Path("unused")), device=torch.device("cpu"))
