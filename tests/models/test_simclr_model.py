"""The model against torchvision and torch, initial weights against their rule."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchvision.models import resnet

from trainables.config import TrialConfig
from trainables.models.batch_norm import GlobalBatchNorm
from trainables.models.encoder import Encoder
from trainables.models.simclr_model import Projector, SimCLR, parameter_groups

TORCHVISION: dict[str, Callable[[], resnet.ResNet]] = {
    "resnet10": lambda: resnet.ResNet(resnet.BasicBlock, [1, 1, 1, 1]),
    "resnet18": resnet.resnet18,
    "resnet34": resnet.resnet34,
    "resnet50": resnet.resnet50,
}
PARAMETERS = {"resnet18": 11_176_512, "resnet34": 21_284_672, "resnet50": 23_508_032}
SMALL = TrialConfig(encoder="resnet10", width_factor=1 / 8, image_size=32, projector_output_width=16)


def random_state(model: nn.Module) -> dict[str, Tensor]:
    """Return a state without the classifier, whose batch norms all do something."""
    generator = torch.Generator().manual_seed(0)
    state = {name: value for name, value in model.state_dict().items() if not name.startswith("fc.")}
    for name, value in state.items():
        if value.dim() == 1:
            state[name] = 0.5 + torch.rand(value.shape, generator=generator)
    return state


@pytest.mark.parametrize("name", TORCHVISION)
def test_encoder_is_torchvisions_resnet_without_its_classifier(name: str) -> None:
    theirs = TORCHVISION[name]()
    state = random_state(theirs)
    mine = Encoder(name, small_stem=False)
    assert {key: value.shape for key, value in mine.state_dict().items()} == {k: v.shape for k, v in state.items()}
    expected_names = [key for key, _ in theirs.named_parameters() if not key.startswith("fc.")]
    assert [key for key, _ in mine.named_parameters()] == expected_names
    count = sum(weight.numel() for weight in mine.parameters())
    assert count == PARAMETERS.get(name, count)

    mine.load_state_dict(state)
    theirs.fc = nn.Identity()
    theirs.load_state_dict(state)
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        found, expected = mine.eval()(images), theirs.eval()(images)
    assert found.shape == (2, mine.output_width)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6 * expected.abs().max().item())


@pytest.mark.parametrize(
    ("stem", "image_size", "small"),
    [("auto", 32, True), ("auto", 33, False), ("auto", 64, False), ("small", 120, True), ("large", 20, False)],
)
def test_stem_rule(stem: str, image_size: int, small: bool) -> None:
    config = TrialConfig.parse({**SMALL.model_dump(), "stem": stem, "image_size": image_size})
    encoder = SimCLR(config, 2).encoder
    assert config.small_stem is small
    assert encoder.conv1.kernel_size == ((3, 3) if small else (7, 7))
    assert encoder.conv1.stride == ((1, 1) if small else (2, 2))
    assert isinstance(encoder.maxpool, nn.Identity if small else nn.MaxPool2d)
    images = torch.rand(1, 3, 64, 64)
    assert encoder.maxpool(encoder.conv1(images)).shape[-1] == (64 if small else 16)
    stages = nn.Sequential(encoder.conv1, encoder.maxpool, *(getattr(encoder, f"layer{n}") for n in range(1, 5)))
    assert stages(images).shape[-1] == (8 if small else 2)


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_width_factor_multiplies_every_channel_count(name: str) -> None:
    whole, half = Encoder(name, small_stem=True), Encoder(name, width_factor=0.25, small_stem=True)
    assert half.output_width * 4 == whole.output_width
    for (key, wide), (other, narrow) in zip(whole.named_parameters(), half.named_parameters(), strict=True):
        assert key == other
        for axis, (large, small) in enumerate(zip(wide.shape, narrow.shape, strict=True)):
            image_or_kernel = axis >= 2 or (key == "conv1.weight" and axis == 1)
            assert small == (large if image_or_kernel else large / 4), key


def test_convolutions_start_as_truncated_normals_of_the_fan_in() -> None:
    encoder = SimCLR(SMALL.model_copy(update={"width_factor": 0.5, "encoder": "resnet18"}), 10).encoder
    pooled = []
    for name, weight in encoder.named_parameters():
        if weight.dim() != 4:
            continue
        scaled = weight.detach().numpy().ravel() * math.sqrt(weight[0].numel())
        # std 1 after cutting, so the cut lies at 2 / 0.8796.
        assert np.abs(scaled).max() <= 2.2738, name
        error = 4.5 / math.sqrt(len(scaled))
        assert abs(scaled.std() - 1.0) < error, name
        assert abs(scaled.mean()) < error, name
        pooled.append(scaled)
    everything = np.concatenate(pooled)
    assert everything.std() == pytest.approx(1.0, abs=3e-3)
    assert np.abs(everything).max() > 2.27
    # Share within one std of a normal that is cut at two of its own sigmas; one that isn't cut has 0.683.
    inside = math.erf(0.87962566 / math.sqrt(2)) / math.erf(2 / math.sqrt(2))
    assert (np.abs(everything) < 1.0).mean() == pytest.approx(inside, abs=3e-3)


@pytest.mark.parametrize("name", ["resnet10", "resnet50"])
def test_batch_norms_start_at_one_and_each_blocks_last_at_zero(name: str) -> None:
    model = SimCLR(SMALL.model_copy(update={"encoder": name}), 3)
    last = "bn3.weight" if name == "resnet50" else "bn2.weight"
    zeros = 0
    for key, weight in model.named_parameters():
        if weight.dim() == 1 and not key.startswith("probe."):
            gamma = key.endswith("weight")
            zero = not gamma or (key.startswith("encoder.layer") and key.endswith(last))
            zeros += gamma and zero
            assert set(weight.tolist()) == {0.0 if zero else 1.0}, key
    assert zeros == {"resnet10": 4, "resnet50": 16}[name]


def test_dense_layers_start_as_small_normals() -> None:
    model = SimCLR(SMALL.model_copy(update={"width_factor": 1.0, "projector_output_width": 512}), 100)
    for layer in [*model.projector, model.probe]:
        if isinstance(layer, nn.Linear):
            weights = layer.weight.detach().numpy()
            assert weights.std() == pytest.approx(0.01, rel=4 / math.sqrt(2 * weights.size))
            assert abs(weights.mean()) < 4 * 0.01 / math.sqrt(weights.size)
            assert np.abs(weights).max() > 0.03  # not cut
    assert not model.probe.bias.any()


@pytest.mark.parametrize("layers", [1, 2, 3, 4])
def test_projector_layers(layers: int) -> None:
    projector = Projector(12, layers=layers, hidden_width=20, output_width=8)
    dense = [module for module in projector if isinstance(module, nn.Linear)]
    norms = [module for module in projector if isinstance(module, GlobalBatchNorm)]
    widths = [12, *[20] * (layers - 1), 8]
    assert [tuple(module.weight.shape) for module in dense] == list(zip(widths[1:], widths[:-1], strict=True))
    assert all(module.bias is None for module in dense)
    assert [module.bias is not None for module in norms] == [True] * (layers - 1) + [False]
    kinds = [type(module) for module in projector]
    assert kinds == [nn.Linear, GlobalBatchNorm, nn.ReLU] * (layers - 1) + [nn.Linear, GlobalBatchNorm]
    embeddings = projector(torch.randn(50, 12, generator=torch.Generator().manual_seed(0)))
    torch.testing.assert_close(embeddings.mean(0), torch.zeros(8), rtol=0, atol=1e-5)
    torch.testing.assert_close(embeddings.var(0, correction=0), torch.ones(8), rtol=0.2, atol=0)


def test_projector_is_as_wide_as_the_encoder_unless_told() -> None:
    assert SimCLR(SMALL, 3).projector[0].weight.shape == (64, 64)
    assert SimCLR(SMALL.model_copy(update={"projector_hidden_width": 24}), 3).projector[0].weight.shape == (24, 64)


@pytest.mark.parametrize("shape", [(6, 5), (4, 5, 3, 2)])
@pytest.mark.parametrize("shift", [True, False])
def test_batch_norm_is_torchs_but_for_the_biased_running_variance(shape: tuple[int, ...], shift: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    mine = GlobalBatchNorm(5, shift=shift).double()
    theirs: nn.Module = (nn.BatchNorm1d if len(shape) == 2 else nn.BatchNorm2d)(5).double()
    with torch.no_grad():
        mine.weight.copy_(torch.rand(5, generator=generator) + 0.5)
        if mine.bias is not None:
            mine.bias.copy_(torch.randn(5, generator=generator))
    theirs.load_state_dict(mine.state_dict(), strict=shift)
    axes = [0, *range(2, len(shape))]
    mean, variance = torch.zeros(5).double(), torch.ones(5).double()
    for _ in range(3):
        values = 3.0 + 2.0 * torch.randn(shape, generator=generator, dtype=torch.float64)
        upstream = torch.randn(shape, generator=generator, dtype=torch.float64)
        a, b = values.clone().requires_grad_(), values.clone().requires_grad_()
        found, expected = mine(a), theirs(b)
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
        slow = (values - values.mean(axes, keepdim=True)) / (values.var(axes, correction=0, keepdim=True) + 1e-5).sqrt()
        slow = slow * _column(mine.weight, shape)
        slow = slow if mine.bias is None else slow + _column(mine.bias, shape)
        torch.testing.assert_close(found.detach(), slow, rtol=1e-12, atol=1e-12)
        mine.zero_grad()
        theirs.zero_grad()
        found.backward(upstream)
        expected.backward(upstream)
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-10, atol=1e-12)
        for name, weight in mine.named_parameters():
            torch.testing.assert_close(weight.grad, theirs.get_parameter(name).grad, rtol=1e-10, atol=1e-12)
        mean = 0.9 * mean + 0.1 * values.mean(axes)
        variance = 0.9 * variance + 0.1 * values.var(axes, correction=0)
        torch.testing.assert_close(mine.running_mean, mean)
        torch.testing.assert_close(mine.running_var, variance)
    assert mine.num_batches_tracked == 3
    theirs.load_state_dict(mine.state_dict(), strict=shift)
    torch.testing.assert_close(mine.eval()(values), theirs.eval()(values), rtol=1e-12, atol=1e-12)


def _column(weight: Tensor, shape: tuple[int, ...]) -> Tensor:
    return weight.detach().view(1, -1, *[1] * (len(shape) - 2))


def test_batch_norm_refuses_other_shapes() -> None:
    with pytest.raises(ValueError, match=r"\(N, C\) or \(N, C, H, W\), got \(2, 5, 3\)"):
        GlobalBatchNorm(5)(torch.zeros(2, 5, 3))


def test_each_part_has_its_own_stream_of_initial_weights() -> None:
    base = SimCLR(SMALL, 10)

    def unchanged(changes: dict[str, object], classes: int = 10) -> set[str]:
        other = SimCLR(SMALL.model_copy(update=changes), classes).state_dict()
        same = {key.split(".")[0] for key in other}
        for key, value in base.state_dict().items():
            if key not in other or not torch.equal(other[key], value):
                same.discard(key.split(".")[0])
        return same

    assert unchanged({}) == {"encoder", "projector", "probe"}
    assert unchanged({}, classes=2) == {"encoder", "projector"}
    assert unchanged({"projector_layers": 2}) == {"encoder", "probe"}
    assert unchanged({"temperature": 0.5, "batch_size": 8}) == {"encoder", "projector", "probe"}
    assert unchanged({"seed": 1}) == set()


def test_initial_weights_ignore_and_leave_torchs_own_generator() -> None:
    torch.manual_seed(1)
    first = SimCLR(SMALL, 3).state_dict()
    torch.manual_seed(2)
    second = SimCLR(SMALL, 3).state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("name", ["resnet10", "resnet50"])
def test_exactly_batch_norms_and_the_probe_are_excluded_from_lars(name: str) -> None:
    model = SimCLR(SMALL.model_copy(update={"encoder": name}), 3)
    names = {id(weight): key for key, weight in model.named_parameters()}
    adapted, excluded = parameter_groups(model, 0.25)
    assert (adapted["weight_decay"], adapted["adapt"]) == (0.25, True)
    assert (excluded["weight_decay"], excluded["adapt"]) == (0.0, False)
    in_adapted = [names[id(weight)] for weight in adapted["params"]]
    in_excluded = [names[id(weight)] for weight in excluded["params"]]
    assert sorted(in_adapted + in_excluded) == sorted(names.values())
    # Everything of more than one axis outside the probe is a kernel; the rest is gamma or beta.
    kernels = {key for key, weight in model.named_parameters() if weight.dim() > 1 and not key.startswith("probe.")}
    assert set(in_adapted) == kernels
    assert {"probe.weight", "probe.bias"} <= set(in_excluded)


def test_probe_sends_no_gradient_into_the_encoder() -> None:
    model = SimCLR(SMALL, 3)
    outputs = model(torch.rand(4, 3, 32, 32))
    assert outputs.embeddings.shape == (4, 16)
    assert outputs.logits.shape == (4, 3)
    outputs.logits.square().sum().backward()
    assert {key.split(".")[0] for key, weight in model.named_parameters() if weight.grad is not None} == {"probe"}
