"""Parquet files: published splits by path or column, names of labels by shard, and any type that holds labels."""

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from support.stores import made

from trainables.data.preparing.prepare import prepare
from trainables.data.sources.parquet_splits import split_of_path
from trainables.errors import BadInputError

RANDOM = np.random.default_rng(5)


def png() -> bytes:
    content = io.BytesIO()
    Image.fromarray(RANDOM.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(content, "PNG")
    return content.getvalue()


def write(path: Path, labels: Any, names: Sequence[str] = (), *, feature: Any = None, **columns: Any) -> Path:
    """Write a file with an image for each label, and the hub's metadata where names are given."""
    labels = labels if isinstance(labels, (pa.Array, pa.ChunkedArray)) else pa.array(labels)
    table = pa.table({"image": [png() for _ in range(len(labels))], "label": labels, **columns})
    if names:
        own = {"_type": "ClassLabel", "names": list(names)}
        features = {"label": feature(own) if feature else own}
        table = table.replace_schema_metadata({b"huggingface": json.dumps({"info": {"features": features}}).encode()})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)
    return path


PATHS = {
    "train": "train-00000-of-00001 train_0 pets-train default/train/0000 partial-train/0 split=train/part-0 Training",
    "validation": "validation-00000-of-00001 val_0 pets.dev default/validation/0000 data/valid/x",
    "test": "test-00000-of-00001 test_0 pets-test default/test/0000 eval evaluation_1",
}


def test_a_files_path_says_its_split() -> None:
    for split, paths in PATHS.items():
        assert {path: split_of_path(f"{path}.parquet") for path in paths.split()} == dict.fromkeys(paths.split(), split)
    assert split_of_path("data/part-0.parquet") is None
    with pytest.raises(BadInputError, match=r"train_test\.parquet: its path names several splits \(test, train\)"):
        split_of_path("train_test.parquet")
    with pytest.raises(BadInputError, match="names several splits"):
        split_of_path("train/test-0.parquet")


@pytest.mark.parametrize("named", ["default/{}/0000", "{}_0", "pets-{}", "{}-00000-of-00001"])
def test_published_splits_stay_published_and_are_told_from_hashed_ones(named: str, tmp_path: Path) -> None:
    for split, count in (("train", 9), ("test", 4)):
        write(
            tmp_path / "hub" / f"{named.format(split)}.parquet", [number % 2 for number in range(count)], ["cat", "dog"]
        )
    store = made("parquet", tmp_path / "out", source=tmp_path / "hub")
    assert store.info.splits == {"train": 9, "test": 4}
    assert store.info.decisions["splits"].startswith("published: the files' paths (")
    hashed = prepare("parquet", root=tmp_path / "out", source=tmp_path / "hub", splits="random", store_name="hashed")
    assert hashed.decisions["splits"].startswith("hashed: by class, stable hash of the name, 20% test")
    write(tmp_path / "bare" / "0.parquet", [0, 1] * 20)
    bare = prepare("parquet", root=tmp_path / "out", source=tmp_path / "bare", store_name="bare")
    assert bare.decisions["splits"] == "hashed: the source names none, so by class, stable hash of the name, 20% test"


def test_a_file_without_a_split_among_others_is_named(tmp_path: Path) -> None:
    for name in ("train-0", "test-0", "more"):
        write(tmp_path / "hub" / f"{name}.parquet", [0, 1])
    with pytest.raises(
        BadInputError, match=r"more\.parquet: names no split, but test-0\.parquet, train-0\.parquet does"
    ):
        prepare("parquet", root=tmp_path / "out", source=tmp_path / "hub")


def test_a_column_of_splits_is_used_where_paths_say_none(tmp_path: Path) -> None:
    fold = pa.array(["train", "train", "test", "train", "test"])
    path = write(tmp_path / "all.parquet", [0, 1, 0, 0, 1], fold=fold, split=fold)
    for store_name, columns in (("asked", {"split": "fold"}), ("found", {})):
        info = prepare("parquet", root=tmp_path / "out", source=path, columns=columns, store_name=store_name)
        assert info.splits == {"train": 3, "test": 2}
        assert info.decisions["splits"] == f"published: column '{columns.get('split', 'split')}'"
    write(path, [0, 1, 0, 0, 1], fold=pa.array(["train", "train", "test", "train", "other"]))
    with pytest.raises(BadInputError, match="column 'fold': 'other' is none of train, validation, test"):
        prepare("parquet", root=tmp_path / "out", source=path, columns={"split": "fold"}, store_name="wrong")


