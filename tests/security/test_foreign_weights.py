"""A file of weights that somebody else made: plain tensors, or a refusal in one line before a trial starts."""

import inspect
import json
import pickle
import struct
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save
from torch import Tensor

from sweep.deployment.exported_model import DeployedModel
from sweep.running.session import SweepSession
from sweep.running.weights_check import check_weights
from sweep.space import Grid, RankingObjective, SearchSpace, Stage
from trainables.config import TrialConfig
from trainables.errors import BadInputError
from trainables.models.pretrained import load_weights
from trainables.weights.initial_weights import InitialWeights

FIRST, OTHER = "conv1.weight", "layer1.0.conv1.weight"


def plain() -> dict[str, Any]:
    return {FIRST: torch.rand(4, 3, 3, 3), OTHER: torch.rand(4, 4, 3, 3)}


def circle() -> dict[str, Any]:
    state: dict[str, Any] = {}
    state["state_dict"] = state
    return state


def deep() -> dict[str, Any]:
    state: dict[str, Any] = plain()
    for _ in range(10_000):
        state = {"model": state}
    return state


def instead(value: Any) -> Callable[[], dict[str, Any]]:
    return lambda: {**plain(), OTHER: value() if callable(value) else value}


def quantised() -> Tensor:
    return torch.quantize_per_tensor(torch.ones(4, 4, 3, 3), 0.1, 0, torch.qint8)


def nested() -> Tensor:
    return torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)])


HOSTILE: dict[str, tuple[Callable[[], Any], str]] = {
    "circle": (circle, "levels deep"),
    "deep": (deep, "levels deep|isn't a file of weights"),
    "text": (instead("weights"), "is a str, not a tensor"),
    "text first": (lambda: {**plain(), FIRST: "x"}, "'conv1.weight' is a str"),
    "list": (instead([[1.0]]), "is a list, not a tensor"),
    "none": (instead(None), "is a NoneType"),
    "number": (instead(7), "is a int"),
    "mapping": (instead(dict), "is a dict"),
    "sparse": (instead(lambda: torch.eye(4).to_sparse()), "is sparse"),
    "compressed": (instead(lambda: torch.eye(4).to_sparse_csr()), "is sparse"),
    "quantised": (instead(quantised), "is quantised"),
    "nested": (instead(nested), "is sparse or nested|isn't a file of weights"),
    "meta": (instead(lambda: torch.empty(10**6, 10**6, device="meta")), "is on the device meta"),
    "huge": (instead(lambda: torch.zeros(1).expand(10**6, 10**6, 10)), "declares the shape"),
    "complex": (instead(lambda: torch.zeros(4, dtype=torch.complex64)), "complex64"),
    "bool": (instead(lambda: torch.zeros(4, dtype=torch.bool)), "torch.bool"),
    "nan": (instead(lambda: torch.full((4, 4, 3, 3), float("nan"))), "infinite or no numbers"),
    "infinite": (instead(lambda: torch.full((4, 4, 3, 3), float("inf"))), "infinite or no numbers"),
    "numbers as names": (lambda: {1: torch.zeros(1), 2: torch.ones(1)}, "holds no conv1.weight"),
    "nothing": (dict, "holds no conv1.weight"),
    "a tensor": (lambda: torch.zeros(3), "holds a Tensor"),
}


def refused(path: Path, words: str) -> None:
    with pytest.raises(BadInputError, match=words) as caught:
        load_weights(InitialWeights.parse(str(path)))
    text = str(caught.value)
    assert "\n" not in text
    assert str(path) in text
    assert len(text) < 1000


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_plain_tensor_is_refused(name: str, tmp_path: Path) -> None:
    make, words = HOSTILE[name]
    path = tmp_path / "weights.pt"
    if name == "deep":  # PyTorch's writer gives up before its reader has to
        path.write_bytes(_deep_pickle(make()))
    else:
        torch.save(make(), path)
    refused(path, words)


def _deep_pickle(state: dict[str, Any]) -> bytes:
    """Write 10,000 mappings within each other by hand: MARK key value ... SETITEM."""
    depth = 10_000
    program = b"\x80\x02" + (b"}" + b"X\x05\x00\x00\x00model") * depth + b"}" + b"s" * depth + b"."
    content = BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("archive/data.pkl", program)
        archive.writestr("archive/version", "3\n")
        archive.writestr("archive/byteorder", "little")
    assert isinstance(state, dict)
    return content.getvalue()


def test_code_in_a_file_of_weights_is_not_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "ran",)

    path = tmp_path / "weights.pt"
    torch.save({**plain(), "extra": Evil()}, path)
    refused(path, "isn't a plain weights file")
    path.write_bytes(pickle.dumps(Evil()))
    refused(path, "isn't a plain weights file")
    assert not (tmp_path / "ran").exists()


