"""What the other tests hold true on the CPU, on one GPU and on several; skipped where there is none.

SWEEP_GPU_TESTS_ON_CPU=1 runs on the CPU what needs no GPU of it: a check of this file, not of the project.
"""

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from support.stores import of_noise
from torch.nn import functional

from trainables.augment.evaluation_view import evaluation_view
from trainables.augment.parameters import draw_view
from trainables.augment.views import two_views
from trainables.config import TrialConfig
from trainables.data.store import ImageStore
from trainables.losses import contrast
from trainables.randomness.counter_based import RandomStream
from trainables.storage.filesystem import Storage
from trainables.storage.host_copy import HostCopy
from trainables.storage.trial_files import TrialFiles
from trainables.training.precision import set_precision
from trainables.training.trial import TrialTrainer, train

HAS_GPU = torch.cuda.is_available()
REHEARSED = not HAS_GPU and os.environ.get("SWEEP_GPU_TESTS_ON_CPU") == "1"
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        not HAS_GPU and not REHEARSED,
        reason="needs a GPU that torch can use, and this machine has none: nothing is tested",
    ),
]
needs_gpu = pytest.mark.skipif(not HAS_GPU, reason="a CPU can't stand in for the GPU here")
CPU, GPU = torch.device("cpu"), torch.device("cpu") if REHEARSED else torch.device("cuda", 0)
STEPS = 20
CONFIG = TrialConfig(
    dataset="noise",
    image_size=32,
    encoder="resnet18",
    stem="large",
    batch_size=16,
    epochs=5,
    warmup_epochs=1,
    max_train_images=64,
    max_test_images=31,
    positive=("a",),
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ImageStore:
    return of_noise(tmp_path_factory.mktemp("noise"), each=48)


@pytest.fixture(autouse=True)
def exact() -> Iterator[None]:
    """Leave no test another one's precision."""
    yield
    set_precision("fp32", GPU)


@pytest.fixture
def double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def trial(config: TrialConfig, store: ImageStore, folder: Path, device: torch.device) -> TrialTrainer:
    return TrialTrainer(config, store=store, files=TrialFiles(Storage.at(folder)), device=device)


def after_steps(made: TrialTrainer, count: int = STEPS) -> tuple[list[list[float]], dict[str, torch.Tensor]]:
    """Take steps; return each one's metrics, and weights, buffers and gradients on the CPU."""
    made.model.train()
    metrics = [made._step(step, made._learning_rate(step)).tolist() for step in range(count)]
    made.watch.finish()
    tensors = dict(made.model.state_dict())
    tensors |= {
        f"grad {name}": weight.grad for name, weight in made.model.named_parameters() if weight.grad is not None
    }
    return metrics, {name: tensor.detach().cpu() for name, tensor in tensors.items()}


def assert_close(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor], tolerance: float) -> None:
    for name, tensor in expected.items():
        largest = tensor.double().abs().max().clamp_min(1e-30)
        assert float((found[name].double() - tensor.double()).abs().max() / largest) <= tolerance, name


@pytest.mark.parametrize("size", [64, 120])
def test_views_are_those_of_the_cpu(size: int) -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (32, 3, size, size), dtype=torch.uint8, generator=generator)
    config = TrialConfig(vertical_flip_probability=0.5, rotation_probability=0.5)
    draws = [draw_view(config, s, 0, 32, height=size, width=size) for s in (RandomStream.VIEW_A, RandomStream.VIEW_B)]
    pair = draws[0], draws[1]
    for mine, theirs in zip(
        two_views(images.to(GPU), pair, image_size=size), two_views(images, pair, image_size=size), strict=True
    ):
        torch.testing.assert_close(mine.cpu(), theirs, rtol=0, atol=1e-5)
    found = evaluation_view(images.to(GPU), image_size=size)
    torch.testing.assert_close(found.cpu(), evaluation_view(images, image_size=size), rtol=0, atol=1e-6)


def test_float64_follows_the_cpus_trajectory(double: None, store: ImageStore, tmp_path: Path) -> None:
    metrics, found = after_steps(trial(CONFIG, store, tmp_path / "gpu", GPU))
    expected_metrics, expected = after_steps(trial(CONFIG, store, tmp_path / "cpu", CPU))
    for mine, theirs in zip(metrics, expected_metrics, strict=True):
        assert mine == pytest.approx(theirs, rel=1e-9)
    assert_close(found, expected, 1e-9)


def test_float32_starts_like_float64(store: ImageStore, tmp_path: Path) -> None:
    metrics, _ = after_steps(trial(CONFIG, store, tmp_path / "gpu", GPU), 1)
    torch.set_default_dtype(torch.float64)
    try:
        expected, _ = after_steps(trial(CONFIG, store, tmp_path / "cpu", CPU), 1)
    finally:
        torch.set_default_dtype(torch.float32)
    assert metrics[0][0] == pytest.approx(expected[0][0], rel=1e-4)
    assert metrics[0][3] == pytest.approx(expected[0][3], rel=1e-4)


