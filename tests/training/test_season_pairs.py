"""Trials whose two views are of one place at two dates: pairs, restarts, workers, memory, refusals."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.process_group import on_ranks, single_thread
from support.small_trials import CPU, SMALL, files_in
from support.stores import of_seasons
from support.trajectories import AGREEMENT, default_dtype, largest_difference

from trainables.augment.views import one_view
from trainables.config import TrialConfig
from trainables.data.patch_names import ground_and_date
from trainables.data.seasons import SeasonPairs
from trainables.data.store import ImageStore
from trainables.data.trial_data import TrialData
from trainables.errors import BadInputError
from trainables.memory.ledger import HEAP_SLACK
from trainables.memory.peak import phases
from trainables.memory.simulated_worker import ImageShape, SimulatedWorker
from trainables.memory.training_step import step
from trainables.metrics import names
from trainables.metrics.expected import LabelFacts, final_metrics
from trainables.objectives.contrastive import ContrastiveObjective
from trainables.training.trial import TrialTrainer, train

SEASON = SMALL.model_copy(
    update={
        "dataset": "seasons",
        "pairs": "season",
        "positive": (),
        "batch_size": 9,
        "epochs": 3,
        "max_train_images": None,
        "validation_fraction": 0.0,
        "label_fraction": 0.6,
        "probe_class_weight": "balanced",
    }
)
IMAGE = SEASON.model_copy(update={"pairs": "image"})


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    with single_thread():
        yield


@pytest.fixture(scope="module")
def seasons(tmp_path_factory: pytest.TempPathFactory) -> ImageStore:
    return of_seasons(tmp_path_factory.mktemp("seasons"))


def trainer(config: TrialConfig, store: ImageStore, folder: Path) -> TrialTrainer:
    return TrialTrainer(config, store=store, files=files_in(folder), device=CPU)


def run(config: TrialConfig, store: ImageStore, folder: Path) -> list[Any]:
    return list(train(config, store=store, files=files_in(folder), device=CPU))


def _train_double(store_path: str, folder: str, config: TrialConfig) -> None:
    with default_dtype(torch.float64):
        run(config, ImageStore(Path(store_path)), Path(folder))


def test_the_second_view_is_of_the_same_place_at_another_date(seasons: ImageStore, tmp_path: Path) -> None:
    """Each image comes first once an epoch, and its partners change; one place has one date, and two views of it."""
    trial = trainer(SEASON, seasons, tmp_path)
    visits = [ground_and_date(name) for name in seasons.names(trial.data.train.rows)]
    steps = [trial._pairs(step) for step in range(40)]  # 360 images of 40: nine epochs
    first = np.concatenate([pair[0] for pair in steps])
    assert all(sorted(first[start : start + 40].tolist()) == list(range(40)) for start in range(0, 360, 40))
    alone = 0
    for anchor, partner in np.concatenate(steps, axis=1).T.tolist():
        (place, date), (other_place, other_date) = visits[anchor], visits[partner]  # type: ignore[misc]
        assert place == other_place
        assert (date == other_date) == (place == "T34VER 13 5")
        alone += date == other_date
    assert alone == 9
    drawn = {(anchor, partner) for anchor, partner in np.concatenate(steps, axis=1).T.tolist()}
    assert len(drawn) > 70  # of 13 x 3 x 2 + 1 pairs


def test_each_view_is_an_ordinary_view_of_its_own_image(seasons: ImageStore, tmp_path: Path) -> None:
    trial, plain = (trainer(config, seasons, tmp_path) for config in (SEASON, IMAGE))
    images, targets, draws, weights = trial._batch(2)
    anchors, partners = trial._pairs(2)
    size = SEASON.image_size
    for own, draw, half in zip((anchors, partners), draws, trial.objective.views(images, draws).chunk(2), strict=True):
        assert torch.equal(half, one_view(trial.data.train.pixels(own), draw, image_size=size))
    both = np.concatenate([anchors, partners])
    assert torch.equal(targets, trial.data.train.targets[both])
    counts = torch.bincount(trial.data.train.targets[torch.from_numpy(trial.data.labelled)], minlength=3)
    per_class = trial.data.labelled.sum() / (2.0 * counts.double())
    expected = torch.from_numpy(trial.data.labelled[both]) * per_class[targets]
    assert weights is not None
    torch.testing.assert_close(weights.own, expected)
    assert weights.total == pytest.approx(float(expected.sum()))
    same_images, _, same_draws, _ = plain._batch(2)
    assert torch.equal(same_images, images[: len(anchors)])
    assert all(np.array_equal(one.boxes, other.boxes) for one, other in zip(draws, same_draws, strict=True))


def test_a_trial_that_is_resumed_ends_bit_for_bit_the_same(seasons: ImageStore, tmp_path: Path) -> None:
    left_alone = run(SEASON, seasons, tmp_path / "alone")
    first = train(SEASON, store=seasons, files=files_in(tmp_path / "stopped"), device=CPU)
    next(first)
    first.close()
    run(SEASON, seasons, tmp_path / "stopped")
    ends = [files_in(tmp_path / name) for name in ("alone", "stopped")]
    one, other = (end.load_model()["encoder"] for end in ends)
    assert all(torch.equal(one[name], other[name]) for name in one)
    metrics = [[_comparable(record.metrics) for record in end.epochs()] for end in ends]
    assert metrics[0] == metrics[1]
    paired = left_alone[-1].metrics
    assert paired[names.OTHER_DATE] == 39 / 40
    assert set(paired) - set(names.OF_THE_MACHINE) == final_metrics(SEASON, LabelFacts(3, validation=False))
    images = run(IMAGE, seasons, tmp_path / "image")[-1].metrics
    assert images[names.CONTRASTIVE_LOSS] != paired[names.CONTRASTIVE_LOSS]
    assert names.OTHER_DATE not in images


def _comparable(metrics: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if name not in names.OF_THE_MACHINE}


@pytest.mark.slow
def test_two_workers_follow_one_trajectory(seasons: ImageStore, tmp_path: Path) -> None:
    _train_double(str(seasons.path), str(tmp_path / "one"), SEASON)
    on_ranks(2, tmp_path, _train_double, str(seasons.path), str(tmp_path / "two"), SEASON)
    weights = [files_in(tmp_path / name).load_checkpoint(3, CPU)["model"] for name in ("two", "one")]
    assert largest_difference(*weights) <= AGREEMENT


def test_gradients_are_those_of_the_two_images_losses(seasons: ImageStore, tmp_path: Path) -> None:
    """The loss of a step equals the objective's on the views of both images, made one by one."""
    with default_dtype(torch.float64):
        trial = trainer(SEASON, seasons, tmp_path)
        images, targets, draws, weights = trial._batch(0)
        halves = zip(images.chunk(2), draws, strict=True)
        views = torch.cat([one_view(own / 255.0, draw, image_size=20) for own, draw in halves])
        objective = trial.objective
        assert isinstance(objective, ContrastiveObjective)
        expected, _ = objective.loss(trial.model.train()(views), targets, weights)
        found, _ = objective.loss(trial.model.train()(objective.views(images, draws)), targets, weights)
    assert found.item() == pytest.approx(expected.item(), rel=1e-9)


