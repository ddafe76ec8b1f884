"""Precision, and what happens to a loss or gradient that isn't finite."""

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from support.process_group import on_ranks
from torch import Tensor

from trainables.config import TrialConfig
from trainables.data.store import ImageStore
from trainables.errors import BadInputError, NonFiniteLossError
from trainables.losses import ContrastiveResult
from trainables.models.encoder import Encoder, last_strided_side
from trainables.objectives import contrastive
from trainables.storage.filesystem import Storage
from trainables.storage.trial_files import TrialFiles
from trainables.training.precision import memory_layout, set_precision
from trainables.training.trial import TrialTrainer, train

CPU = torch.device("cpu")
SMALL = TrialConfig(
    dataset="digits",
    image_size=20,
    encoder="resnet10",
    width_factor=1 / 8,
    projector_output_width=16,
    batch_size=20,
    epochs=3,
    warmup_epochs=1,
    max_train_images=60,
    max_test_images=31,
)


def trial(config: TrialConfig, store: ImageStore, folder: Path) -> TrialTrainer:
    return TrialTrainer(config, store=store, files=TrialFiles(Storage.at(folder)), device=CPU)


# Not finite


def test_a_loss_that_is_not_finite_stops_before_the_optimiser(
    store: ImageStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = trial(SMALL, store, tmp_path)
    made.run_epoch(1)
    before = {name: value.clone() for name, value in made.model.named_parameters()}
    checkpoint = (tmp_path / "checkpoints" / "000001.pt").read_bytes()

    def broken(z_a: Tensor, z_b: Tensor, *, temperature: float) -> ContrastiveResult:
        return ContrastiveResult((z_a * z_b).sum() * torch.inf, torch.tensor(0.0), torch.tensor(0.0))

    monkeypatch.setattr(contrastive, "contrast", broken)
    rate = made._learning_rate(3)
    with pytest.raises(NonFiniteLossError) as caught:
        made.run_epoch(2)
    message = str(caught.value)
    assert "at step 3 " in message
    assert f"(learning rate {rate:.4g})" in message
    assert f"the last good checkpoint is {tmp_path}/checkpoints/000001.pt" in message
    for name, value in made.model.named_parameters():
        assert torch.equal(value, before[name]), name
    assert (tmp_path / "checkpoints" / "000001.pt").read_bytes() == checkpoint
    assert [record.epoch for record in made.files.epochs()] == [1]


@pytest.mark.parametrize("poison", [torch.nan, torch.inf])
def test_a_gradient_that_is_not_finite_stops_too_and_the_trial_can_go_on(
    poison: float, store: ImageStore, tmp_path: Path
) -> None:
    """A finite loss with one bad gradient in one layer; the next attempt takes up the last good checkpoint."""
    made = trial(SMALL, store, tmp_path)
    made.run_epoch(1)
    hook = made.model.encoder.layer1[0].conv1.weight.register_hook(lambda gradient: gradient * poison)
    with pytest.raises(NonFiniteLossError, match=r"the loss is \d.* gradients' norms sum to (nan|inf) at step 3 "):
        made.run_epoch(2)
    hook.remove()
    records = list(train(SMALL, store=store, files=made.files, device=CPU))
    assert [record.epoch for record in records] == [2, 3]


def test_without_a_finished_epoch_the_message_says_so(store: ImageStore, tmp_path: Path) -> None:
    made = trial(SMALL, store, tmp_path)
    with torch.no_grad():
        made.model.probe.weight.fill_(torch.nan)
    with pytest.raises(NonFiniteLossError, match=r"at step 0 .*; no epoch was finished before"):
        made.run_epoch(1)


def _poisoned_on_one_rank(store_path: str, folder: str) -> None:
    made = trial(SMALL, ImageStore(Path(store_path)), Path(folder))
    made.run_epoch(1)
    if dist.get_rank() == 1:
        # This rank's part of the probe's gradient, before the ranks' gradients are summed.
        made.model.probe.bias.register_hook(lambda gradient: gradient * torch.nan)
    with pytest.raises(NonFiniteLossError, match=r"at step 3 .*/checkpoints/000001\.pt"):
        made.run_epoch(2)


def test_all_ranks_stop_at_the_step_at_which_one_of_them_went_wrong(store: ImageStore, tmp_path: Path) -> None:
    """A rank that stopped alone would leave the others waiting for it."""
    on_ranks(2, tmp_path, _poisoned_on_one_rank, str(store.path), str(tmp_path / "trial"))


# Precision


def test_bf16_keeps_losses_statistics_and_weights_in_float32(store: ImageStore, tmp_path: Path) -> None:
    narrow = trial(SMALL.model_copy(update={"precision": "bf16"}), store, tmp_path)
    images, targets, draws, _ = narrow._batch(0)
    views = narrow.objective.views(images, draws)
    outputs = narrow._forward(views)
    assert {part.dtype for part in outputs} == {torch.bfloat16}
    loss, metrics = narrow.objective.loss(outputs, targets, None)
    assert loss.dtype == torch.float32
    assert metrics.dtype == torch.float64
    loss.backward()  # type: ignore[no-untyped-call]
    for name, weight in narrow.model.named_parameters():
        assert weight.dtype == torch.float32, name
        assert weight.grad is not None
        assert weight.grad.dtype == torch.float32, name
    for name, buffer in narrow.model.named_buffers():
        assert buffer.dtype == (torch.int64 if name.endswith("tracked") else torch.float32), name
    # Statistics of bf16 maps, summed in float32: within bf16's rounding of a map of float32.
    wide = trial(SMALL, store, tmp_path)
    wide._forward(views)
    for name, buffer in wide.model.encoder.bn1.named_buffers():
        torch.testing.assert_close(narrow.model.encoder.bn1.get_buffer(name), buffer, rtol=4e-3, atol=1e-3, msg=name)


def test_bf16_gives_the_losses_of_fp32_to_its_rounding(store: ImageStore, tmp_path: Path) -> None:
    """At equal weights; trajectories part after some steps (docs/reproducibility.md says how far)."""
    losses = []
    for precision in ("fp32", "bf16"):
        made = trial(SMALL.model_copy(update={"precision": precision}), store, tmp_path / precision)
        losses.append(made._step(0, 0.0).tolist())
    wide, narrow = losses
    assert wide[0] != narrow[0]
    assert narrow[0] == pytest.approx(wide[0], rel=5e-3)
    assert narrow[3] == pytest.approx(wide[3], rel=1e-3)


def test_tf32_needs_a_gpu(store: ImageStore, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="precision: 'tf32' needs a GPU, this device is cpu; choose fp32"):
        trial(SMALL.model_copy(update={"precision": "tf32"}), store, tmp_path)
    set_precision("bf16", CPU)


@pytest.mark.parametrize(
    ("precision", "capability", "layout"),
    [
        ("bf16", "AVX512", torch.channels_last),
        ("bf16", "AVX2", torch.contiguous_format),
        ("fp32", "AVX512", torch.contiguous_format),
    ],
)
def test_maps_lie_channels_last_where_that_is_fast_and_safe(
    precision: str, capability: str, layout: torch.memory_format, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert memory_layout(precision, CPU) == layout  # type: ignore[arg-type]
    assert memory_layout(precision, torch.device("cuda")) == torch.channels_last  # type: ignore[arg-type]


def test_two_runs_in_bf16_are_bit_identical(store: ImageStore, tmp_path: Path) -> None:
    config = SMALL.model_copy(update={"precision": "bf16", "epochs": 1})
    states = []
    for name in ("one", "two"):
        files = TrialFiles(Storage.at(tmp_path / name))
        list(train(config, store=store, files=files, device=CPU))
        states.append(files.load_model()["encoder"])
    assert all(torch.equal(states[1][name], value) for name, value in states[0].items())


@pytest.mark.parametrize(
    ("side", "stem", "undefined"), [(16, "large", True), (17, "large", False), (16, "small", False)]
)
def test_bf16_on_a_cpu_refuses_maps_of_one_pixel(
    side: int, stem: str, undefined: bool, store: ImageStore, tmp_path: Path
) -> None:
    """The strided convolutions' gradients would be what memory held before, where only padding lies under a tap."""
    encoder = Encoder("resnet10", width_factor=1 / 8, small_stem=stem == "small")
    inputs: list[int] = []
    encoder.layer4[0].register_forward_pre_hook(lambda module, arguments: inputs.append(arguments[0].shape[-1]))
    encoder(torch.zeros(2, 3, side, side))
    assert inputs == [last_strided_side(side, small_stem=stem == "small")]
    assert (inputs == [1]) == undefined
    config = SMALL.model_copy(update={"precision": "bf16", "image_size": side, "stem": stem})
    if undefined:
        with pytest.raises(BadInputError, match="undefined gradients at image_size 16"):
            trial(config, store, tmp_path)
    else:
        trial(config, store, tmp_path)
