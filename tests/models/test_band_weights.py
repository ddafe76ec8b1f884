"""A stem for other bands than its weights have, and published weights on stores of any bands and scale."""

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from trainables.config import TrialConfig
from trainables.data.bands import EncoderInputs, SpectralBand, named_bands, unnamed_bands
from trainables.errors import BadInputError
from trainables.models.band_weights import LIMITS, MEAN, STEM, fitted_stem, fitted_to_bands, published_normalisation
from trainables.models.encoder import ChannelNormalisation
from trainables.models.pretrained import start_from
from trainables.models.simclr_model import SimCLR
from trainables.weights.catalog import CATALOG, RGB, SENTINEL_2_ORDER
from trainables.weights.initial_weights import InitialWeights

CONFIG = TrialConfig(encoder="resnet10", width_factor=0.125, stem="large", image_size=16)
MANY = named_bands(SENTINEL_2_ORDER)
REFLECTANCE = tuple(band.model_copy(update={"scale": 1 / 65535}) for band in MANY)


def pixels_of(bands: Sequence[SpectralBand], full: int = 65535) -> EncoderInputs:
    return EncoderInputs(bands=tuple(bands), full=full)


def stem(channels: int) -> Tensor:
    return torch.randn(8, channels, 7, 7, generator=torch.Generator().manual_seed(channels))


def test_visible_bands_take_theirs_and_others_the_mean() -> None:
    own = stem(3)
    found = fitted_stem(own, named_bands(["red", "green", "blue"]), MANY) * 13 / 3
    for place, band in enumerate(SENTINEL_2_ORDER):
        wanted = own[:, RGB.index(band)] if band in RGB else own.mean(1)
        torch.testing.assert_close(found[:, place], wanted, rtol=1e-6, atol=1e-6)


def test_activations_keep_their_size_where_bands_go_together() -> None:
    """A grey image gives a stem of C bands what it gave the one of red, green and blue."""
    own, grey = stem(3), torch.rand(2, 1, 20, 20)
    found = fitted_stem(own.double(), named_bands(RGB), named_bands(["B08", "B11", "B12", "B01", "B02"]))
    before = torch.nn.functional.conv2d(grey.double().expand(-1, 3, -1, -1), own.double())
    mean_alone = fitted_stem(own.double(), named_bands(RGB), named_bands(["B08", "B11", "B12", "B01"]))
    after = torch.nn.functional.conv2d(grey.double().expand(-1, 4, -1, -1), mean_alone)
    torch.testing.assert_close(after, before)
    assert 0.5 < float(found.norm() / own.norm()) < 1.1


def test_fewer_bands_of_many_take_their_own_kernels_in_any_order() -> None:
    own = stem(13)
    found = fitted_stem(own, MANY, named_bands(["B08", "B8A", "B04"]))
    torch.testing.assert_close(found, own[:, [7, 8, 3]] * 13 / 3)
    turned = fitted_stem(own, MANY, MANY[::-1])
    assert torch.equal(turned, own.flip(1))


def test_a_trial_starts_from_other_bands() -> None:
    """The three-band encoder's weights in one of thirteen bands, everything but the stem as it was."""
    before, after = SimCLR(CONFIG, 2).encoder, SimCLR(CONFIG, 2, channels=13).encoder
    weights = {name: tensor + 0.01 for name, tensor in before.state_dict().items() if tensor.is_floating_point()}
    start_from(after, fitted_to_bands(weights, InitialWeights("rgb.pt", "rgb"), pixels_of(MANY, 255)), "rgb.pt")
    torch.testing.assert_close(after.layer4[0].conv1.weight, weights["layer4.0.conv1.weight"])
    torch.testing.assert_close(after.conv1.weight[:, 3], weights[STEM][:, 0] * 3 / 13)


def test_bands_of_a_file_have_to_be_said_and_to_be_as_many_as_its_stem_takes() -> None:
    weights = {STEM: stem(4)}
    with pytest.raises(BadInputError, match=r"takes 4 bands, the images have 13; name its bands .* FILE#bands="):
        fitted_to_bands(weights, InitialWeights("four.pt", "four"), pixels_of(MANY, 255))
    with pytest.raises(BadInputError, match=r"2 bands are named \(B02, B03\), its stem takes 4"):
        fitted_to_bands(weights, InitialWeights.parse("four.pt#bands=B02,B03"), pixels_of(MANY, 255))
    named = InitialWeights.parse("four.pt#bands=B02,B03,B04,B08")
    assert InitialWeights.parse(str(named)) == named
    found = fitted_to_bands(weights, named, pixels_of(MANY, 255))
    torch.testing.assert_close(found[STEM][:, 7], weights[STEM][:, 3] * 4 / 13)
    assert fitted_to_bands(weights, InitialWeights("four.pt", "four"), pixels_of(MANY[:4], 255))[STEM] is weights[STEM]


