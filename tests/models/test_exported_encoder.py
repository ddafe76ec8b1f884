"""An exported encoder loaded with torch alone gives the features of the trial's evaluation, whatever its shape."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save
from support.paths import ROOT
from support.small_trials import changed

import trainables
from trainables.errors import BadInputError
from trainables.models.encoder import ChannelNormalisation
from trainables.models.inference import deployed, exported_state
from trainables.models.simclr_model import make_encoder

SIZE = (24, 36)


def final_state(channels: int, *, clamped: bool = False, **fields: Any) -> dict[str, Any]:
    """Return final weights as a trial keeps them, every number of them drawn."""
    config = changed(**fields)
    generator = torch.Generator().manual_seed(0)
    normalise = None
    if config.normalisation == "train":
        mean, deviation = torch.rand(channels, generator=generator), 0.5 + torch.rand(channels, generator=generator)
        limits = torch.stack([0.4 * mean, 0.5 + 0.4 * mean]) if clamped else None
        normalise = ChannelNormalisation(mean, deviation, limits)
    encoder = make_encoder(config, channels=channels, normalise=normalise)
    for name, tensor in encoder.state_dict().items():
        if "bn" in name or "downsample.1" in name:
            tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
    width = encoder.output_width
    head = {"weight": torch.zeros(2, width, dtype=torch.float64), "bias": torch.zeros(2, dtype=torch.float64)}
    return {"config": config.model_dump(mode="json"), "encoder": encoder.state_dict(), "linear": head}


def written(folder: Path, state: dict[str, Any], dtype: str = "uint8") -> Path:
    (folder / "encoder.safetensors").write_bytes(save(exported_state(state, SIZE)))
    (folder / "model.json").write_text(json.dumps({"dtype": dtype}))
    return folder


@pytest.mark.parametrize(
    ("channels", "bits", "fields"),
    [
        (3, 8, {}),
        (3, 8, {"encoder": "resnet18", "width_factor": 1.0, "stem": "large", "image_size": 32}),
        (5, 16, {"encoder": "resnet34", "width_factor": 0.25, "normalisation": "train", "image_size": 40}),
        (4, 16, {"normalisation": "train", "clamped": True}),
        (1, 8, {"encoder": "resnet50", "width_factor": 0.125, "stem": "small", "normalisation": "train"}),
        (12, 16, {"encoder": "resnet50", "width_factor": 0.125, "stem": "large", "image_size": 48}),
    ],
    ids=["small", "torchvision", "bands", "clamped", "bottleneck", "many bands"],
)
def test_any_shape_gives_the_features_of_the_deployed_model(
    channels: int, bits: int, fields: dict[str, Any], tmp_path: Path
) -> None:
    state = final_state(channels, **fields)
    encoder = trainables.load_encoder(written(tmp_path, state, f"uint{bits}"))
    images = torch.randint(0, 2**bits, (4, *SIZE, channels), generator=torch.Generator().manual_seed(1))
    images = images.to(torch.uint16 if bits == 16 else torch.uint8)
    with torch.no_grad():
        _, expected = deployed(state, size=SIZE, bits=bits)(images)
        features = encoder(images.permute(0, 3, 1, 2))
        floats = encoder(images.permute(0, 3, 1, 2).float() / (2**bits - 1))
    torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(floats, features, rtol=1e-4, atol=1e-5)
    assert features.shape == (4, encoder.output_width)
    assert features.std() > 1e-3
    assert not encoder.training


def test_it_names_the_bands_of_its_channels(tmp_path: Path) -> None:
    folder = written(tmp_path, final_state(3))
    assert trainables.load_encoder(folder).bands == ()
    facts = {"dtype": "uint8", "bands": [{"name": name, "wavelength": 500.0} for name in ("B08", "B04", "B03")]}
    (folder / "model.json").write_text(json.dumps(facts))
    assert trainables.load_encoder(folder).bands == ("B08", "B04", "B03")
    (folder / "model.json").write_text(json.dumps(facts | {"bands": facts["bands"][:2]}))
    with pytest.raises(BadInputError, match=r"model.json names 2 bands, encoder.safetensors takes 3 channels"):
        trainables.load_encoder(folder)


def test_it_learns(tmp_path: Path) -> None:
    encoder = trainables.load_encoder(written(tmp_path, final_state(3))).train()
    encoder(torch.rand(4, 3, *SIZE)).sum().backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters())


ALONE = """
import sys, torch
before = set(sys.modules)
import trainables
encoder = trainables.load_encoder(sys.argv[1])
print(tuple(encoder(torch.zeros(2, 3, 24, 36, dtype=torch.uint8)).shape))
new = {name.partition(".")[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names)
assert new <= {"trainables", "torch"}, new
"""


def test_it_needs_torch_alone(tmp_path: Path) -> None:
    folder = str(written(tmp_path, final_state(3)))
    command = [sys.executable, "-c", ALONE, folder]
    done = subprocess.run(command, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "(2, 32)\n"


def test_what_cant_be_loaded_is_said(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"has no encoder\.safetensors; give a folder that python -m sweep\.export"):
        trainables.load_encoder(tmp_path)
    state = final_state(3)
    folder = written(tmp_path, state)
    with pytest.raises(BadInputError, match=r"images: must be \(N, 3, 24, 36\), got \(1, 24, 36, 3\)"):
        trainables.load_encoder(folder)(torch.zeros(1, 24, 36, 3))
    weights = folder / "encoder.safetensors"
    whole = weights.read_bytes()
    for content in (b"", b"\xff" * 100, whole[:-1000], (10).to_bytes(8, "little") + b'{"a": 1}  '):
        weights.write_bytes(content)
        with pytest.raises(BadInputError, match=r"isn't what python -m sweep\.export wrote \(.+\); export it again"):
            trainables.load_encoder(folder)
    weights.write_bytes(save({name: tensor.contiguous() for name, tensor in state["encoder"].items()}))
    with pytest.raises(BadInputError, match="was exported by an earlier version; export the model again"):
        trainables.load_encoder(folder)
