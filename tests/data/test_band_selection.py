"""Bands of a store as an axis: chosen by name, in any order, and normalised by their own moments beyond three."""

from pathlib import Path

import numpy as np
import pytest
import torch
from support.sample_data import write_eurosat_ms
from support.stores import made

from sweep.planning.evaluation_space import EvaluatedWeights
from sweep.planning.expansion import planned
from sweep.planning.trial import DataSize
from sweep.running.evaluation_request import with_known_bands
from trainables.config import TrialConfig
from trainables.data.store import ImageStore
from trainables.data.store_info import StoreInfo
from trainables.data.trial_data import TrialData
from trainables.errors import BadInputError
from trainables.storage.filesystem import Storage
from trainables.storage.trial_files import TrialFiles
from trainables.training.trial import train
from trainables.weights.initial_weights import InitialWeights

SMALL = TrialConfig(
    dataset="eurosat_ms", image_size=16, encoder="resnet10", width_factor=0.125, batch_size=8, epochs=1, warmup_epochs=0
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ImageStore:
    root = tmp_path_factory.mktemp("bands")
    return made("eurosat_ms", root / "out", source=write_eurosat_ms(root), bands=("all",), pixels="percentiles")


def test_chosen_bands_are_those_channels_in_that_order(store: ImageStore) -> None:
    view = store.with_bands(("B08", "B4", "B03", "B02"))
    names = [band.name for band in store.info.channel_bands]
    whole = store.images([3, 1])
    assert torch.equal(view.images([3, 1]), whole[..., [names.index(name) for name in ("B08", "B04", "B03", "B02")]])
    assert view.info.channels == 4
    assert view.info.colours == (1, 2, 3)
    assert view.fingerprint == store.fingerprint
    assert store.info.channels == 13
    assert str(view.info.options["percentiles"]).startswith("B08: ")
    assert store.with_bands(()) is store


def test_sixteen_bits_too(tmp_path: Path) -> None:
    store = made("eurosat_ms", tmp_path / "out", source=write_eurosat_ms(tmp_path), bands=("all",), pixels="none")
    whole = store.images([0, 5])
    assert torch.equal(store.with_bands(("B12",)).images([0, 5]).int(), whole.int()[..., [11]])


def test_bands_that_arent_there(store: ImageStore) -> None:
    with pytest.raises(BadInputError, match="bands: 'B99' is none of eurosat_ms's: B01, B02"):
        store.with_bands(("B99",))
    with pytest.raises(BadInputError, match="name each band once"):
        store.with_bands(("B02", "B2"))
    with pytest.raises(BadInputError, match=r"has the bands B03, B04, .* has B04, B03"):
        TrialData(SMALL, store.with_bands(("B04", "B03")), store.with_bands(("B03", "B04")))


def test_beyond_three_bands_each_is_normalised_unless_it_is_said() -> None:
    many = DataSize(1000, 100, 10, "aa", "prepared", channels=13)
    for fields, channels, expected in (
        ({}, many, "train"),
        ({}, DataSize(1000, 100, 10, "aa", "prepared"), "none"),
        ({"bands": ("B04", "B03", "B02")}, many, "none"),
        ({"normalisation": "none"}, many, "none"),
    ):
        trial = planned(TrialConfig.parse(fields), 1, lambda _, size=channels: size)
        assert trial.config.normalisation == expected
    assert planned(TrialConfig(), 1, lambda _: many).images.channels == 13
    assert planned(TrialConfig(bands=("B02",)), 1, lambda _: many).images.channels == 1


def test_a_trial_of_thirteen_bands_trains_with_the_default_views(store: ImageStore, tmp_path: Path) -> None:
    config = SMALL.for_channels(store.info.channels)
    files = TrialFiles(Storage.at(tmp_path))
    (record,) = train(config, store=store, files=files, device=torch.device("cpu"))
    assert np.isfinite(record.metrics["train/contrastive_loss"])
    state = files.load_model()
    assert state["encoder"]["conv1.weight"].shape[1] == 13
    pixels = store.images(store.split("train")).numpy() / 255.0
    np.testing.assert_allclose(state["encoder"]["normalise.mean"].numpy(), pixels.mean((0, 1, 2)), rtol=1e-5)


def test_weights_of_a_trial_know_their_bands(store: ImageStore, tmp_path: Path) -> None:
    """Three bands that aren't red, green and blue keep their kernels, also in another order and among others."""
    bands = ("B08", "B11", "B03")
    files = TrialFiles(Storage.at(tmp_path / "a"))
    config = SMALL.model_copy(update={"bands": bands})
    list(train(config, store=store, files=files, device=torch.device("cpu")))
    stem = files.load_model()["encoder"]["conv1.weight"]
    for own, kernels in ((bands, [0, 1, 2]), (bands[::-1], [2, 1, 0])):
        started = config.model_copy(
            update={"bands": own, "initial_weights": f"{tmp_path}/a/model.pt", "epochs": 0, "seed": len(kernels)}
        )
        after = TrialFiles(Storage.at(tmp_path / own[0]))
        list(train(started, store=store, files=after, device=torch.device("cpu")))
        assert torch.equal(after.load_model()["encoder"]["conv1.weight"], stem[:, kernels])


def test_an_evaluation_says_the_bands_of_weights_that_would_be_taken_for_others(
    store: ImageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    ten = store.with_bands(("B04", "B03", "B02", "B08")).info
    turned = store.with_bands(("B08", "B04", "B03", "B02")).info
    infos = {"all": store.info, "ten": ten, "turned": turned}
    monkeypatch.setattr(StoreInfo, "read", lambda name: infos.get(name))
    own = EvaluatedWeights("w", (InitialWeights("w.pt", "w", "0" * 64),), {})

    def said(dataset: str, *others: str, bands: tuple[str, ...] = ()) -> tuple[str, ...]:
        return with_known_bands(own, TrialConfig(dataset=dataset, bands=bands), others).files[0].bands

    assert said("all", bands=("B04", "B03", "B02")) == said("all") == said("ten", "ten") == said("gone") == ()
    assert said("all", bands=("B08", "B11", "B03")) == ("B08", "B11", "B03")
    assert said("all", bands=("B02", "B03", "B04")) == ("B02", "B03", "B04")
    assert said("ten", "turned") == ("B04", "B03", "B02", "B08")
