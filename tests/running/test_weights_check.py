"""Weights are compared with the encoders of a plan before anything starts, and unused tensors are named."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision

from sweep.planning.plan import Plan, make_plan
from sweep.planning.trial import DataSize
from sweep.running.weights_check import check_weights
from sweep.space import Grid, RankingObjective, SearchSpace, Stage
from trainables.data.store_info import StoreInfo
from trainables.errors import BadInputError
from trainables.weights.initial_weights import InitialWeights

DIGITS = DataSize(1_425, 372, 10, "dd", "prepared")


@pytest.fixture(scope="module")
def theirs() -> torchvision.models.ResNet:
    torch.manual_seed(0)
    return torchvision.models.resnet18()


def planned(path: Path, **fields: Any) -> Plan:
    base = {"dataset": "digits", "encoder": "resnet18", "stem": "large", "epochs": 1, "initial_weights": str(path)}
    space = SearchSpace("x", "", (Stage("one", (Grid(base=base | fields),)),), RankingObjective("test/top1"))
    return make_plan(space, assignments={}, size_of=lambda name: DIGITS)


def test_weights_that_do_not_fit_are_refused_before_anything_starts(
    theirs: torchvision.models.ResNet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own, file = theirs.state_dict(), tmp_path / "x.pt"
    torch.save(own, file)
    check_weights(planned(file))
    assert capsys.readouterr().err == ""
    with pytest.raises(BadInputError, match=r"x.pt doesn't fit: .*; set encoder, width_factor, stem"):
        check_weights(planned(file, encoder="resnet34"))
    check_weights(planned(file, encoder="resnet34"), begun=True)
    torch.save(own | {"conv2.weight": torch.ones(3, 3)}, file)
    with pytest.raises(BadInputError, match=r"x.pt doesn't fit: conv2.weight is too much"):
        check_weights(planned(file))


def test_tensors_that_are_no_part_of_encoder_or_head_are_named(
    theirs: torchvision.models.ResNet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    others = {"attention.weight": torch.ones(3, 3), "projector.0.bias": torch.ones(3)}
    torch.save(theirs.state_dict() | others, tmp_path / "x.pt")
    check_weights(planned(tmp_path / "x.pt"))
    assert capsys.readouterr().err == f"initial_weights: {tmp_path / 'x.pt'}: not used: attention.weight\n"


def test_weights_of_another_scale_are_refused_before_anything_starts(
    theirs: torchvision.models.ResNet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    torch.save(theirs.state_dict(), tmp_path / "x.pt")
    content = (tmp_path / "x.pt").read_bytes()
    monkeypatch.setattr(InitialWeights, "_read", lambda own: content)
    info = StoreInfo.read("digits")
    assert info is not None
    wide = info.model_copy(update={"dtype": "uint16", "channels": 3})
    monkeypatch.setattr(StoreInfo, "read", lambda name: wide)
    for name, words in (
        ("imagenet_resnet18", "trained on pictures of 8 bits, the images have 16; .*; no weights of the catalogue fit"),
        ("seco_resnet18_rgb", "trained on reflectance, which is unknown for red; prepare the images with"),
        (f"{tmp_path}/x.pt#bands=B02,B03", r"2 bands are named \(B02, B03\), its stem takes 3"),
    ):
        with pytest.raises(BadInputError, match=words):
            check_weights(planned(Path(name)))
        check_weights(planned(Path(name)), begun=True)
    monkeypatch.setattr(StoreInfo, "read", lambda name: wide.model_copy(update={"dtype": "uint8"}))
    with pytest.raises(BadInputError, match=r"or take weights that fit: imagenet_resnet18, .*, satlas_resnet50_rgb"):
        check_weights(planned(Path("seco_resnet18_rgb")))
    check_weights(planned(Path("imagenet_resnet18")))
    assert capsys.readouterr().err == ""
    check_weights(planned(Path("imagenet_resnet18"), normalisation="train"))
    assert "imagenet_resnet18 brings its normalisation; normalisation=train isn't used" in capsys.readouterr().err
