"""Weights as other projects publish them, and files that are damaged: loaded, or refused with the one reason."""

import argparse
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn

from trainables.config import TrialConfig
from trainables.errors import BadInputError
from trainables.models.pretrained import load_weights, start_from
from trainables.models.simclr_model import make_encoder
from trainables.weights.initial_weights import InitialWeights

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 102530333\n"


class Own:
    """An object that a file holds besides weights."""


@pytest.fixture(scope="module")
def theirs() -> torchvision.models.ResNet:
    torch.manual_seed(0)
    return torchvision.models.resnet18()


def prefixed(model: nn.Module, prefix: str) -> dict[str, Tensor]:
    return {f"{prefix}{name}": tensor for name, tensor in model.state_dict().items()}


def nests(model: torchvision.models.ResNet) -> dict[str, Any]:
    own, zeros = model.state_dict(), {name: torch.zeros_like(one) for name, one in model.state_dict().items()}
    lightly = nn.Sequential(*list(model.children())[:-1])
    its_own = nn.Sequential(model.conv1, model.bn1, model.layer1, model.layer2, model.layer3, model.layer4)
    trunk = {"base_model": {"model": {"trunk": prefixed(model, "_feature_blocks."), "heads": {}}}}
    return {
        "plain": own,
        "lightly": prefixed(lightly, "backbone."),
        "lightly's own generator": {"state_dict": prefixed(its_own, "backbone.")},
        "Lightning": {"state_dict": prefixed(model, "model.backbone."), "epoch": 3, "global_step": 7},
        "VISSL": {"classy_state_dict": trunk, "iteration": 1},
        "DINO": {
            "student": {f"module.backbone.{name}": one for name, one in zeros.items()},
            "teacher": prefixed(model, "backbone."),
            "args": argparse.Namespace(arch="resnet18"),
            "epoch": 1,
        },
        "MoCo": {
            "arch": "resnet18",
            "state_dict": prefixed(model, "module.encoder_q.")
            | {f"module.encoder_k.{name}": one for name, one in zeros.items()}
            | {"module.queue": torch.zeros(3, 4)},
        },
        "MoCo v3": {"state_dict": prefixed(model, "module.base_encoder.")},
        "nested otherwise": {"checkpoint": {"whatever": own}, "epoch": 3},
        "MoCo, momentum first": {f"encoder_k.{name}": one for name, one in zeros.items()}
        | prefixed(model, "encoder_q."),
        "BYOL": prefixed(model, "online.") | {f"target.{name}": one for name, one in zeros.items()},
        "timm": {"model": own, "optimizer": {"state": {}, "param_groups": []}},
        "SwAV": prefixed(model, "module.") | {"module.prototypes.weight": torch.zeros(2, 2)},
    }


NAMES = (
    "nested otherwise",
    "MoCo, momentum first",
    "BYOL",
    "plain",
    "lightly",
    "lightly's own generator",
    "Lightning",
    "VISSL",
    "DINO",
    "MoCo",
    "MoCo v3",
    "timm",
    "SwAV",
)