def test_a_file_that_states_its_bands_and_values_needs_no_names() -> None:
    """Of the bands of a trial: kernels go where their bands are, and other values are refused."""
    own = named_bands(["B08", "B04", "B03"])
    stated = EncoderInputs(bands=tuple(band.model_copy(update={"scale": 1e-4}) for band in own), full=65535)
    pixels = EncoderInputs(bands=stated.bands[::-1], full=65535)
    weights, file = {STEM: stem(3), MEAN: torch.ones(3)}, InitialWeights("model.pt", "m")
    found = fitted_to_bands(weights, file, pixels, stated)
    torch.testing.assert_close(found[STEM], weights[STEM].flip(1))
    assert MEAN not in found
    assert fitted_to_bands(weights, file, stated, stated) == weights
    half = EncoderInputs(bands=stated.bands, full=255)
    others = {
        "B08 = 0.0001 * value, the images have 0.0002 * value;": _scaled(stated, 2e-4, 0.0),
        "B08 = 0.0001 * value, the images have 0.0001 * value -0.1;": _scaled(stated, 1e-4, -0.1),
        "B08 = 0.0001 * value of 16 bits, the images have 0.0001 * value of 8 bits;": half,
        "values of 16 bits, the images have 8 bits;": _scaled(half, None, 0.0),
    }
    for words, other in others.items():
        with pytest.raises(BadInputError, match=re.escape(f"initial_weights: model.pt: was trained on {words}")):
            fitted_to_bands(weights, file, other, stated)
    same = EncoderInputs(bands=_scaled(stated, 1e-4 * 65535 / 255, 0.0).bands, full=255)
    assert fitted_to_bands(weights, file, same, stated) == weights
    assert fitted_to_bands(weights, file, _scaled(stated, None, 0.0), stated) == weights


def _scaled(inputs: EncoderInputs, scale: float | None, offset: float) -> EncoderInputs:
    changes = {"scale": scale, "offset": offset}
    return inputs.model_copy(update={"bands": tuple(band.model_copy(update=changes) for band in inputs.bands)})


@pytest.mark.parametrize(
    ("scale", "offset", "full"), [(1 / 65535, 0.0, 65535.0), (0.2 / 255, 0.0, 255.0), (2e-3, 0.1, 255.0)]
)
def test_pixels_of_any_scale_become_what_seco_was_trained_on(scale: float, offset: float, full: float) -> None:
    entry = CATALOG["seco_resnet18_rgb"]
    bands = tuple(band.model_copy(update={"scale": scale, "offset": offset}) for band in named_bands(RGB))
    normalise = ChannelNormalisation.of(published_normalisation(entry, named_bands(entry.bands), bands, full))
    assert normalise is not None
    stored = np.array([[10.0, 99.0, 200.0], [0.0, 1.0, 2.0], [255.0, 250.0, 90.0]]) * full / 255
    digital_numbers = (stored * scale + offset) * 10_000
    eight_bits = digital_numbers * 255 / 10_000  # as TorchGeo's transforms have it
    unit = (eight_bits - np.array([0, 2, 3])) / (np.array([129, 103, 88]) - np.array([0, 2, 3]))
    wanted = (unit.clip(0, 1) - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
    found = normalise(torch.from_numpy(stored / full).view(3, 3, 1, 1))[:, :, 0, 0]
    np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-4, atol=1e-5)
    assert ((unit < 0) | (unit > 1)).any()


def test_limits_are_of_each_band_and_only_of_weights_that_have_them() -> None:
    bands = (REFLECTANCE[3], *REFLECTANCE[:2])
    found = fitted_to_bands({STEM: stem(3)}, InitialWeights("seco_resnet18_rgb", "s"), pixels_of(bands))
    band = bands[0]
    red = torch.tensor([0.0, 129 / 255]).double()
    torch.testing.assert_close(found[LIMITS][:, 0], (red - band.offset) / (band.scale * 65535.0))
    assert found[LIMITS].shape == (2, 3)
    assert LIMITS not in fitted_to_bands(
        {STEM: stem(13)}, InitialWeights("ssl4eo_moco_resnet18", "m"), pixels_of(bands)
    )
    trained = InitialWeights.parse("mine.pt#bands=B04,B03,B02")
    assert LIMITS not in fitted_to_bands({**found, STEM: stem(3)}, trained, pixels_of(MANY))  # of other bands