def test_names_of_labels_are_united_and_contradictions_refused(tmp_path: Path) -> None:
    hub = tmp_path / "hub"
    write(hub / "train-0.parquet", [0, 1, 0, 1], ["cat", "dog"])
    write(hub / "test-0.parquet", [1, 2, 0], ["cat", "dog", "owl"])
    store = made("parquet", tmp_path / "out", source=hub)
    assert store.info.class_names == ("cat", "dog", "owl")
    assert store.labels(store.split("test")).tolist() == [1, 2, 0]
    write(hub / "train-1.parquet", [0, 1], ["dog", "cat"])
    with pytest.raises(BadInputError, match=r"train-1\.parquet: label 0 is 'dog', in .*test-0\.parquet it is 'cat'"):
        prepare("parquet", root=tmp_path / "other", source=hub)
    write(hub / "train-1.parquet", [0, 1])
    with pytest.raises(BadInputError, match=r"train-1\.parquet: its labels have no names, but those of .* do"):
        prepare("parquet", root=tmp_path / "other", source=hub)
    write(hub / "train-1.parquet", [0, 1], ["cat", "cat"])
    with pytest.raises(BadInputError, match=r"train-1\.parquet: column 'label': two classes have one name"):
        prepare("parquet", root=tmp_path / "other", source=hub)


def with_metadata(path: Path, labels: Any, metadata: bytes) -> Path:
    table = pa.table({"image": [png() for _ in labels], "label": pa.array(labels)})
    pq.write_table(table.replace_schema_metadata({b"huggingface": metadata}), path)
    return path


def features(**label: Any) -> bytes:
    return json.dumps({"info": {"features": {"label": {"_type": "ClassLabel", **label}}}}).encode()


@pytest.mark.parametrize(
    ("labels", "metadata", "told"),
    [
        ([0, 1] * 9, b"{broken", "2 by the labels that occur; the hub's metadata can't be read (FILE)"),
        ([0, 1] * 9, b'{"info": []}', "2 by the labels that occur; the hub's metadata can't be read (FILE)"),
        (
            [0, 1] * 9,
            b'{"info": {"features": {}}}',
            "by the labels that occur; the hub's metadata has no column 'label'",
        ),
        ([0, 1] * 9, features(num_classes=2), "the hub's metadata has classes without names"),
        (["a", "b"] * 9, features(names=["cat"]), "the hub's metadata names classes, but the column holds texts"),
        ([0, 1] * 9, features(names={"0": "cat", "1": "dog"}), "2 by names in the metadata"),
    ],
)
def test_metadata_that_gives_no_names_is_told(labels: Any, metadata: bytes, told: str, tmp_path: Path) -> None:
    path = with_metadata(tmp_path / "x.parquet", labels, metadata)
    decided = prepare("parquet", root=tmp_path / "out", source=path).decisions["classes"]
    assert told.replace("FILE", str(path)) in decided


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({"names": ["cat", "dog"]}, "row 3: label 2 is none of 0 to 1, which the metadata names"),
        ({"names": ["cat", "dog"], "num_classes": 3}, "column 'label': 3 classes, but 2 names; correct the file's"),
    ],
)
def test_names_that_are_too_few_are_refused(names: Any, message: str, tmp_path: Path) -> None:
    path = with_metadata(tmp_path / "x.parquet", [0, 1, 2] * 3, features(**names))
    with pytest.raises(BadInputError, match=message):
        prepare("parquet", root=tmp_path / "out", source=path)


INDICES = [[0], [1, 2], [2], [0, 1]] * 5
FLAGS = [[1, 0, 0], [0, 1, 1], [0, 0, 1], [1, 1, 0]] * 5
TEXTS = [["a"], ["b", "c"], ["c"], ["a", "b"]] * 5
SEVERAL = {
    "list": pa.array(INDICES, pa.list_(pa.int64())),
    "large_list": pa.array(INDICES, pa.large_list(pa.int8())),
    "list_view": pa.array(INDICES, pa.list_view(pa.int16())),
    "large_list_view": pa.array(INDICES, pa.large_list_view(pa.int32())),
    "flags": pa.array(FLAGS, pa.list_(pa.int64())),
    "flags as list_view": pa.array(FLAGS, pa.list_view(pa.uint8())),
    "flags of fixed size": pa.array(FLAGS, pa.list_(pa.uint8(), 3)),
    "flags as booleans": pa.array([[bool(flag) for flag in row] for row in FLAGS]),
    "flags as floats": pa.array([[float(flag) for flag in row] for row in FLAGS]),
    "texts": pa.array(TEXTS),
    "large texts": pa.array(TEXTS, pa.large_list(pa.large_string())),
    "a dictionary": pa.ListArray.from_arrays(
        np.cumsum([0, *map(len, TEXTS)]).astype(np.int32),
        pa.array([one for row in TEXTS for one in row]).dictionary_encode(),
    ),
}


