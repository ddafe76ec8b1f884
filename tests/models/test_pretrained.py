"""Weights from files: of trials, of torchvision, of wrappers; what doesn't fit is named."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from support.process_group import single_thread
from support.small_trials import changed, files_in, final_metrics
from support.stores import made

from trainables.config import TrialConfig
from trainables.data.store import ImageStore
from trainables.errors import BadInputError
from trainables.models.encoder import Encoder
from trainables.models.pretrained import load_weights, start_from
from trainables.models.simclr_model import make_encoder
from trainables.weights.initial_weights import InitialWeights

CPU = torch.device("cpu")


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    with single_thread():
        yield


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ImageStore:
    return made("digits", tmp_path_factory.mktemp("data"))


def resnet18() -> torchvision.models.ResNet:
    torch.manual_seed(0)
    model = torchvision.models.resnet18().eval()
    with torch.no_grad():
        for name, buffer in model.named_buffers():
            if "running" in name:
                buffer.uniform_(0.5, 1.5)
    return model


def encoder18() -> Encoder:
    return make_encoder(TrialConfig(encoder="resnet18", stem="large", image_size=64))


@pytest.mark.parametrize("prefix", ["", "module.", "module.encoder_q.", "backbone."])
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_torchvision_state_gives_torchvisions_features(prefix: str, suffix: str, tmp_path: Path) -> None:
    theirs = resnet18()
    state = {f"{prefix}{name}": tensor for name, tensor in theirs.state_dict().items()}
    if "encoder_q" in prefix:
        state |= {name.replace("_q", "_k"): torch.zeros_like(tensor) for name, tensor in state.items()}
    path = tmp_path / f"weights{suffix}"
    save_file(state, path) if suffix == ".safetensors" else torch.save({"state_dict": state, "epoch": 3}, path)
    weights = InitialWeights.parse(str(path)).pinned()
    ours = encoder18()
    start_from(ours, load_weights(weights)[0], weights.address)
    theirs.fc = torch.nn.Identity()  # type: ignore[assignment]
    images = torch.rand(4, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(ours.eval()(images), theirs(images), rtol=1e-4, atol=1e-5)


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    path = tmp_path / "resnet18.pt"
    torch.save(resnet18().state_dict(), path)
    weights = load_weights(InitialWeights.parse(str(path)))[0]
    for field, words in (
        ({"encoder": "resnet50"}, "layer1.0.conv1.weight is (64, 64, 3, 3), the trial's (64, 64, 1, 1)"),
        ({"encoder": "resnet10"}, "layer1.1.conv1.weight is too much"),
        ({"width_factor": 0.5}, "conv1.weight is (64, 3, 7, 7), the trial's (32, 3, 7, 7)"),
        ({"stem": "small"}, "conv1.weight is (64, 3, 7, 7), the trial's (64, 3, 3, 3)"),
    ):
        config = TrialConfig.parse({"encoder": "resnet18", "stem": "large", **field})
        with pytest.raises(BadInputError, match="doesn't fit") as raised:
            start_from(make_encoder(config), weights, "f")
        assert words in str(raised.value)


def test_files_that_hold_no_weights_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.pt").write_text("hello")
    torch.save([1, 2], tmp_path / "list.pt")
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pt")
    for name, words in (
        ("missing.pt", "no such file"),
        ("text.pt", "isn't a file of weights"),
        ("list.pt", "holds a list"),
        ("other.pt", "holds no conv1.weight"),
    ):
        with pytest.raises(BadInputError, match=words) as raised:
            load_weights(InitialWeights.parse(str(tmp_path / name)))
        assert name in str(raised.value)


def test_a_file_that_changes_after_planning_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    torch.save(resnet18().state_dict(), path)
    pinned = InitialWeights.parse(str(path)).pinned()
    load_weights(pinned)
    torch.save({**resnet18().state_dict(), "conv1.weight": torch.zeros(64, 3, 7, 7)}, path)
    with pytest.raises(BadInputError, match="has changed"):
        load_weights(pinned)


def test_a_trial_is_known_by_the_weights_and_not_by_their_place(tmp_path: Path) -> None:
    torch.save(resnet18().state_dict(), tmp_path / "a.pt")
    shutil.copy(tmp_path / "a.pt", tmp_path / "b.pt")
    ids = []
    for name in ("a", "b"):
        text = str(InitialWeights(str(tmp_path / f"{name}.pt"), f"from {name} & co").pinned())
        assert InitialWeights.parse(text).name == f"from {name} & co"
        ids.append(TrialConfig(initial_weights=text).trial_id("f"))
    assert ids[0] == ids[1] != TrialConfig().trial_id("f")


def test_a_trials_own_weights_give_its_own_features_again(store: ImageStore, tmp_path: Path) -> None:
    """Normalised by the moments of what it was pretrained on, also where it is evaluated on other images."""
    config = changed(normalisation="train", knn_also=(1,), linear_candidates=(1e-4,))
    first = final_metrics(config, tmp_path / "first", store=store)
    weights = InitialWeights.parse(str(tmp_path / "first" / "model.pt")).pinned()
    frozen = changed(**{**config.model_dump(), "epochs": 0, "initial_weights": str(weights), "normalisation": "none"})
    again = final_metrics(frozen, tmp_path / "again", store=store)
    for name in ("test/linear_top1", "test/knn_top1", "test/knn1_top1", "test/centroid_top1", "test/linear_brier"):
        assert again[name] == first[name]
    assert again["val/linear_regularisation"] == 1e-4
    assert "test/top1" not in again
    untrained = final_metrics(changed(epochs=0, **{"positive": ("closed_loop",)}), tmp_path / "untrained", store=store)
    assert untrained["test/linear_loss"] != again["test/linear_loss"]


@pytest.mark.slow
def test_fine_tuning_goes_on_from_weights_and_learns_the_labels(store: ImageStore, tmp_path: Path) -> None:
    supervised = changed(
        training="supervised",
        width_factor=0.25,
        epochs=8,
        max_train_images=600,
        label_fraction=0.5,
        base_learning_rate=3.0,
        blur_probability=0.0,
        jitter_probability=0.0,
        flip_probability=0.0,
        grayscale_probability=0.0,
        crop_area=(0.5, 1.0),
    )
    records = _records(supervised, store, tmp_path / "scratch")
    losses = [record["train/supervised_loss"] for record in records]
    assert losses[-1] < 0.7 * losses[0]
    assert not any("contrastive" in name for name in records[-1])
    assert records[-1]["test/top1"] > 0.5
    weights = InitialWeights.parse(str(tmp_path / "scratch" / "model.pt")).pinned()
    tuned = changed(**{**supervised.model_dump(), "epochs": 1, "initial_weights": str(weights)})
    assert _records(tuned, store, tmp_path / "tuned")[0]["train/supervised_loss"] < losses[1]


def _records(config: TrialConfig, store: ImageStore, folder: Path) -> list[dict[str, float]]:
    from trainables.training.trial import train

    list(train(config, store=store, files=files_in(folder), device=CPU))
    return [record.metrics for record in files_in(folder).epochs()]


def test_another_draw_buys_other_labels(store: ImageStore, tmp_path: Path) -> None:
    from trainables.data.trial_data import TrialData

    banks = [TrialData(changed(label_fraction=0.3, label_draw=draw), store).bank.rows.tolist() for draw in (0, 1, 0)]
    assert banks[0] == banks[2] != banks[1]
    assert len(banks[0]) == len(banks[1])
