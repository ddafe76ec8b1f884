"""One seed has one trajectory, by any number of workers, and nothing else decides it (test_restart.py: restarts)."""

import json
import os
import pickle
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.paths import ROOT
from support.process_group import on_ranks, single_thread
from support.sample_data import write_eurosat
from support.trajectories import AGREEMENT, default_dtype, largest_difference

from trainables.config import TrialConfig
from trainables.data.preparing import decode_workers
from trainables.data.preparing.prepare import prepare
from trainables.data.store import ImageStore
from trainables.distributed import sum_over_ranks
from trainables.errors import BadInputError
from trainables.metrics import names
from trainables.storage.filesystem import Storage
from trainables.storage.trial_files import TrialFiles
from trainables.storage.trial_records import EpochRecord
from trainables.training.trial import TrialTrainer, train

SMALL = TrialConfig(
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


WIDE = TrialConfig(
    dataset="digits",
    image_size=32,
    encoder="resnet18",
    stem="large",  # cheap
    batch_size=16,
    epochs=7,
    warmup_epochs=2,
    base_learning_rate=3.2,  # 0.2 at the peak, after step 6
    temperature=0.5,  # at 0.25 rounding alone grows to 4e-9 of a gradient in 20 steps
    max_train_images=50,
)
STEPS, SNAPSHOTS = 20, (1, 10, 20)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    with single_thread():
        yield


def files_in(folder: Path) -> TrialFiles:
    return TrialFiles(Storage.at(folder))


def run(config: TrialConfig, store: ImageStore, folder: Path) -> list[EpochRecord]:
    return list(train(config, store=store, files=files_in(folder), device=torch.device("cpu")))


SUPERVISED = SMALL.model_copy(
    update={"training": "supervised", "label_fraction": 0.7, "probe_class_weight": "balanced"}
)


def _train_double(store_path: str, folder: str, config: TrialConfig) -> None:
    with default_dtype(torch.float64):
        run(config, ImageStore(Path(store_path)), Path(folder))


def tolerance(metric: str) -> float:
    if metric.endswith(f"{names.LINEAR}{names.SCALE}"):
        return 1e-3  # of a regression that separates the few labels: hardly curved at its optimum
    if names.LINEAR in metric or names.SCALE in metric:
        return 1e-4  # a search that ends within a tolerance
    # Effective ranks take square roots of eigenvalues, where those that are zero but for rounding weigh 1e-8.
    return 1e-6 if metric.endswith("_rank") else AGREEMENT


def assert_same_end(found: TrialFiles, expected: TrialFiles) -> None:
    """Compare every epoch's metrics and the final weights of two trials in float64."""
    for mine, theirs in zip(expected.epochs(), found.epochs(), strict=True):
        assert mine.metrics.keys() == theirs.metrics.keys()
        for name, value in mine.metrics.items():
            if name not in names.OF_THE_MACHINE:
                assert theirs.metrics[name] == pytest.approx(value, rel=tolerance(name), abs=1e-9), (mine.epoch, name)
    weights = [files.load_checkpoint(SMALL.epochs, torch.device("cpu"))["model"] for files in (found, expected)]
    assert largest_difference(*weights) <= AGREEMENT


@pytest.fixture(scope="module")
def one_worker(store: ImageStore, tmp_path_factory: pytest.TempPathFactory) -> TrialFiles:
    folder = tmp_path_factory.mktemp("one")
    _train_double(str(store.path), str(folder), SMALL)
    return files_in(folder)


@pytest.mark.parametrize("world", [2, pytest.param(3, marks=pytest.mark.slow), pytest.param(4, marks=pytest.mark.long)])
def test_workers_follow_one_trajectory(world: int, one_worker: TrialFiles, store: ImageStore, tmp_path: Path) -> None:
    """Batch 20 straddles epochs of 50 and three don't divide it; 31 test images must count exactly once."""
    on_ranks(world, tmp_path, _train_double, str(store.path), str(tmp_path / "trial"), SMALL)
    several = files_in(tmp_path / "trial")
    assert_same_end(several, one_worker)
    for split in ("val", "test"):
        mine_table, their_table = one_worker.outputs(split), several.outputs(split)
        assert mine_table is not None
        assert their_table is not None
        assert mine_table["row"] == their_table["row"]
        assert mine_table["label"] == their_table["label"]


@pytest.mark.slow
def test_two_workers_learn_labels_as_one_does(store: ImageStore, tmp_path: Path) -> None:
    _train_double(str(store.path), str(tmp_path / "alone"), SUPERVISED)
    on_ranks(2, tmp_path, _train_double, str(store.path), str(tmp_path / "both"), SUPERVISED)
    assert_same_end(files_in(tmp_path / "both"), files_in(tmp_path / "alone"))


@pytest.mark.slow
def test_two_workers_go_on_where_one_stopped(one_worker: TrialFiles, store: ImageStore, tmp_path: Path) -> None:
    moved = files_in(tmp_path / "trial")
    with default_dtype(torch.float64):
        alone = train(SMALL, store=store, files=moved, device=torch.device("cpu"))
        first = next(alone)
        alone.close()
    on_ranks(2, tmp_path, _train_double, str(store.path), str(tmp_path / "trial"), SMALL)
    assert moved.epochs()[0] == first
    assert_same_end(moved, one_worker)


def _follow(store_path: str, config: TrialConfig, dtype: torch.dtype, folder: str) -> None:
    """Take STEPS steps: alone, write down what they lead to; in a group, how far each rank is from that."""
    with default_dtype(dtype):
        unused = files_in(Path(folder) / "unused")
        trial = TrialTrainer(config, store=ImageStore(Path(store_path)), files=unused, device=torch.device("cpu"))
        trial.model.train()
        losses = {}
        differences: dict[str, list[float]] = {}
        for step in range(STEPS):
            metrics = trial._step(step, trial._learning_rate(step))
            losses[f"contrastive {step}"], losses[f"supervised {step}"] = metrics[0], sum_over_ranks(metrics)[3]
            if step + 1 in SNAPSHOTS:
                path = Path(folder) / f"after-{step + 1}.pt"
                seen = _state(trial) | {"loss": losses}
                if trial.world == 1:
                    torch.save(seen, path)
                    continue
                expected = torch.load(path, mmap=True)
                for kind, tensors in seen.items():
                    differences.setdefault(kind, []).append(largest_difference(tensors, expected[kind]))
        (Path(folder) / f"differences-{trial.world}-{trial.rank}.json").write_text(json.dumps(differences))


def _state(trial: TrialTrainer) -> dict[str, dict[str, Any]]:
    named = dict(trial.model.named_parameters())
    return {
        "gradient": {name: weight.grad for name, weight in named.items()},
        "parameter": {name: weight.detach() for name, weight in named.items()},
        "buffer": dict(trial.model.named_buffers()),
        "momentum": {name: trial.optimiser.state[weight]["momentum_buffer"] for name, weight in named.items()},
    }


@pytest.mark.slow
def test_every_step_of_a_wide_encoder_is_the_same_on_two_workers(store: ImageStore, tmp_path: Path) -> None:
    """At full width and through the peak of the learning rate; every rank is compared, and prints its figures."""
    _follow(str(store.path), WIDE, torch.float64, str(tmp_path))
    on_ranks(2, tmp_path, _follow, str(store.path), WIDE, torch.float64, str(tmp_path))
    for rank in range(2):
        differences = json.loads((tmp_path / f"differences-2-{rank}.json").read_text())
        print(f"rank {rank} of 2, after steps {SNAPSHOTS}: {differences}")
        assert set(differences) == {"gradient", "parameter", "buffer", "momentum", "loss"}
        for kind, values in differences.items():
            assert np.max(values) <= AGREEMENT, (rank, kind, values)
    for file in tmp_path.glob("after-*.pt"):
        file.unlink()  # half a gigabyte, and pytest keeps folders


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
        TrialTrainer(config, store=store, files=files_in(Path("unused")), device=torch.device("cpu"))


def history(records: list[EpochRecord]) -> list[str]:
    """Return all that epochs gave, but for how fast they were, to the last bit."""
    metrics = [{**record.metrics, names.IMAGES_PER_SECOND: 0.0} for record in records]
    return [repr(values) for values in metrics]


def generator_states() -> bytes:
    """Return where the generators stand that all code of a process shares."""
    return pickle.dumps((torch.get_rng_state().numpy(), np.random.get_state(), random.getstate()))


@pytest.fixture
def shared_generators() -> Iterator[None]:
    before = torch.get_rng_state(), np.random.get_state(), random.getstate()
    yield
    torch.set_rng_state(before[0])
    np.random.set_state(before[1])
    random.setstate(before[2])


@pytest.mark.usefixtures("shared_generators")
def test_shared_generators_are_neither_read_nor_moved(store: ImageStore, tmp_path: Path) -> None:
    results = []
    for number in (1, 2):
        torch.manual_seed(number)
        np.random.seed(number)
        random.seed(number)
        before = generator_states()
        records = run(SMALL, store, tmp_path / str(number))
        assert generator_states() == before
        state = files_in(tmp_path / str(number)).load_checkpoint(SMALL.epochs, torch.device("cpu"))
        results.append((history(records), state["model"]))
    assert results[0][0] == results[1][0]
    assert largest_difference(results[0][1], results[1][1]) == 0.0


def test_another_seed_is_another_trajectory(store: ImageStore) -> None:
    trials = [
        TrialTrainer(
            SMALL.model_copy(update={"seed": seed}), store=store, files=files_in(Path()), device=torch.device("cpu")
        )
        for seed in (0, 1)
    ]
    (images_a, _, draws_a, _), (images_b, _, draws_b, _) = (trial._batch(0) for trial in trials)
    assert not torch.equal(images_a, images_b)
    assert all((a.boxes != b.boxes).any() for a, b in zip(draws_a, draws_b, strict=True))
    for name, weights in trials[0].model.named_parameters():
        if weights.dim() > 1:  # all but batch norm and biases, which start at 1 and 0
            assert not torch.equal(weights, trials[1].model.get_parameter(name)), name


def test_trajectory_does_not_depend_on_how_the_store_was_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_eurosat(tmp_path / "in", images=6)
    config = SMALL.model_copy(update={"dataset": "eurosat", "epochs": 1, "max_train_images": None, "positive": ()})
    made = []
    for threads, chunk_bytes in ((1, decode_workers.CHUNK_BYTES), (1, 40_000), (3, 40_000)):
        root = tmp_path / f"{threads}-{chunk_bytes}"
        with monkeypatch.context() as patch:
            patch.setattr(decode_workers, "CHUNK_BYTES", chunk_bytes)
            patch.setattr(os, "sched_getaffinity", lambda _, count=threads: set(range(count)))
            prepare("eurosat", source=source, root=root)
        store = ImageStore.open("eurosat", root)
        shuffled = np.random.default_rng(0).permutation(len(store))
        splits = [store.split(name).tolist() for name in ("train", "test")]
        content = store.fingerprint, store.names(shuffled), splits, store.images(shuffled).numpy().tobytes()
        made.append((content, history(run(config, store, root / "trial"))))
    assert made[0] == made[1] == made[2]


WITHOUT_THE_SERVICE = (
    "import sys; sys.modules.update(dict.fromkeys(('ray', 'mlflow', 'sweep'))); "  # None: importing them raises
    "from trainables.simclr import run; run(sys.argv[1:])"
)


@pytest.mark.slow
def test_a_trial_needs_no_ray_mlflow_or_sweep(store: ImageStore, tmp_path: Path) -> None:
    fields = ("dataset", "image_size", "encoder", "width_factor", "batch_size", "epochs", "max_train_images")
    settings = [f"--set={name}={getattr(SMALL, name)}" for name in fields]
    command = [sys.executable, "-c", WITHOUT_THE_SERVICE, f"--output={tmp_path}", "--threads=1", *settings]
    environment = os.environ | {"SWEEP_DATA": str(store.path.parent)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "finished after 2 epochs" in done.stdout