def test_a_limit_keeps_all_dates_of_a_place(seasons: ImageStore, tmp_path: Path) -> None:
    """Without pairs it takes single images; with a second data set as well as without."""
    judge = of_seasons(tmp_path)
    limit = {"max_train_images": 20}
    season, image = (config.model_copy(update=limit) for config in (SEASON, IMAGE))
    for data in (TrialData(season, seasons), TrialData(season, seasons, judge)):
        assert data.seasons is not None
        assert 18 <= len(data.train) <= 20
        assert data.seasons.places == math.ceil(len(data.train) / 3)
    plain = TrialData(image, seasons).train
    assert len(plain) == 20
    assert SeasonPairs.of(seasons, plain.rows).places > 7


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_the_estimate_has_the_images_of_the_second_views(device: Any) -> None:
    images = ImageShape(classes=3, side=120, channels=13)
    season, image = (phases(one, images, device=device)[0] for one in (SEASON, IMAGE))
    assert 1.0 <= (season - image) / (9 * 13 * 120**2) <= (1.01 * HEAP_SLACK if device == "cpu" else 1.0)
    worker = SimulatedWorker(SEASON, images, 2, device)
    worker.hold_weights()
    before = worker.ledger.live
    step(worker)
    assert worker.ledger.live == pytest.approx(before)


def test_a_store_without_two_dates_of_a_place_is_refused(store: ImageStore, tmp_path: Path) -> None:
    digits = SMALL.model_copy(update={"pairs": "season"})
    unknown = r"^pairs: 'season' needs .*, and digits has none: no train image's place and date is known; scenes and"
    with pytest.raises(BadInputError, match=unknown):
        trainer(digits, store, tmp_path)
    trainer(digits.model_copy(update={"epochs": 0}), store, tmp_path)  # an untrained baseline has no pairs
    one_date = of_seasons(tmp_path, dates=1)
    with pytest.raises(BadInputError, match="14 train images of 14 places at 1 date, 0 with another date of their"):
        trainer(SEASON, one_date, tmp_path)
    with pytest.raises(BadInputError, match="pairs: 'season' pairs two views, and training 'supervised' has one"):
        TrialConfig.parse({"pairs": "season", "training": "supervised"})