@pytest.mark.parametrize("kind", list(SEVERAL))
def test_several_labels_are_recognised_whatever_holds_them(kind: str, tmp_path: Path) -> None:
    store = made("parquet", tmp_path / "out", source=write(tmp_path / "x.parquet", SEVERAL[kind]))
    assert store.info.multi_label
    assert len(store.info.class_names) == 3
    rows = sorted(range(20), key=lambda row: store.names([row]))
    assert store.label_matrix(rows).int().tolist() == FLAGS
    assert ("flags" in store.info.decisions["classes"]) == ("flags" in kind)


def test_names_go_with_lists_in_every_form_of_the_hub(tmp_path: Path) -> None:
    forms = {"sequence": lambda own: {"_type": "Sequence", "feature": own}, "list": lambda own: [own]}
    for name, form in forms.items():
        for labels in (SEVERAL["list"], SEVERAL["flags"]):
            path = write(tmp_path / "x.parquet", labels, ["cat", "dog", "owl"], feature=form)
            info = prepare("parquet", root=tmp_path / name / str(labels[0]), source=path)
            assert info.class_names == ("cat", "dog", "owl")


@pytest.mark.parametrize(
    ("labels", "names", "message"),
    [
        ([[0], [], [1]], (), r"row 2: no label"),
        ([[0], [1, None], [1]], (), r"row 2: no label"),
        ([[1, 0, 0], [0, 0, 0], [0, 0, 1]], (), r"row 2: no label"),
        (
            [0, -1, 1],
            ["cat", "dog"],
            r"row 2: label -1 is none of 0 to 1, which the metadata names \(-1 is the hub's sign",
        ),
        ([[0, 1], [1, 0], [0, 1]], (), r"lists of two, 0 and 1, may be flags or class numbers"),
        ([[0.5, 0.5], [1.0, 0.0]], (), r"lists of fractions aren't labels"),
        ([[True], [True, False]], (), r"lists of flags of several lengths aren't labels"),
        ([{"x": 1}, {"x": 2}], (), r"column 'label' holds struct<x: int64>; labels are numbers, texts"),
        ([[[0]], [[1]]], (), r"column 'label' holds list<"),
        ([[1, 0, 0], [0, 1, 1]], ["cat", "dog"], r"lists of 3 flags, but 2 class names"),
    ],
)
def test_rows_without_a_label_and_lists_of_two_meanings_are_named(
    labels: Any, names: Sequence[str], message: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "x.parquet", labels, names)
    with pytest.raises(BadInputError, match=message):
        prepare("parquet", root=tmp_path / "out", source=path)


def test_rows_without_a_label_are_unlabelled(tmp_path: Path) -> None:
    kinds: dict[str, list[Any]] = {
        "number": [0, None, 1, None],
        "float": [0.0, float("nan"), 1.0, None],
        "text": ["cat", "", "dog", None],
        "list": [[0], None, [0, 1], None],
        "nothing": [None] * 4,
    }
    for name, labels in kinds.items():
        path = write(tmp_path / "x.parquet", labels * 5)
        info = prepare("parquet", root=tmp_path / name, source=path)
        assert (info.images, len(info.class_names)) == (20, 0 if name == "nothing" else 2)
        assert sum(info.unlabelled.values()) == (20 if name == "nothing" else 10)


def test_files_of_two_kinds_and_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "hub" / "a.parquet", [0, 1] * 10)
    write(tmp_path / "hub" / "b.parquet", [[0], [1]])
    with pytest.raises(BadInputError, match=r"a\.parquet: one label per row, .*b\.parquet: a list of labels"):
        prepare("parquet", root=tmp_path / "out", source=tmp_path / "hub")
    table = pq.read_table(tmp_path / "hub" / "a.parquet")
    pq.write_table(
        pa.table([*table.columns, table["label"]], names=[*table.column_names, "label"]), tmp_path / "c.parquet"
    )
    with pytest.raises(BadInputError, match="several columns are named 'label'"):
        prepare("parquet", root=tmp_path / "out", source=tmp_path / "c.parquet")
    (tmp_path / "hub" / "b.parquet").unlink()
    (tmp_path / "hub" / "._a.parquet").write_bytes(b"of macOS")
    (tmp_path / "hub" / "README.md").write_text("x")
    info = prepare("parquet", root=tmp_path / "out", source=tmp_path / "hub", splits="random")
    assert info.decisions["left out"] == "1 hidden, 1 no .parquet"


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["train-00000-of-00002-0123abcd"], r"missing train-00001-of-00002\.parquet; fetch all"),
        (["train-00002-of-00003"], r"missing train-00000-of-00003\.parquet and 1 more"),
        (["train-00000-of-00001-aa", "train-00000-of-00001-bb"], r"are both number 0 of train: files of two versions"),
        (
            ["full/test-00000-of-00001", "small/test-00000-of-00001"],
            r"are both number 0 of test: files of two versions",
        ),
        (["train", "trainval", "test"], r"train\.parquet and trainval\.parquet name the train split by two words"),
    ],
)
def test_files_that_are_missing_or_of_two_origins_are_named(names: list[str], message: str, tmp_path: Path) -> None:
    for name in names:
        write(tmp_path / "hub" / f"{name}.parquet", [0, 1])
    with pytest.raises(BadInputError, match=message):
        prepare("parquet", root=tmp_path / "out", source=tmp_path / "hub")


