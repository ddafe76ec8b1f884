"""Options beside the thesis protocol: off by default, and each does what its library or its closed form says."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp
from support.views import PLAIN, WHOLE, draws
from torch import Tensor, nn
from torchvision.transforms import RandomResizedCrop

from trainables import augment
from trainables.config import TrialConfig
from trainables.data.data_split import DataSplit
from trainables.data.store import ImageStore
from trainables.data.trial_data import TrialData
from trainables.models.batch_norm import GlobalBatchNorm, calibrate
from trainables.models.encoder import ChannelNormalisation, ColourStatistics
from trainables.models.simclr_model import SimCLR, parameter_groups
from trainables.storage.filesystem import Storage
from trainables.storage.trial_files import TrialFiles
from trainables.training.optimiser import make_optimiser
from trainables.training.trial import TrialTrainer, train

SMALL = TrialConfig(
    dataset="digits",
    image_size=20,
    encoder="resnet10",
    width_factor=1 / 16,
    projector_output_width=16,
    batch_size=20,
    epochs=1,
    warmup_epochs=0,
    max_train_images=50,
    max_test_images=31,
)
BOXES = [((64, 64), (0, 0, 64, 64)), ((20, 90), (0, 31, 20, 27)), ((90, 30), (25, 0, 40, 30))]
BANDS = PLAIN.model_copy(update={"blur_probability": 1.0, "jitter_operations": ("brightness", "contrast")})


def images(count: int, channels: int = 3, *, size: tuple[int, int] = (24, 24)) -> Tensor:
    return torch.from_numpy(np.random.default_rng(0).random((count, channels, *size)))


def trial(config: TrialConfig, store: ImageStore, folder: Path) -> TrialTrainer:
    return TrialTrainer(config, store=store, files=TrialFiles(Storage.at(folder)), device=torch.device("cpu"))


# Crops by torchvision's rule


@pytest.mark.parametrize(("size", "area"), [((64, 64), (0.08, 1.0)), ((40, 90), (0.3, 0.9))])
def test_torchvision_crops_are_distributed_as_torchvisions(size: tuple[int, int], area: tuple[float, float]) -> None:
    config = PLAIN.model_copy(update={"crop_rule": "torchvision", "crop_area": area})
    mine = np.concatenate([draws(config, 10_000, size=size, step=step).boxes for step in range(2)])
    torch.manual_seed(0)
    image = torch.zeros(1, *size)
    aspect = list(config.crop_aspect)
    theirs = np.array([RandomResizedCrop.get_params(image, list(area), aspect) for _ in range(20_000)])
    for name, quantity in {
        "area": lambda b: b[:, 2] * b[:, 3] / (size[0] * size[1]),
        "aspect": lambda b: b[:, 3] / b[:, 2],
        "top": lambda b: b[:, 0],
        "left": lambda b: b[:, 1],
        "bottom": lambda b: b[:, 0] + b[:, 2] - size[0],
    }.items():
        assert ks_2samp(quantity(mine), quantity(theirs), method="asymp").pvalue > 1e-3, name
    whole = (draws(PLAIN, 10_000).boxes[:, 2:].prod(axis=1) / 64**2).mean()
    assert whole < 0.44
    if size == (64, 64):
        assert (mine[:, 2:].prod(axis=1) / 64**2).mean() > 0.47


@pytest.mark.parametrize(
    ("size", "box"), [((64, 64), (0, 0, 64, 64)), ((20, 90), (0, 31, 20, 27)), ((90, 30), (25, 0, 40, 30))]
)
def test_torchvision_crops_that_never_fit_end_in_the_middle(size: tuple[int, int], box: tuple[int, ...]) -> None:
    """An area of 4 to 5 times the image never fits, so both rules take their fallback."""
    config = PLAIN.model_copy(update={"crop_rule": "torchvision", "crop_area": (4.0, 5.0)})
    theirs = RandomResizedCrop.get_params(torch.zeros(1, *size), [4.0, 5.0], list(config.crop_aspect))
    assert tuple(theirs) == box
    assert (draws(config, 3, size=size).boxes == box).all()


# Flips, turns, jitter


def test_vertical_flip_and_turns_are_what_torch_calls_them() -> None:
    config = WHOLE.model_copy(update={"vertical_flip_probability": 0.5, "rotation_probability": 0.6})
    drawn = draws(config, 60, size=(24, 24))
    pictures = images(60)
    found = augment.one_view(pictures, drawn, image_size=24)
    assert {tuple(pair) for pair in np.stack([drawn.vertical_flip, drawn.quarter_turns], 1).tolist()} == {
        (flip, turns) for flip in (False, True) for turns in range(4)
    }
    for number in range(60):
        expected = pictures[number].flip(-2) if drawn.vertical_flip[number] else pictures[number]
        expected = expected.rot90(int(drawn.quarter_turns[number]), dims=(-2, -1))
        torch.testing.assert_close(found[number], expected, rtol=0, atol=1e-6)


def test_flips_and_turns_have_their_probabilities() -> None:
    count = 20_000
    drawn = draws(PLAIN.model_copy(update={"vertical_flip_probability": 0.3, "rotation_probability": 0.6}), count)
    shares = [drawn.vertical_flip.mean(), *((drawn.quarter_turns == turns).mean() for turns in range(4))]
    for share, probability in zip(shares, (0.3, 0.4, 0.2, 0.2, 0.2), strict=True):
        assert share == pytest.approx(probability, abs=4 * math.sqrt(probability * (1 - probability) / count))
    assert abs(np.corrcoef(drawn.vertical_flip, drawn.quarter_turns)[0, 1]) < 4 / math.sqrt(count)
    off = draws(PLAIN, count)
    assert not off.vertical_flip.any()
    assert not off.quarter_turns.any()


@pytest.mark.parametrize("operations", [("brightness", "contrast", "saturation"), ("contrast",), ()])
def test_jitter_applies_the_chosen_operations_in_the_same_order(operations: tuple[str, ...]) -> None:
    chosen = draws(TrialConfig(jitter_operations=operations), 40)
    everything = draws(TrialConfig(), 40)
    names = np.array(["brightness", "contrast", "saturation", "hue", "none"])
    for mine, theirs in zip(names[chosen.order], names[everything.order], strict=True):
        assert [name for name in mine if name != "none"] == [name for name in theirs if name in operations]
    pictures = images(40)
    found = augment.jitter_colours(pictures, chosen.factors, chosen.order, chosen.jitter)
    for number in range(40):
        expected = pictures[number : number + 1]
        for place in range(4):
            operation = int(chosen.order[number, place])
            if operation >= 0 and chosen.jitter[number]:
                factor = torch.tensor(chosen.factors[number, operation]).view(1, 1, 1, 1)
                expected = getattr(augment, f"adjust_{names[operation]}")(expected, factor).clamp(0.0, 1.0)
        torch.testing.assert_close(found[number : number + 1], expected, rtol=0, atol=1e-7)


# Channels


@pytest.mark.parametrize("channels", [1, 2, 4, 13])
@pytest.mark.parametrize("size", [(24, 24), (33, 21)])
def test_views_of_any_number_of_channels_treat_each_alike(channels: int, size: tuple[int, int]) -> None:
    """All operations that mean something here work channel by channel, so each channel goes its own way."""
    config = BANDS.model_copy(
        update={"rotation_probability": 0.6, "vertical_flip_probability": 0.5, "jitter_probability": 1.0}
    )
    drawn, pictures = draws(config, 12, size=size), images(12, channels, size=size)
    together = augment.one_view(pictures, drawn, image_size=32)
    assert together.shape == (12, channels, 32, 32)
    for channel in range(channels):
        alone = augment.one_view(pictures[:, [channel]].expand(-1, 3, -1, -1), drawn, image_size=32)
        torch.testing.assert_close(together[:, channel], alone[:, 0], rtol=0, atol=1e-6)
    pixels = (pictures * 255).to(torch.uint8)
    whole = augment.evaluation_view(pixels, image_size=40)
    alone = augment.evaluation_view(pixels[:, -1:], image_size=40)
    torch.testing.assert_close(whole[:, -1:], alone, rtol=0, atol=1e-7)


@pytest.mark.parametrize("channels", [1, 13])
def test_an_encoder_takes_as_many_channels_as_the_images_have(channels: int) -> None:
    model = SimCLR(SMALL, 2, channels=channels)
    assert model.encoder.conv1.in_channels == channels
    assert model(images(2, channels).float()).embeddings.shape == (2, 16)


# Normalisation and baselines


def test_normalisation_takes_trains_mean_and_deviation(store: ImageStore, tmp_path: Path) -> None:
    config = SMALL.model_copy(update={"normalisation": "train"})
    made = trial(config, store, tmp_path)
    pixels = made.data.train.pixels(slice(None)).numpy() / 255.0
    normalise = made.encoder.normalise
    assert isinstance(normalise, ChannelNormalisation)
    np.testing.assert_allclose(normalise.mean.numpy(), pixels.mean((0, 2, 3)), rtol=1e-6)
    np.testing.assert_allclose(normalise.deviation.numpy(), pixels.std((0, 2, 3)), rtol=1e-6)
    normalised = normalise(torch.from_numpy(pixels).float())
    assert normalised.mean((0, 2, 3)).abs().max() < 1e-5
    torch.testing.assert_close(normalised.std((0, 2, 3), correction=0), torch.ones(3), rtol=1e-5, atol=0)
    # The encoder starts alike, and what is kept says how its input was made.
    plain = trial(SMALL, store, tmp_path)
    torch.testing.assert_close(made.encoder.conv1.weight, plain.encoder.conv1.weight, rtol=0, atol=0)
    assert set(made.encoder.state_dict()) - set(plain.encoder.state_dict()) == {"normalise.mean", "normalise.deviation"}
    made.run_epoch(1)


def test_a_constant_channel_is_not_divided_by_zero(store: ImageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    data = TrialData(SMALL, store)
    monkeypatch.setattr(
        DataSplit, "pixels", lambda self, part: torch.full((len(part), 3, *data.image_shape), 51, dtype=torch.uint8)
    )
    mean, deviation = data.channel_moments(torch.device("cpu"))
    torch.testing.assert_close(mean, torch.full((3,), 0.2, dtype=torch.float64))
    torch.testing.assert_close(deviation, torch.ones(3, dtype=torch.float64))


def test_colours_are_mean_and_deviation_of_each_channel(store: ImageStore, tmp_path: Path) -> None:
    pictures = images(5)
    expected = np.concatenate([pictures.numpy().mean((2, 3)), pictures.numpy().std((2, 3))], axis=1)
    np.testing.assert_allclose(ColourStatistics()(pictures).numpy(), expected, rtol=1e-12)
    config = SMALL.model_copy(update={"encoder": "colours", "epochs": 0})
    (record,) = train(config, store=store, files=TrialFiles(Storage.at(tmp_path)), device=torch.device("cpu"))
    assert {"test/knn_top1", "test/linear_top1"} <= set(record.metrics)


def test_calibrated_batch_norm_has_the_mean_of_the_batches_statistics() -> None:
    norm = GlobalBatchNorm(3)
    batches = [3.0 * images(8) + number for number in range(5)]
    with torch.no_grad():
        norm.weight.fill_(2.0)
    calibrate(nn.Sequential(norm), (batch.float() for batch in batches))
    assert norm.running_mean is not None
    assert norm.running_var is not None
    expected = torch.stack([batch.mean((0, 2, 3)) for batch in batches]).mean(0)
    torch.testing.assert_close(norm.running_mean, expected.float(), rtol=1e-5, atol=0)
    expected = torch.stack([batch.var((0, 2, 3), correction=0) for batch in batches]).mean(0)
    torch.testing.assert_close(norm.running_var, expected.float(), rtol=1e-5, atol=0)
    assert norm.momentum == 0.1
    assert not norm.training
    assert (norm.weight == 2.0).all()


def test_calibrated_encoder_differs_from_the_untrained_in_its_statistics_alone(
    store: ImageStore, tmp_path: Path
) -> None:
    untrained = SMALL.model_copy(update={"epochs": 0})
    weights = []
    for name, config in (
        ("plain", untrained),
        ("calibrated", untrained.model_copy(update={"calibrate_batch_norm": True})),
    ):
        files = TrialFiles(Storage.at(tmp_path / name))
        list(train(config, store=store, files=files, device=torch.device("cpu")))
        weights.append(files.load_model()["encoder"])
    for key, plain in weights[0].items():
        statistics = "running_" in key or "num_batches" in key
        assert torch.equal(plain, weights[1][key]) != statistics, key


# Optimisers


def test_each_optimiser_is_its_librarys_over_the_references_groups() -> None:
    model = SimCLR(SMALL, 3)
    for name, kind in (("sgd", torch.optim.SGD), ("adamw", torch.optim.AdamW)):
        config = SMALL.model_copy(update={"optimiser": name, "momentum": 0.8, "weight_decay": 0.1})
        optimiser = make_optimiser(config, parameter_groups(model, config.weight_decay))
        assert type(optimiser) is kind
        assert [group["weight_decay"] for group in optimiser.param_groups] == [0.1, 0.0]
        assert {group.get("momentum", group.get("betas", (None,))[0]) for group in optimiser.param_groups} == {0.8}


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_a_step_of_an_optimiser_is_its_textbook_formula(name: str) -> None:
    config = SMALL.model_copy(update={"optimiser": name, "momentum": 0.9, "weight_decay": 0.1})
    weight = nn.Parameter(torch.tensor([1.0, -2.0], dtype=torch.float64))
    optimiser = make_optimiser(config, [{"params": [weight], "weight_decay": 0.1, "adapt": True}])
    w, first, second = np.array([1.0, -2.0]), np.zeros(2), np.zeros(2)
    for step, gradient in enumerate(np.array([[0.5, 0.1], [-0.2, 0.3]]), start=1):
        rate = 0.1 * step
        weight.grad = torch.from_numpy(gradient.copy())
        optimiser.param_groups[0]["lr"] = rate
        optimiser.step()
        if name == "sgd":
            first = 0.9 * first + gradient + 0.1 * w if step > 1 else gradient + 0.1 * w
            w = w - rate * first
        else:
            first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
            hats = first / (1 - 0.9**step), second / (1 - 0.999**step)
            w = w * (1 - rate * 0.1) - rate * hats[0] / (np.sqrt(hats[1]) + 1e-8)
        np.testing.assert_allclose(weight.detach().numpy(), w, rtol=1e-12)


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_a_restart_with_another_optimiser_is_bit_identical(name: str, store: ImageStore, tmp_path: Path) -> None:
    config = SMALL.model_copy(update={"optimiser": name, "epochs": 2, "base_learning_rate": 0.1})
    whole, broken = (TrialFiles(Storage.at(tmp_path / folder)) for folder in ("whole", "broken"))
    list(train(config, store=store, files=whole, device=torch.device("cpu")))
    unfinished = train(config, store=store, files=broken, device=torch.device("cpu"))
    next(unfinished)
    unfinished.close()
    list(train(config, store=store, files=broken, device=torch.device("cpu")))
    expected, found = (files.load_checkpoint(2, torch.device("cpu")) for files in (whole, broken))
    for key, weights in expected["model"].items():
        assert torch.equal(found["model"][key], weights), key