@pytest.mark.parametrize("precision", ["fp32", pytest.param("tf32", marks=needs_gpu), "bf16"])
def test_two_runs_and_a_restart_are_bit_identical(precision: str, store: ImageStore, tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"precision": precision, "epochs": 3})
    folders = [TrialFiles(Storage.at(tmp_path / name)) for name in ("one", "two", "broken")]
    for files in folders[:2]:
        list(train(config, store=store, files=files, device=GPU))
    unfinished = train(config, store=store, files=folders[2], device=GPU)
    next(unfinished)
    unfinished.close()
    list(train(config, store=store, files=folders[2], device=GPU))
    states = [files.load_checkpoint(3, CPU)["model"] for files in folders]
    for name, value in states[0].items():
        assert torch.equal(states[1][name], value), name
        assert torch.equal(states[2][name], value), name


@needs_gpu
@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype feature")
def test_a_step_never_waits_for_the_gpu(store: ImageStore, tmp_path: Path) -> None:
    """The first step may (kernels are chosen, memory is taken), later ones may not."""
    made = trial(CONFIG, store, tmp_path, GPU)
    made.model.train()
    made._step(0, 0.0)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for step in (1, 2, 3):
            made._step(step, made._learning_rate(step))
    finally:
        torch.cuda.set_sync_debug_mode("default")


@needs_gpu
def test_tf32_is_in_convolutions_alone_and_only_where_it_is_asked_for() -> None:
    """The convolution strides, since others may be Winograd's in float32 although TF32 is allowed."""
    generator = torch.Generator().manual_seed(0)
    shapes = {"product": ((512, 512), (512, 512)), "convolution": ((8, 256, 28, 28), (256, 256, 3, 3))}
    operations = {"product": torch.matmul, "convolution": partial(functional.conv2d, stride=2)}
    errors = {}
    for name, operation in operations.items():
        operands = [torch.randn(shape, generator=generator) for shape in shapes[name]]
        exact = operation(*(operand.double() for operand in operands))
        for precision in ("fp32", "tf32"):
            set_precision(precision, GPU)  # type: ignore[arg-type]
            found = operation(*(operand.to(GPU) for operand in operands)).cpu().double()
            errors[precision, name] = float((found - exact).abs().max() / exact.abs().max())
    if torch.cuda.get_device_capability() >= (8, 0):
        assert errors.pop(("tf32", "convolution")) > 3e-5
    assert max(errors.values()) < 1e-5


def test_bf16_leaves_the_loss_in_float32(store: ImageStore, tmp_path: Path) -> None:
    made = trial(CONFIG.model_copy(update={"precision": "bf16"}), store, tmp_path, GPU)
    images, targets, draws, _ = made._batch(0)
    outputs = made._forward(torch.cat(two_views(images, draws, image_size=32)))
    assert outputs.embeddings.dtype == torch.bfloat16
    assert made.objective.loss(outputs, targets, None)[0].dtype == torch.float32
    a, b = outputs.embeddings.detach().chunk(2)
    torch.testing.assert_close(
        contrast(a, b, temperature=0.1).loss.cpu(), contrast(a.cpu(), b.cpu(), temperature=0.1).loss, rtol=1e-5, atol=0
    )


def _on_gpus(rank: int, world: int, port: int, store_path: str, folder: str, results: Any) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.cuda.set_device(rank)
    torch.set_default_dtype(torch.float64)
    dist.init_process_group("nccl", rank=rank, world_size=world)
    try:
        made = trial(CONFIG, ImageStore(Path(store_path)), Path(folder), torch.device("cuda", rank))
        _, tensors = after_steps(made)
        if rank == 0:
            torch.save(tensors, results)
    finally:
        dist.destroy_process_group()


@needs_gpu
@pytest.mark.parametrize("world", [2, 4])
def test_several_gpus_follow_one_trajectory(world: int, double: None, store: ImageStore, tmp_path: Path) -> None:
    if torch.cuda.device_count() < world:
        pytest.skip(f"needs {world} GPUs, this machine has {torch.cuda.device_count()}")
    results = tmp_path / "tensors.pt"
    arguments = (world, 29_600 + world, str(store.path), str(tmp_path / "several"), str(results))
    mp.spawn(_on_gpus, args=arguments, nprocs=world)  # type: ignore[no-untyped-call]
    _, expected = after_steps(trial(CONFIG, store, tmp_path / "one", GPU))
    assert_close(torch.load(results), expected, 1e-9)


def test_a_copy_from_the_gpu_is_of_the_moment_it_was_made(tmp_path: Path) -> None:
    weights = torch.zeros(64, 1024, 1024, device=GPU)
    expected = weights.copy_(torch.randn(1024, 1024, device=GPU)).cpu()
    copy = HostCopy({"weights": weights, "momenta": [weights[:1], 3]})
    weights.zero_()  # on the same stream, while the copy may still be under way
    with (tmp_path / "copy.pt").open("wb") as stream:
        copy.save(stream)
    found = torch.load(tmp_path / "copy.pt", weights_only=True)
    assert torch.equal(found["weights"], expected)
    assert torch.equal(found["momenta"][0], expected[:1])