def test_an_archive_that_unpacks_to_much_is_refused(tmp_path: Path) -> None:
    path, content = tmp_path / "weights.pt", BytesIO()
    torch.save(plain(), content)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed, zipfile.ZipFile(content) as made:
        for name in made.namelist():
            packed.writestr(name, bytes(2**27) if name.endswith("data/1") else made.read(name))
    assert path.stat().st_size < 2**20
    refused(path, "unpack to")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (struct.pack("<Q", 2**40) + b"{}", "has a header of 1,099,511,627,776 bytes"),
        (struct.pack("<Q", 2**26) + b" " * 2**26, "has a header of 67,108,864 bytes"),
        (struct.pack("<Q", 8) + b'{"a":[[[', "isn't a safetensors file"),
        (struct.pack("<Q", 20_000) + b"[" * 20_000, "isn't a safetensors file"),
        (struct.pack("<Q", 2) + b"\xff\xfe", "isn't a safetensors file"),
    ],
)
def test_a_broken_safetensors_file_is_refused(content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(content)
    refused(path, words)


def test_a_safetensors_header_that_declares_more_than_there_is_is_refused(tmp_path: Path) -> None:
    for shape in ([2**40, 2**40], [10**6, 10**6], [-1], [2**63]):
        header = json.dumps({FIRST: {"dtype": "F32", "shape": shape, "data_offsets": [0, 4]}}).encode()
        path = tmp_path / "weights.safetensors"
        path.write_bytes(struct.pack("<Q", len(header)) + header + b"1234")
        refused(path, "isn't a safetensors file")


def test_what_is_as_it_should_be_is_taken(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(save(plain()))
    torch.save({"state_dict": plain(), "epoch": 3, "args": {"lr": 0.1}, "best": None}, tmp_path / "b.pt")
    torch.save(plain(), tmp_path / "c.pt", _use_new_zipfile_serialization=False)
    half = {name: tensor.to(torch.bfloat16) for name, tensor in plain().items()}
    torch.save({**half, "bn1.num_batches_tracked": torch.tensor(7)}, tmp_path / "d.pt")
    for name in ("a.safetensors", "b.pt", "c.pt", "d.pt"):
        assert load_weights(InitialWeights.parse(str(tmp_path / name)))[0][FIRST].shape == (4, 3, 3, 3)


# Before a trial starts


@pytest.mark.parametrize("field", ["base", "axes", "points", "later"])
def test_a_sweep_with_such_weights_starts_nothing(field: str, tmp_path: Path) -> None:
    path = str(tmp_path / "weights.pt")
    torch.save(circle(), path)
    fields: dict[str, Any] = {"initial_weights": path}
    grid = {
        "base": Grid(base=fields),
        "axes": Grid(axes={"initial_weights": [path]}),
        "points": Grid(points=[fields]),
        "later": Grid(),
    }[field]
    stages = (Stage("one", (grid,)), Stage("two", (Grid(base=fields if field == "later" else {}),)))
    space = SearchSpace("s", "", stages, RankingObjective("val/top1"))

    class Plan:
        trials = ()

    Plan.space = space  # type: ignore[attr-defined]
    with pytest.raises(BadInputError, match="levels deep"):
        check_weights(Plan())  # type: ignore[arg-type]


def test_weights_are_checked_before_a_cluster_is_asked_for() -> None:
    source = inspect.getsource(SweepSession.run)
    assert source.index("check_weights(") < source.index("self._run(")


def test_weights_are_compared_by_their_whole_digest(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save(plain(), path)
    pinned = InitialWeights.parse(str(path)).pinned()
    assert len(pinned.digest) == 64
    prefix_of_another = pinned.digest[:16] + ("0" * 48)
    for text in (f"{path}#sha256={prefix_of_another}", f"{path}#sha256={'0' * 16}"):
        with pytest.raises(BadInputError, match="has changed"):
            load_weights(InitialWeights.parse(text))
    for text in (f"{path}#sha256=", f"{path}#sha256={pinned.digest[:16]}", str(pinned)):
        load_weights(InitialWeights.parse(text))
    for digest in ("0", "../../x", pinned.digest[:17], pinned.digest.upper()):
        with pytest.raises(BadInputError, match=r"sha256 .* must be 64 hex digits"):
            InitialWeights.parse(f"{path}#sha256={digest}")


def test_the_ids_of_trials_stay_as_they_were(tmp_path: Path) -> None:
    """They have the digest's first 16 digits, as records of earlier versions do."""
    text = f"/w.pt#sha256={'0123456789abcdef' * 4}"
    short = "/w.pt#sha256=0123456789abcdef"
    ids = [TrialConfig(initial_weights=one).trial_id("f") for one in (text, short)]
    assert ids == ["ae0dcb4c0930"] * 2


@pytest.mark.parametrize("content", [b"[" * 100_000, b"\xff", b"[]", b" " * (17 * 2**20)])
def test_an_exported_models_facts_are_read_to_a_limit(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"")
    (tmp_path / "model.json").write_bytes(content)
    with pytest.raises(BadInputError, match=r"model\.json: .*export the model again") as caught:
        DeployedModel.open(tmp_path)
    assert "\n" not in str(caught.value)
