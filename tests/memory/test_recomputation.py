"""Computing activations again: which, that it changes nothing, what it saves."""

import os
from collections.abc import Iterator, Sequence
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.process_group import on_ranks, single_thread
from support.small_trials import CPU, changed, files_in
from support.trajectories import AGREEMENT, default_dtype, largest_difference

from benchmarks.rows.peak_memory import RESNET18, measure
from trainables.config import TrialConfig
from trainables.data.store import ImageStore
from trainables.memory.layer_sizes import BlockSizes, LayerSize, LayerSizes, footprint
from trainables.memory.peak import phases
from trainables.memory.recomputation import SLACK, segments, stem_parts, time_factor
from trainables.memory.simulated_worker import ImageShape
from trainables.models.simclr_model import SimCLR, make_encoder
from trainables.training.precision import autocast
from trainables.training.trial import TrialTrainer, train

GIB = 2**30
IMAGES = ImageShape(classes=10, train=1000, held_out=500)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    with single_thread():
        yield


# Which


def compositions(total: int) -> Iterator[tuple[int, ...]]:
    """Yield every way to cut so many blocks into segments."""
    for count in range(total):
        for cuts in combinations(range(1, total), count):
            yield tuple(b - a for a, b in pairwise((0, *cuts, total)))
    if total == 0:
        yield ()


def held_at_most(model: LayerSizes, lengths: Sequence[int]) -> int:
    """Go backwards through the blocks and return the most elements that live at once."""
    runs, blocks = [], list(model.blocks)
    for length in lengths:
        runs.append(blocks[:length])
        blocks = blocks[length:]
    runs += [blocks] if blocks else []
    live = sum(run[0].layers[0].inputs for run in runs)
    most = 0
    for run in reversed(runs):
        insides = [
            sum(2 * layer.outputs for layer in block.layers) + (block.shortcut.outputs if block.shortcut else 0)
            for block in run
        ]
        for number in reversed(range(len(run))):
            most = max(most, live + sum(insides[: number + 1]) + 2 * run[number].layers[-1].outputs)
        live -= run[0].layers[0].inputs
    assert live == 0
    return most


def stem_holds(model: LayerSizes) -> int:
    count = {4: 2, 8: 4, 64: 4}[model.stem.channels]
    whole, part = model.pooled or model.stem.outputs, model.stem.outputs // count
    return whole + 4 * part + 3 * model.pooled // count


def random_model(generator: np.random.Generator) -> LayerSizes:
    """Return blocks of any sizes, which no ResNet has."""
    maps = [int(n) for n in 8 * generator.integers(1, 50, size=8)]
    blocks = []
    for inputs, outputs in pairwise(maps):
        inside = 8 * int(generator.integers(1, 50))
        layers = (LayerSize(inputs, inside, 10, True), LayerSize(inside, outputs, 10, True))
        blocks.append(BlockSizes(layers, LayerSize(inputs, outputs, 10, False) if generator.random() < 0.5 else None))
    stem = LayerSize(8, maps[0], 40, True, channels=8)
    return LayerSizes(8, stem, 0, tuple(blocks), (), 1, 1)


def models() -> list[LayerSizes]:
    configs = [changed(encoder=e, image_size=s) for e, s in (("resnet10", 32), ("resnet18", 64), ("resnet18", 32))]
    generator = np.random.default_rng(0)
    return [footprint(config, 10) for config in configs] + [random_model(generator) for _ in range(20)]


@pytest.mark.parametrize("model", models())
def test_segments_are_the_best_of_all(model: LayerSizes) -> None:
    """Least memory but for the slack, then the fewest blocks again, then the least memory with so many."""
    count = len(model.blocks)
    held = {cut: held_at_most(model, cut) for again in range(count + 1) for cut in compositions(again)}
    assert len(held) == 2**count
    enough = SLACK * max(stem_holds(model), *([min(held.values())]))
    fewest = min(sum(cut) for cut in held if held[cut] <= enough)
    chosen = segments(model)
    assert sum(chosen) == fewest
    assert held[chosen] == min(held[cut] for cut in held if sum(cut) == fewest)


def test_no_part_of_a_stem_has_one_channel_of_several() -> None:
    assert [stem_parts(width) for width in (1, 2, 3, 4, 5, 7, 8, 64, 130)] == [1, 1, 1, 2, 2, 3, 4, 4, 4]
    parts = make_encoder(changed(width_factor=5 / 64))._parts()
    assert parts == [slice(0, 2), slice(2, 5)]


def test_early_maps_are_cut_finely_and_the_last_ones_left() -> None:
    lengths = segments(footprint(changed(encoder="resnet50", image_size=64), 10))
    assert lengths[:3] == (1, 1, 1)
    assert max(lengths) > 1
    assert sum(lengths) < 16


def test_the_time_is_that_of_the_forward_passes_computed_twice() -> None:
    model = footprint(changed(encoder="resnet18", image_size=64, width_factor=1.0), 10)
    network = SimCLR(changed(encoder="resnet18", image_size=64, width_factor=1.0), 10).encoder
    seen: dict[str, int] = {}
    for name, module in network.named_modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(
                lambda module, _, output, name=name: seen.update({name: module.weight[0].numel() * output.numel()})
            )
    with torch.no_grad():
        network(torch.rand(1, 3, 64, 64))
    again = sum(segments(model))
    blocks = [f"layer{group}.{number}" for group in range(1, 5) for number in range(2)]
    twice = sum(count for name, count in seen.items() if name == "conv1" or name[:8] in blocks[:again])
    assert 0 < again < 8
    assert time_factor(model) == pytest.approx(1 + twice / sum(seen.values()) / 3)


