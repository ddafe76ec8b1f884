"""Folders to classes and splits: every usual spelling, wrapping folders, and what can be read in two ways."""

import pytest

from trainables.data.sources.folder_layout import FolderLayout, read_layout
from trainables.data.split_names import named_split
from trainables.errors import BadInputError


def layout(*folders: str, level: int | None = None) -> FolderLayout:
    return read_layout("source", [f"{folder}/{number}.jpg" for folder in folders for number in range(2)], level)


def found(*folders: str, level: int | None = None) -> set[tuple[str | None, str | None]]:
    return {(image.label, image.split) for image in layout(*folders, level=level).images}


SPELLINGS = {
    "train": "train Train TRAINING trn train_set trainset TrainSet training-data train2017 train_01 images_train",
    "validation": "val valid validation Validation_Set dev dev-set val2017 valset validation_images vld",
    "test": "test Testing TEST test_set testset TestImages test-data eval evaluation tst test1",
}
NO_SPLITS = ("seg_train", "my_test", "contest", "trains", "holdout", "train_test", "cat", "", "pretraining")


def test_split_words_in_every_usual_spelling() -> None:
    for split, names in SPELLINGS.items():
        assert {name: named_split(name) for name in names.split()} == dict.fromkeys(names.split(), split)
    assert {name: named_split(name) for name in NO_SPLITS} == dict.fromkeys(NO_SPLITS)


@pytest.mark.parametrize("wrapping", ["", "pets/", "a/b/c/"])
def test_folders_that_wrap_all_others_say_nothing(wrapping: str) -> None:
    assert found(f"{wrapping}cat", f"{wrapping}dog") == {("cat", None), ("dog", None)}
    splits = {("cat", "train"), ("dog", "train"), ("cat", "test"), ("dog", "test")}
    for train, test in (("training_set", "test_set"), ("Train", "eval"), ("seg_train", "seg_test")):
        assert found(*(f"{wrapping}{split}/{name}" for split in (train, test) for name in ("cat", "dog"))) == splits
        assert found(*(f"{wrapping}{name}/{split}" for split in (train, test) for name in ("cat", "dog"))) == splits
        inner = [f"{wrapping}{split}/{split}/{name}" for split in (train, test) for name in ("cat", "dog")]
        assert found(*inner) == splits
    assert found(*(f"{wrapping}{split}/images/cat" for split in ("train", "test"))) == {
        ("cat", "train"),
        ("cat", "test"),
    }


def test_the_wrapping_folder_and_what_is_left_out_are_told() -> None:
    assert "within pets/" in layout("pets/cat", "pets/dog").classes_from
    assert (
        "(animals/cat/, animals/dog/, cars/vw/) say nothing"
        in layout("animals/cat", "animals/dog", "cars/vw").classes_from
    )
    told = layout("train/cat", "test/cat", "docs", "unlabelled/x", "predict")
    assert "test/, train/" in told.splits_from
    assert told.left_out == {f"in {name}/, which is no split": 2 for name in ("docs", "predict")}
    assert len(told.images) == 6
    half = layout("train/cat", "val/cat", "test")
    assert half.left_out == {"in test/, which has no class folders and so no labels": 2}
    assert found("data/train/cat", "data/test") == {("cat", "train")}


def test_a_class_may_have_the_name_of_a_split() -> None:
    assert found("car", "bus", "train") == {("car", None), ("bus", None), ("train", None)}
    assert found("train/car", "train/train", "test/train") == {("car", "train"), ("train", "train"), ("train", "test")}


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (["train/cat", "test/cat", "holdout/cat"], "test/, train/ name splits, but holdout/ beside them"),
        (["train/cat", "test/cat", "eval/cat"], "the folders eval/, test/ all name the test split"),
        (["val/cat", "dev/cat", "train/cat"], "the folders dev/, val/ all name the validation split"),
        (["train", "test", "extra"], "the source holds test/, train/ beside extra/"),
        (["cat/train", "cat/test", "dog/extra"], "cat holds test/, train/"),
        (["entrenamiento/gato", "entrenamiento/perro", "prueba/gato", "prueba/perro"], "all hold gato/, perro/"),
        (["batch1/cat", "batch1/dog", "batch2/cat"], "the folders batch1/, batch2/ all hold cat/"),
        (["pets/cat", "pets/dog", "logo"], "pets/ hold folders (cat/, dog/), logo/ images"),
        (["pets/data/cat", "pets/data/dog", "logo"], "which name the classes?"),
        (["pets", "pets/cat"], "pets/ holds images, and folders of images (cat/)"),
        (["cat", "dog", "test"], "test/ beside cat/, dog/: a class of that name, or images of the test split"),
        (["pets/cat", "pets/val_images"], "val_images/ beside cat/: a class of that name, or images of the validation"),
        (["images", "masks"], "masks/ beside images/ look like masks of the images"),
        (["imgs/train", "imgs/test", "labels/train", "labels/test"], "labels/ beside imgs/ look like masks"),
        (["train/train/cat", "train/test/cat", "test/train/cat", "test/test/cat"], "names two splits"),
    ],
)
def test_folders_that_can_be_read_in_two_ways_are_refused(folders: list[str], message: str) -> None:
    with pytest.raises(BadInputError) as caught:
        layout(*folders)
    assert message in str(caught.value)
    assert "--table" in str(caught.value)


@pytest.mark.parametrize("wrapping", ["", "pets/"])
def test_images_in_no_class_folder_are_unlabelled(wrapping: str) -> None:
    def below(*folders: str) -> set[tuple[str | None, str | None]]:
        return found(*(f"{wrapping}{folder}".rstrip("/") for folder in folders))

    assert below("cat", "dog", "unlabelled") == {("cat", None), ("dog", None), (None, None)}
    assert below("cat", "dog", "Unlabeled/2019") == {("cat", None), ("dog", None), (None, None)}
    assert below("unlabelled") == {(None, None)}
    assert below("train", "test") == {(None, "train"), (None, "test")}
    splits = {("cat", "train"), ("cat", "test")}
    assert below("train/cat", "test/cat", "train") == {*splits, (None, "train")}
    assert below("train/cat", "test/cat", "unlabeled") == {*splits, (None, "train")}
    assert below("train/cat", "test/cat", "test/unlabelled") == {*splits, (None, "test")}


def test_loose_images_are_unlabelled_beside_class_folders_and_alone() -> None:
    assert {(image.label, image.split) for image in read_layout("source", ["a.jpg", "b.jpg"]).images} == {(None, None)}
    beside = read_layout("source", ["a.jpg", "cat/1.jpg", "dog/1.jpg"]).images
    assert {(image.path, image.label) for image in beside} == {
        ("a.jpg", None),
        ("cat/1.jpg", "cat"),
        ("dog/1.jpg", "dog"),
    }


def test_a_level_settles_which_folder_names_the_class() -> None:
    assert found("batch1/cat", "batch1/dog", "batch2/cat", level=2) == {("cat", None), ("dog", None)}
    assert found("batch1/cat", "batch1/dog", "batch2/cat", level=1) == {("batch1", None), ("batch2", None)}
    assert found("cat", "test", level=1) == {("cat", None), ("test", None)}
    assert found("cat", "dog/old", "dog/new", level=1) == {("cat", None), ("dog", None)}
    assert found("train/a/x", "test/a/x", level=3) == {("x", "train"), ("x", "test")}
    assert found("train/x", "test/y", level=1) == {("train", None), ("test", None)}
    with pytest.raises(BadInputError, match=r"cat/0\.jpg: isn't in a folder of level 2"):
        layout("cat", "dog/old", level=2)
