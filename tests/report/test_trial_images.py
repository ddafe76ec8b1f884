"""Which mistakes, neighbours and maps are shown: hand-made cases, scikit-learn; figures of real little trials."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors
from support.small_sweeps import SMALL_SPACE
from support.small_trials import MULTI

from sweep.comparison.dataset_report import dataset_reports
from sweep.comparison.effects import NotComputed
from sweep.figures.images import (
    MOST_SIDE,
    RIGHT,
    WRONG,
    CaptionedImage,
    map_of_classes,
    picture_grid,
    shortened,
    thumbnails,
)
from sweep.figures.style import INK
from sweep.planning.dataset_sizes import size_of
from sweep.planning.plan import make_plan
from sweep.records.sweep_record import SweepRecord, describe
from sweep.records.sweep_storage import SweepStorage
from sweep.report.image_selection import FEWEST_FOR_TSNE, WrongPrediction, feature_map, mistakes, nearest, varied
from sweep.report.linked_pages import write_page
from sweep.report.trial_images import TrialPictures, opened, picture_figures
from sweep.space import Grid, RankingObjective, SearchSpace, Stage
from trainables.config import TrialConfig
from trainables.data.preparing.prepare import prepare
from trainables.data.store import ImageStore
from trainables.storage.trial_files import MODEL
from trainables.training.trial import train


def test_mistakes_of_classes_come_most_certain_first() -> None:
    probabilities = np.array([[0.9, 0.1], [0.3, 0.7], [0.05, 0.95], [0.4, 0.6]])
    found = mistakes(probabilities, np.array([1, 1, 0, 0]))
    assert found == [WrongPrediction(2, 1, 0.95, 0), WrongPrediction(0, 0, 0.9, 1), WrongPrediction(3, 1, 0.6, 0)]
    assert mistakes(probabilities, probabilities.argmax(axis=1)) == []


def test_mistakes_of_labels_are_the_worst_of_each_image() -> None:
    probabilities = np.array([[0.9, 0.1, 0.4], [0.2, 0.6, 0.1], [0.8, 0.3, 0.2]])
    truth = np.array([[False, True, True], [False, False, False], [True, False, False]])
    assert mistakes(probabilities, truth) == [WrongPrediction(0, 0, 0.9, None), WrongPrediction(1, 1, 0.6, None)]


def test_neighbours_are_those_of_largest_cosine() -> None:
    random = np.random.default_rng(0)
    queries, bank = random.normal(size=(5, 7)), random.normal(size=(40, 7)) * random.uniform(0.1, 9, (40, 1))
    found, cosines = nearest(queries, bank, 3)
    distances, expected = NearestNeighbors(n_neighbors=3, metric="cosine").fit(bank).kneighbors(queries)
    assert found.tolist() == expected.tolist()
    assert cosines == pytest.approx(1 - distances)
    assert nearest(queries, bank[:2], 3)[0].shape == (5, 2)


def test_examples_are_of_different_classes_first() -> None:
    labels = np.array([0, 0, 0, 1, 2, 0])
    assert varied(labels, np.array([1, 0, 5, 4, 3, 2]), 3).tolist() == [1, 3, 4]
    assert varied(labels, np.array([1, 0, 5, 4, 3, 2]), 4).tolist() == [1, 0, 3, 4]
    assert varied(labels[:2], np.array([1, 0]), 8).tolist() == [1, 0]


def test_a_map_keeps_groups_apart_and_is_the_same_twice() -> None:
    random = np.random.default_rng(0)
    groups = np.repeat([0, 1, 2], FEWEST_FOR_TSNE // 3 + 1)
    features = random.normal(size=(len(groups), 20)) + 8 * np.eye(20)[groups]
    found = feature_map(features)
    assert "t-SNE" in found.method
    assert "means nothing" in found.method
    assert np.array_equal(found.points, feature_map(features).points)
    neighbours = NearestNeighbors(n_neighbors=4).fit(found.points).kneighbors(return_distance=False)
    assert (groups[neighbours] == groups[:, None]).mean() > 0.95
    few = feature_map(features[:10])
    assert "principal components" in few.method
    assert few.points.shape == (10, 2)


@pytest.mark.parametrize("width", [1, 6])
def test_features_that_are_all_alike_make_a_map_too(width: int) -> None:
    for count in (1, 3, FEWEST_FOR_TSNE + 5):
        assert np.isfinite(feature_map(np.ones((count, width))).points).all()


def test_large_pictures_are_made_small_and_long_names_cut() -> None:
    (picture,) = thumbnails(np.full((1, 2 * MOST_SIDE, MOST_SIDE, 3), 0.5))
    assert picture.shape == (MOST_SIDE, MOST_SIDE // 2, 3)
    assert (picture == 128).all()
    assert shortened("Sea, and ocean", 5) == "Sea…"
    figure = picture_grid([CaptionedImage(picture, ("right", "one"), right=True)] * 3, columns=2, title="three")
    assert [text.get_text() for text in figure.axes[0].texts] == ["right", "one"] * 3
    assert len(figure.axes[0].images) == 3


def test_the_words_below_a_picture_can_be_read_in_both_themes() -> None:
    picture = np.zeros((4, 4, 3), np.uint8)
    (axes,) = picture_grid(
        [CaptionedImage(picture, ("a", "b"), right=right) for right in (True, False)], columns=2, title="x"
    ).axes
    assert {text.get_color() for text in axes.texts} == {INK}
    assert [line.get_color() for line in axes.lines] == [RIGHT, WRONG]


def test_classes_beyond_the_colours_are_others() -> None:
    groups = {"a": np.array([True, False, False]), "b": np.array([False, True, False])}
    (legend,) = map_of_classes(np.zeros((3, 2)), groups, title="map").legends
    assert [text.get_text() for text in legend.get_texts()] == ["others", "a", "b"]


def test_the_report_shows_what_the_best_trial_sees(
    swept: tuple[SweepRecord, SweepStorage], store: ImageStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWEEP_DATA", str(store.path.parent))
    record, storage = swept
    page = write_page(dataset_reports(record, storage), storage, tmp_path).read_text()
    (part,) = dataset_reports(record, storage)
    best = part.table.best
    assert best is not None
    assert best.first is not None
    name = best.first.entry.name
    assert name.endswith("-s0"), "the first seed, not the luckiest"
    table = storage.trial_of(best.first.entry).outputs("test")
    assert table is not None
    logits = np.array(table["linear_logits"].to_pylist())
    wrong = int((logits.argmax(axis=1) != table["label"].to_numpy()).sum())
    assert wrong > 24
    assert f"{name}: 24 of {wrong} mistakes among 64 test images, by the logistic regression" in page
    assert re.search(rf"{name}: 8 test images, by stable hash, and the 6 nearest of \d+ labelled train images", page)
    assert f"{name}: 64 test images, coloured by class; first two principal components" in page
    assert f"images: {store.info.licence}" in page
    for figure in ("mistakes", "neighbours", "feature_map"):
        assert (tmp_path / "figures" / f"{figure}.png").is_file()
    # Each picture is embedded for itself, at the size at which it was evaluated.
    svg = (tmp_path / "figures" / "neighbours.svg").read_text()
    assert svg.count("data:image/png;base64") == 8 * 7


def test_features_are_those_that_the_trial_was_evaluated_by(
    swept: tuple[SweepRecord, SweepStorage], store: ImageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWEEP_DATA", str(store.path.parent))
    record, storage = swept
    entry = next(entry for entry in record.trials if entry.baseline is None)
    (part,) = dataset_reports(record, storage)
    trial = next(one for shown in part.rows for one in shown.row.trials if one.entry is entry)
    found = opened(trial, storage.trial_of(entry), record.objective)
    assert isinstance(found, TrialPictures)
    test, bank = found.encoded
    table = storage.trial_of(entry).outputs("test")
    assert table is not None
    assert table["row"].to_pylist() == test.split.rows.tolist()
    state = storage.trial_of(entry).load_model()
    logits = torch.from_numpy(test.features) @ state["linear"]["weight"].T + state["linear"]["bias"]
    assert np.allclose(logits.numpy(), np.array(table["linear_logits"].to_pylist()), atol=1e-3)
    assert len(bank.split) == len(found.data.bank)


@pytest.mark.slow
def test_what_isnt_there_is_said(
    swept: tuple[SweepRecord, SweepStorage], store: ImageStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, storage = swept
    (part,) = dataset_reports(record, storage)

    def refused() -> str:
        found = picture_figures(part, storage)
        assert isinstance(found, NotComputed)
        return found.reason

    monkeypatch.setenv("SWEEP_DATA", str(tmp_path))
    assert "they need the images on this machine" in refused()
    assert (
        "There are none: they need the images"
        in write_page(dataset_reports(record, storage), storage, tmp_path / "page").read_text()
    )
    prepare("digits", root=tmp_path, fraction=0.5)
    assert "isn't the one that" in refused()
    monkeypatch.setenv("SWEEP_DATA", "s3://bucket/stores")
    assert "SWEEP_DATA is s3://bucket/stores" in refused()
    monkeypatch.setenv("SWEEP_DATA", str(store.path.parent))
    best = part.table.best
    assert best is not None
    assert best.first is not None
    files = storage.trial_of(best.first.entry)
    content = files.storage.read(MODEL)
    assert content is not None
    files.storage.delete(MODEL)
    try:
        assert refused().endswith("kept no weights")
        files.storage.write(MODEL, content[:1000])
        assert "holds no weights that can be read" in refused()
    finally:
        files.storage.write(MODEL, content)
    waiting = record.model_copy(update={"objective": "val/nothing"})
    (part,) = dataset_reports(waiting, storage)
    assert refused() == "no trial has finished yet"


def test_several_labels_an_image(patches: ImageStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWEEP_DATA", str(patches.path.parent))
    base = {name: value for name, value in SMALL_SPACE.base.items() if name not in ("max_test_images", "dataset")}
    space = SearchSpace(
        name="labels",
        description="one setting",
        base={**base, "dataset": "bigearthnet_v1", **MULTI, "image_size": 24},
        stages=(Stage("grid", (Grid(axes={"temperature": (0.2,)}),)),),
        objective=RankingObjective("val/linear_average_precision_macro"),
    )
    plan = make_plan(space, assignments={}, size_of=size_of)
    record = describe(plan, name="labels", command="", commit=None, versions={})
    storage = SweepStorage(tmp_path)
    for entry in record.trials:
        config = TrialConfig.parse(entry.config)
        list(train(config, store=patches, files=storage.trial_of(entry), device=torch.device("cpu")))
    (part,) = dataset_reports(record, storage)
    found = picture_figures(part, storage)
    assert not isinstance(found, NotComputed)
    captions = {name: caption for name, _, caption in found}
    assert "images with a wrong label" in captions["mistakes"]
    assert "share a label with it" in captions["neighbours"]
    assert "coloured by the label that is nearest to half of them" in captions["feature_map"]
