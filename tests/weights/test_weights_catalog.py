"""The catalogue of published weights: its facts, and files of the right layout through a local server."""

import errno
import hashlib
import io
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from torchvision.models import ResNet18_Weights, ResNet34_Weights, ResNet50_Weights, resnet18

from sweep.console.weights_list import weights_lines
from sweep.running.evaluation_request import named_weights
from trainables.data.bands import EncoderInputs, named_bands
from trainables.errors import BadInputError
from trainables.models.band_weights import STEM, fitted_to_bands
from trainables.models.encoder import ChannelNormalisation
from trainables.models.pretrained import load_weights
from trainables.weights import download as weights_download
from trainables.weights.catalog import CATALOG, CatalogEntry
from trainables.weights.download import fetched, weights_folder
from trainables.weights.initial_weights import InitialWeights

NAME = "ssl4eo_moco_resnet18"


def file_of(channels: int) -> bytes:
    """A file of the published layout: a state dict under timm's names, random values."""
    model = resnet18()
    model.conv1 = torch.nn.Conv2d(channels, 64, 7, 2, 3, bias=False)
    state = {name: tensor for name, tensor in model.state_dict().items() if not name.startswith("fc.")}
    content = io.BytesIO()
    torch.save(state, content)
    return content.getvalue()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[CatalogEntry, Path]]:
    """An entry whose file a local server has, and the folder that it serves."""
    content = file_of(13)
    entry = replace(CATALOG[NAME], digest_prefix=hashlib.sha256(content).hexdigest()[:8])
    monkeypatch.setitem(CATALOG, NAME, entry)
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / entry.file_name).write_bytes(content)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "served")))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("SWEEP_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv(weights_download.MIRROR, f"http://127.0.0.1:{server.server_port}")
    yield entry, tmp_path / "served"
    server.shutdown()
    server.server_close()


def test_a_name_is_fetched_once_verified_and_loaded(served: tuple[CatalogEntry, Path]) -> None:
    entry, folder = served
    pinned = InitialWeights.parse(NAME).pinned()
    assert pinned.address == NAME
    assert (weights_folder() / entry.file_name).read_bytes() == (folder / entry.file_name).read_bytes()
    (folder / entry.file_name).unlink()  # from here on what is there is enough
    weights = load_weights(InitialWeights.parse(str(pinned)))[0]
    assert weights[STEM].shape == (64, 13, 7, 7)
    bands = tuple(band.model_copy(update={"scale": 1e-4}) for band in named_bands(["B04", "B03", "B02"]))
    assert fitted_to_bands(weights, pinned, EncoderInputs(bands=bands, full=65535))[STEM].shape == (64, 3, 7, 7)
    asked = named_weights(f"{NAME},precision=bf16")
    assert asked.fields == {"encoder": "resnet18", "stem": "large", "width_factor": 1.0, "precision": "bf16"}
    assert asked.files[0].digest == pinned.digest
    assert named_weights(f"moco={NAME}").name == "moco"


def test_a_file_that_isnt_the_published_one_is_refused_and_not_kept(served: tuple[CatalogEntry, Path]) -> None:
    entry, folder = served
    (folder / entry.file_name).write_bytes(file_of(3))
    with pytest.raises(BadInputError, match=f"isn't {NAME}: its sha256 begins with .*{entry.digest_prefix}"):
        fetched(entry)
    assert not weights_folder().exists()
    weights_folder().mkdir()
    (weights_folder() / entry.file_name).write_bytes(b"other")
    with pytest.raises(BadInputError, match="remove it"):
        InitialWeights.parse(NAME).pinned()


def test_without_a_network_the_file_and_its_place_are_named(
    served: tuple[CatalogEntry, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    entry, folder = served
    place = weights_folder() / entry.file_name
    monkeypatch.setenv(weights_download.MIRROR, "http://127.0.0.1:9")
    with pytest.raises(BadInputError) as caught:
        fetched(entry)
    assert f"download {entry.url} on another machine and put it at {place}" in str(caught.value)
    monkeypatch.setenv(weights_download.MIRROR, "http://example.invalid")
    with pytest.raises(BadInputError, match="must be an https address"):
        fetched(entry)
    place.parent.mkdir()
    place.write_bytes((folder / entry.file_name).read_bytes())
    assert fetched(entry) == place


def test_a_full_disk_leaves_nothing_behind(served: tuple[CatalogEntry, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, target: Path) -> Path:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(BadInputError, match=r"can't be written \(No space left on device\); set"):
        fetched(served[0])
    assert list(weights_folder().iterdir()) == []


def test_files_hold_weights_alone(served: tuple[CatalogEntry, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    entry, folder = served
    content = io.BytesIO()
    torch.save({"state_dict": {}, "args": Quiet}, content)
    (folder / entry.file_name).write_bytes(content.getvalue())
    prefix = hashlib.sha256(content.getvalue()).hexdigest()[:8]
    monkeypatch.setitem(CATALOG, NAME, replace(entry, digest_prefix=prefix))
    with pytest.raises(BadInputError, match="which could run code"):
        load_weights(InitialWeights.parse(NAME))


def test_imagenets_facts_are_torchvisions() -> None:
    published = {
        "imagenet_resnet18": ResNet18_Weights.IMAGENET1K_V1,
        "imagenet_resnet34": ResNet34_Weights.IMAGENET1K_V1,
        "imagenet_resnet50": ResNet50_Weights.IMAGENET1K_V1,
        "imagenet_resnet50_v2": ResNet50_Weights.IMAGENET1K_V2,
    }
    for name, weights in published.items():
        entry, transforms = CATALOG[name], weights.transforms()
        assert entry.url == weights.url
        assert list(entry.mean) == transforms.mean
        assert list(entry.deviation) == transforms.std


def test_satlas_bands_have_the_scale_of_the_true_colour_image_or_of_8160_digital_numbers() -> None:
    entry = CATALOG["satlas_resnet50"]
    bands = named_bands(entry.bands)
    stored = tuple(band.model_copy(update={"scale": 1e-4}) for band in bands)
    state = {STEM: torch.rand(64, 9, 7, 7)}
    found = fitted_to_bands(state, InitialWeights.parse("satlas_resnet50"), EncoderInputs(bands=stored, full=65535))
    assert torch.equal(found[STEM], state[STEM])
    normalise = ChannelNormalisation.of(found)
    assert normalise is not None
    for values, expected in (([1779.0] * 3 + [4080.0] * 6, 0.5), ([3558.0] * 3 + [8160.0] * 6, 1.0), ([1e4] * 9, 1.0)):
        normalised = normalise((torch.tensor(values) / 65535).view(1, 9, 1, 1))
        torch.testing.assert_close(normalised, torch.full_like(normalised, expected))


def test_weights_whose_values_are_clamped_are_other_weights_in_a_trials_id() -> None:
    """Earlier versions didn't clamp them; the ids of all others stay."""
    for name in CATALOG:
        clamped = name in ("seco_resnet18_rgb", "seco_resnet50_rgb", "satlas_resnet50")
        assert (CATALOG[name].limits is not None) == clamped
        assert InitialWeights(name, "x", "0" * 64).identity == f"{'0' * 16} {name}" + " clamped" * clamped


def test_every_entry_says_what_it_takes() -> None:
    for name, entry in CATALOG.items():
        assert name == entry.name
        assert len(entry.bands) == len(entry.mean) == len(entry.deviation)
        assert len(entry.digest_prefix) == 8
        assert int(entry.digest_prefix, 16)
        assert entry.url.startswith("https://")
    lines = list(weights_lines())
    assert len(lines) > 8 * len(CATALOG)
    assert all(f"  address        {entry.url}" in lines for entry in CATALOG.values())


def test_weights_that_nobody_knows() -> None:
    with pytest.raises(BadInputError, match=r"or a name of the catalogue: python -m sweep.weights list"):
        named_weights("moco_resnet99")