# That it changes nothing


def steps(config: TrialConfig, store: ImageStore, *, recompute: bool) -> dict[str, dict[str, Any]]:
    """Return what three steps give."""
    trial = TrialTrainer(config, store=store, files=files_in(Path("unused")), device=CPU, recompute=recompute)
    trial.model.train()
    metrics = [trial._step(step, 0.1) for step in range(3)]
    named = dict(trial.model.named_parameters())
    return {
        "metrics": dict(enumerate(metrics)),
        "gradients": {name: weight.grad for name, weight in named.items()},
        "state": trial.model.state_dict(),
        "momenta": {name: trial.optimiser.state[weight]["momentum_buffer"] for name, weight in named.items()},
    }


wide_cpu = pytest.mark.skipif(
    torch.backends.cpu.get_cpu_capability() != "AVX512",
    reason="bf16 without AVX-512 unfolds its inputs, whose products were not compared",
)


@pytest.mark.parametrize(
    "fields",
    [
        {"encoder": "resnet18", "width_factor": 0.25, "image_size": 32, "stem": "large"},
        {"encoder": "resnet50", "width_factor": 0.125, "normalisation": "train"},
        pytest.param({"encoder": "resnet10", "width_factor": 5 / 64, "precision": "bf16"}, marks=wide_cpu),
        pytest.param({"encoder": "resnet10", "width_factor": 0.25, "precision": "bf16"}, marks=wide_cpu),
        {"encoder": "resnet18", "training": "supervised", "label_fraction": 0.9},
    ],
)
def test_steps_are_the_same_to_the_last_bit(fields: Any, store: ImageStore) -> None:
    config = changed(**fields)
    plain, recomputed = (steps(config, store, recompute=recompute) for recompute in (False, True))
    assert recomputed["state"]["encoder.bn1.num_batches_tracked"] == 3
    for kind, tensors in plain.items():
        assert tensors.keys() == recomputed[kind].keys()
        for name, tensor in tensors.items():
            assert torch.equal(tensor, recomputed[kind][name]), (kind, name)


def test_an_evaluation_does_not_know_of_segments() -> None:
    model = SimCLR(changed(encoder="resnet18"), 10).eval()
    images = torch.rand(4, 3, 20, 20)
    plain = model(images)
    model.encoder.segments = (1, 2)
    assert torch.equal(model(images).embeddings, plain.embeddings)


TWO_WORKERS = changed(encoder="resnet18", epochs=2)


def _train_double(store_path: str, folder: str, recompute: bool) -> None:
    with default_dtype(torch.float64):
        store = ImageStore(Path(store_path))
        list(train(TWO_WORKERS, store=store, files=files_in(Path(folder)), device=CPU, recompute=recompute))


@pytest.mark.slow
def test_two_workers_computing_again_follow_the_plain_trajectory_of_one(store: ImageStore, tmp_path: Path) -> None:
    assert segments(footprint(TWO_WORKERS, 10))
    _train_double(str(store.path), str(tmp_path / "alone"), False)
    on_ranks(2, tmp_path, _train_double, str(store.path), str(tmp_path / "both"), True)
    alone, both = (files_in(tmp_path / name) for name in ("alone", "both"))
    states = [files.load_checkpoint(2, CPU) for files in (both, alone)]
    assert largest_difference(*(state["model"] for state in states)) <= AGREEMENT
    momenta = [
        {str(number): values["momentum_buffer"] for number, values in state["optimiser"]["state"].items()}
        for state in states
    ]
    assert largest_difference(*momenta) <= AGREEMENT
    final = both.final()
    assert final is not None
    assert final.recomputed


# What it saves


@pytest.mark.parametrize(
    "encoder",
    ["resnet18", pytest.param("resnet34", marks=pytest.mark.long), pytest.param("resnet50", marks=pytest.mark.slow)],
)
def test_little_is_kept_from_the_forward_to_the_backward_pass(encoder: str) -> None:
    config = changed(encoder=encoder, image_size=64, width_factor=1.0)

    def kept(lengths: tuple[int, ...] | None) -> int:
        model = SimCLR(config, 10)
        model.encoder.segments = lengths
        owned = {weights.untyped_storage().data_ptr() for weights in (*model.parameters(), *model.buffers())}
        found: dict[int, int] = {}

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in owned:
                found[storage.data_ptr()] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), autocast(config.precision, CPU):
            outputs = model(torch.rand(4, 3, 64, 64))
        assert outputs.embeddings.requires_grad
        return sum(found.values())

    assert kept(segments(footprint(config, 10))) <= 0.35 * kept(None)


@pytest.mark.slow
@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="peaks are reset through Linux's /proc")
def test_the_estimate_is_within_a_fifth_of_what_is_measured() -> None:
    result = measure(RESNET18 | {"batch_size": 256, "recompute": True}, steps=2)
    estimate, _ = result.estimates
    assert estimate == pytest.approx(result.training, rel=0.2)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("fields", [{"encoder": "resnet18"}, {"encoder": "resnet50"}, {"encoder": "resnet34"}])
def test_the_estimate_of_a_large_batch_falls_to_about_a_third(fields: Any, device: Any) -> None:
    config = TrialConfig.parse({"image_size": 64, "batch_size": 2048, **fields})
    plain, less = (phases(config, IMAGES, device=device, recompute=recompute) for recompute in (False, True))
    assert less[0] < 0.4 * plain[0]
    assert less[1] <= plain[1]