@pytest.mark.parametrize("name", NAMES)
def test_weights_of_other_projects_are_loaded(name: str, theirs: torchvision.models.ResNet, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save(nests(theirs)[name], path)
    encoder = make_encoder(TrialConfig(encoder="resnet18", stem="large", image_size=64))
    start_from(encoder, load_weights(InitialWeights.parse(str(path)).pinned())[0], "f")
    own = encoder.state_dict()
    for key, tensor in theirs.state_dict().items():
        if not key.startswith("fc.") and not key.endswith("num_batches_tracked"):
            torch.testing.assert_close(own[key], tensor)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_the_format_is_what_the_file_holds(suffix: str, theirs: torchvision.models.ResNet, tmp_path: Path) -> None:
    state = {name: tensor.clone() for name, tensor in theirs.state_dict().items()}
    path = tmp_path / f"weights{suffix}"
    torch.save(state, path) if suffix == ".safetensors" else save_file(state, path)
    assert "layer4.1.conv2.weight" in load_weights(InitialWeights.parse(str(path)))[0]


def damaged(folder: Path) -> dict[str, tuple[bytes, str]]:
    torch.save({"conv1.weight": torch.zeros(64, 3, 7, 7)}, folder / "whole.pth")
    save_file({"conv1.weight": torch.zeros(64, 3, 7, 7)}, folder / "whole.safetensors")
    packed, safe = ((folder / f"whole{suffix}").read_bytes() for suffix in (".pth", ".safetensors"))
    torch.save({"conv1.weight": torch.zeros(64, 3, 7, 7)}, folder / "old.pth", _use_new_zipfile_serialization=False)
    old = (folder / "old.pth").read_bytes()
    header = json.dumps({"a": {"dtype": "F32", "shape": [9], "data_offsets": [0, 36]}}).encode()
    return {
        "empty": (b"", "is empty"),
        "pointer": (POINTER, "is a git-LFS pointer, not the weights"),
        "page": (b"<!DOCTYPE html><html>sign in</html>", "a web page"),
        "page with mark": (b"\xef\xbb\xbf<!DOCTYPE html>", "a web page"),
        "annex": (b"/annex/objects/MD5E-s9--0.pth\n", "is a git-annex pointer"),
        "index": (b'{"metadata": {}, "weight_map": {}}', "is JSON .an index of several files"),
        "text": (b"404: Not Found", "isn't a file of weights .it begins with|isn't a safetensors file"),
        "torch cut": (packed[: len(packed) // 2], "cut off"),
        "torch damaged": (packed[:20_000] + b"?" + packed[20_001:], "is damaged: its checksums don't hold"),
        "old cut": (old[: len(old) // 2], "cut off"),
        "safe cut": (safe[: len(safe) // 2], r"cut off at [\d,]+ of [\d,]+ bytes"),
        "safe header cut": (safe[:40], "cut off at 40 bytes"),
        "safe short": (len(header).to_bytes(8, "little") + header, "cut off"),
    }


@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ".bin"])
def test_damaged_files_are_refused_with_one_reason_while_planning(suffix: str, tmp_path: Path) -> None:
    for name, (content, words) in damaged(tmp_path).items():
        path = tmp_path / f"weights{suffix}"
        path.write_bytes(content)
        with pytest.raises(BadInputError, match=words) as caught:
            load_weights(InitialWeights.parse(str(path)))
        assert "weights_only" not in str(caught.value), name
        assert "trust" not in str(caught.value), name
        assert "\n" not in str(caught.value)
        if name != "old cut":  # whose bytes show it only to torch
            with pytest.raises(BadInputError, match=words):
                InitialWeights.parse(str(path)).pinned()


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"conv1.weight": torch.full((4, 3, 7, 7), torch.nan)}, "'conv1.weight' has values that are infinite or no n"),
        ({"conv1.0.weight": torch.zeros(4, 3, 3, 3)}, "a ResNet with a deep stem"),
        ({"patch_embed.proj.weight": torch.zeros(4, 3, 3, 3)}, "a vision transformer"),
        ({"module.stem.0.weight": torch.zeros(4, 3, 3, 3)}, "a ConvNeXt"),
        ({"epoch": 3}, "holds no conv1.weight; give"),
        ({"conv1.weight": torch.zeros(4, 3, 7, 7, dtype=torch.int8)}, "'conv1.weight' has values of torch.int8"),
        (
            {"conv1.weight": torch.zeros(4, 3, 7, 7, dtype=torch.float8_e4m3fn)},
            "'conv1.weight' has values of torch.float8_e4m3fn",
        ),
        ({"bn1.running_var": torch.full((4,), -1.0)}, "'bn1.running_var' has variances below 0"),
        (
            {"s1.conv1.weight": torch.zeros(4, 2, 7, 7), "s2.conv1.weight": torch.zeros(4, 12, 7, 7)},
            r"holds several encoders \(s1\., s2\.\); save the one to use",
        ),
        (
            {"conv1.weight": torch.zeros(1), "model_ema": Own()},
            "it holds .*Own, which could run code; save",
        ),
    ],
)
def test_other_weights_are_refused_with_the_right_reason(state: dict[str, Any], words: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save(state, path)
    with pytest.raises(BadInputError, match=words) as caught:
        load_weights(InitialWeights.parse(str(path)))
    assert "weights_only" not in str(caught.value)


def test_a_zip_and_a_program_are_named(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as packed:
        packed.writestr("resnet.pth", b"x")
    with pytest.raises(BadInputError, match=r"is a zip of 'resnet\.pth', and none that torch.save wrote; unpack it"):
        load_weights(InitialWeights.parse(str(tmp_path / "x.zip")))
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as program:
        for name in ("x/data.pkl", "x/code/__torch__.py"):
            program.writestr(name, b"x")
    with pytest.raises(BadInputError, match="is a TorchScript program, which runs code; save only its state dict"):
        load_weights(InitialWeights.parse(str(tmp_path / "x.pt")))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x.pth#band=B02", "'band=B02' is none of name, sha256, bands"),
        ("folder#2/x.pth", "'2/x.pth' is none of name, sha256, bands"),
        ("x.pth#bands=B02,B02", "bands has one name twice"),
    ],
)
def test_what_follows_an_address_is_known(text: str, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        InitialWeights.parse(text)


def test_an_address_of_the_web_is_downloaded_first() -> None:
    with pytest.raises(BadInputError, match="download it first, and give the file"):
        InitialWeights.parse("https://example.org/x.pth").pinned()


@pytest.mark.parametrize("value", [0.0, 0.1])
def test_a_convolution_of_one_value_is_named(value: float, theirs: torchvision.models.ResNet, tmp_path: Path) -> None:
    own = theirs.state_dict()
    torch.save(own | {"layer2.0.conv1.weight": torch.full_like(own["layer2.0.conv1.weight"], value)}, tmp_path / "x.pt")
    with pytest.raises(BadInputError, match=rf"layer2.0.conv1.weight has one value everywhere \({value:g}\)"):
        load_weights(InitialWeights(str(tmp_path / "x.pt"), "x"))