def test_published_weights_bring_their_normalisation_and_refuse_another_scale() -> None:
    weights = {STEM: stem(13)}
    found = fitted_to_bands(weights, InitialWeights("ssl4eo_moco_resnet18", "moco"), pixels_of(REFLECTANCE))
    torch.testing.assert_close(found[MEAN], torch.zeros(13, dtype=torch.float64))
    torch.testing.assert_close(found["normalise.deviation"], torch.ones(13, dtype=torch.float64))
    unknown = EncoderInputs(bands=named_bands(["red", "green", "blue"]), full=255)
    with pytest.raises(BadInputError, match=r"trained on reflectance, which is unknown for red; .*--pixels reflect"):
        fitted_to_bands(weights, InitialWeights("ssl4eo_moco_resnet18", "m"), unknown)
    with pytest.raises(BadInputError, match=r"trained on pictures of 8 bits, the images have 16; .*--pixels thesis"):
        fitted_to_bands({STEM: stem(3)}, InitialWeights("imagenet_resnet18", "i"), pixels_of(REFLECTANCE))
    pictures = fitted_to_bands({STEM: stem(3)}, InitialWeights("imagenet_resnet18", "i"), pixels_of(MANY, 255))
    torch.testing.assert_close(pictures[MEAN][3].item(), 0.485)
    torch.testing.assert_close(pictures[MEAN][7].item(), (0.485 + 0.456 + 0.406) / 3)


def test_an_unnamed_band_is_no_published_one() -> None:
    odd = (replace_name(REFLECTANCE[0], "channel_1"),)
    found = fitted_stem(stem(13), MANY, odd)
    torch.testing.assert_close(found[:, 0], stem(13).mean(1) * 13)


def replace_name(band: SpectralBand, name: str) -> SpectralBand:
    return band.model_copy(update={"name": name})


def test_how_weights_are_read_is_part_of_a_trials_id() -> None:
    digest = "&sha256=" + "a" * 64
    texts = ["w.pt#name=w" + digest, "w.pt#bands=B02,B03" + digest, "imagenet_resnet18#name=w" + digest]
    ids = {TrialConfig(initial_weights=text).trial_id("data") for text in texts}
    assert len(ids) == 3
    assert replace(InitialWeights.parse(texts[0]), address="elsewhere.pt").identity == "a" * 16  # as before bands


def test_channels_without_names_are_no_other_bands_than_named_ones() -> None:
    """A store whose bands nobody named may be the same as one with names: as many are taken in their order."""
    weights, file = {STEM: stem(4)}, InitialWeights("model.pt", "m")
    stated = EncoderInputs(bands=unnamed_bands(4), full=255)
    assert fitted_to_bands(weights, file, pixels_of(MANY[:4], 255), stated)[STEM] is weights[STEM]
    with pytest.raises(BadInputError, match="its stem takes 4 bands, the images have 13; name its bands"):
        fitted_to_bands(weights, file, pixels_of(MANY, 255), stated)


def test_weights_of_sentinel_2_are_refused_for_landsats_bands_and_the_other_way() -> None:
    """B5 is near infrared in one and a red edge in the other; red, green and blue are those of both."""
    names = ("red", "green", "blue", "nir")
    bands = [SpectralBand(name=name, wavelength=wave) for name, wave in zip(names, (655, 561, 482, 865), strict=True)]
    landsat = pixels_of([band.model_copy(update={"scale": 1e-5}) for band in bands])
    published = InitialWeights("ssl4eo_moco_resnet18", "m")
    with pytest.raises(BadInputError, match=r"nir of the images are Landsat's, and others \(B01, .* Sentinel-2's"):
        fitted_to_bands({STEM: stem(13)}, published, landsat)
    visible = EncoderInputs(bands=landsat.bands[:3], full=65535)
    found = fitted_to_bands({STEM: stem(13)}, published, visible)
    torch.testing.assert_close(found[STEM], stem(13)[:, [3, 2, 1]] * 13 / 3)
    with pytest.raises(BadInputError, match=r"nir of the weights are Landsat's, and others \(B01, .* Sentinel-2's"):
        fitted_to_bands({STEM: stem(4)}, InitialWeights("model.pt", "m"), pixels_of(MANY), pixels_of(bands))
    assert fitted_to_bands({STEM: stem(4)}, InitialWeights("model.pt", "m"), landsat, pixels_of(bands))