def test_one_shard_alone_is_taken_where_it_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "train-00000-of-00009.parquet", [0, 1] * 10)
    assert prepare("parquet", root=tmp_path / "out", source=path, splits="random").images == 20


def test_two_columns_of_which_either_may_be_it_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "x.parquet", [0, 1] * 10, img=pa.array([png() for _ in range(20)]))
    with pytest.raises(BadInputError, match="columns 'image' and 'img': either may be the image; choose one with"):
        prepare("parquet", root=tmp_path / "out", source=path)
    assert prepare("parquet", root=tmp_path / "out", source=path, columns={"image": "img"}).images == 20


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0, 1, 0, 1], r"column 'split': [01] is none of train, validation, test; correct it, or choose"),
        (["train", "test", "train", "eval"], r"'eval' and 'test' both name the test split"),
    ],
)
def test_a_column_of_splits_that_isnt_understood_is_not_passed_over(
    values: list[Any], message: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "x.parquet", [0, 1, 0, 1], split=pa.array(values))
    with pytest.raises(BadInputError, match=message):
        prepare("parquet", root=tmp_path / "out", source=path)


def test_a_row_without_an_image_can_be_left_out(tmp_path: Path) -> None:
    table = pa.table({"image": [*(png() for _ in range(11)), None], "label": [0, 1] * 6})
    pq.write_table(table, tmp_path / "x.PARQUET")
    with pytest.raises(BadInputError, match=r"row 12: no image \(null\)"):
        prepare("parquet", root=tmp_path / "out", source=tmp_path)
    assert prepare("parquet", root=tmp_path / "out", source=tmp_path, skip_corrupt=True).images == 11


def test_a_pointer_to_a_parquet_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with pytest.raises(BadInputError, match=r"x\.parquet: a git-LFS pointer"):
        prepare("parquet", root=tmp_path / "out", source=tmp_path)


def test_texts_for_a_missing_label_are_no_class(tmp_path: Path) -> None:
    path = write(tmp_path / "x.parquet", ["cat", "dog", "N/A", "<NA>", "nan"] * 5)
    info = prepare("parquet", root=tmp_path / "out", source=path)
    assert info.class_names == ("cat", "dog")
    assert sum(info.unlabelled.values()) == 15


def test_a_column_of_splits_of_another_name_is_named(tmp_path: Path) -> None:
    subset, number = pa.array(["train"] * 6 + ["test"] * 3), pa.array(range(9))
    path = write(tmp_path / "x.parquet", [0, 1, 0] * 3, subset=subset, caption=pa.array(["a photo"] * 9), number=number)
    with pytest.raises(BadInputError, match="column 'subset' holds splits; name it with --column split=subset"):
        prepare("parquet", root=tmp_path / "out", source=path)
    info = prepare("parquet", root=tmp_path / "out", source=path, columns={"split": "subset"})
    assert (info.splits, info.decisions["columns not used"]) == ({"train": 6, "test": 3}, "'caption', 'number'")


def test_whole_floats_with_names_are_classes_and_fractions_are_none(tmp_path: Path) -> None:
    path = write(tmp_path / "x.parquet", [0.0, 1.0, None] * 5, ["cat", "dog"])
    info = prepare("parquet", root=tmp_path / "out", source=path)
    assert (info.class_names, sum(info.unlabelled.values())) == (("cat", "dog"), 5)
    with pytest.raises(BadInputError, match=r"row 1: label 0\.5: a fraction is no class"):
        prepare("parquet", root=tmp_path / "other", source=write(tmp_path / "y.parquet", [0.5, 1.25] * 5))


def test_files_with_texts_and_with_numbers_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "hub" / "train-0.parquet", [0, 1] * 3)
    write(tmp_path / "hub" / "train-1.parquet", [None] * 6)
    write(tmp_path / "hub" / "test-0.parquet", [0, 1] * 3)
    prepare("parquet", root=tmp_path / "out", source=tmp_path / "hub")
    write(tmp_path / "hub" / "train-2.parquet", ["cat", "dog"] * 3)
    with pytest.raises(BadInputError, match=r"labels are numbers, but .*train-2\.parquet: texts; give one kind"):
        prepare("parquet", root=tmp_path / "other", source=tmp_path / "hub")
