"""A data store that somebody else wrote: its names lead nowhere, and its pixels are those of its checksums."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from support.hostile_stores import change_info, change_rows, info_of, published

from sweep.data import main
from trainables.data import remote_store
from trainables.data.cache import local_copy
from trainables.data.index_table import fingerprint, open_rows
from trainables.data.preparing.verify import verify
from trainables.data.store import ImageStore
from trainables.data.store_info import StoreInfo
from trainables.data.store_upload import upload
from trainables.errors import BadInputError

Store = tuple[Path, str, str]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("SWEEP_CACHE", str(tmp_path / "home" / ".cache" / "nodes"))
    monkeypatch.setenv("SWEEP_DATA", f"file://{tmp_path}/shared")
    return published(tmp_path)


def one_line(error: BaseException) -> str:
    text = str(error)
    assert "\n" not in text
    assert len(text) < 1500
    return text


# A3: what becomes a path


@pytest.mark.parametrize(
    "fingerprint", ["../../documents", "../../documents\0" + "0" * 47, "/" * 64, "A" * 64, "0" * 65, 7]
)
def test_a_fingerprint_replaces_no_folder(fingerprint: Any, store: Store, tmp_path: Path) -> None:
    place, address, _ = store
    documents = tmp_path / "home" / "documents"
    documents.mkdir(parents=True)
    (documents / "thesis.txt").write_text("years")
    (tmp_path / "home" / ".cache" / "nodes").mkdir(parents=True)
    change_info(place, {"fingerprint": fingerprint})
    with pytest.raises(BadInputError) as caught:
        ImageStore.open("digits")
    assert "store.json" in one_line(caught.value) or address in one_line(caught.value)
    assert "fingerprint" in str(caught.value)
    with pytest.raises(BadInputError, match="fingerprint"):  # of a trial's record
        ImageStore.at(address, str(fingerprint))
    assert (documents / "thesis.txt").read_text() == "years"
    assert list((tmp_path / "home" / ".cache" / "nodes").iterdir()) == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "../../documents"),
        ("name", "digits; rm -rf ~"),
        ("name", ".."),
        ("name", "a\n"),
        ("data_set", "/etc"),
        ("splits", {"../../test": 5}),
        ("splits", {"train": -5}),
        ("splits", {"train": 10**30}),
        ("class_counts", {"../x": [1]}),
        ("class_counts", {"train": [1]}),
        ("rule_counts", {"closed_loop": {"../x": 1}}),
        ("rules", {"closed_loop": ["../../x"]}),
        ("options", {"bands": "B04, ../../B03"}),
        ("options", {"percentiles": "B04: 1 to lots"}),
        ("image_size", [0, 8]),
        ("image_size", [8, 2**40]),
        ("channels", 0),
        ("dtype", "object"),
        ("notes", "x" * 10**6),
        ("unknown", 1),
    ],
)
def test_a_field_that_is_none_is_named_in_one_line(field: str, value: Any, store: Store) -> None:
    place, address, planned = store
    change_info(place, {field: value})
    for read in (
        lambda: StoreInfo.read_folder(place),
        lambda: StoreInfo.read("digits"),
        lambda: local_copy(address, planned),
        lambda: verify(address),
    ):
        with pytest.raises(BadInputError) as caught:
            read()
        assert field in one_line(caught.value)
        assert str(place) in str(caught.value)


@pytest.mark.parametrize("content", [b"[" * 10**6, b"\xff\xfe", b'{"format_version": 2', b"null", b"7"])
def test_a_store_json_that_is_none_is_named(content: bytes, store: Store) -> None:
    place, address, planned = store
    (place / "store.json").write_bytes(content)
    for read in (lambda: StoreInfo.read_folder(place), lambda: local_copy(address, planned)):
        with pytest.raises(BadInputError) as caught:
            read()
        assert str(place) in one_line(caught.value)


def test_a_store_json_without_end_is_not_read_whole(store: Store) -> None:
    place, address, planned = store
    with (place / "store.json").open("r+b") as file:
        file.truncate(remote_store.INFO_BYTES * 1000)  # a hole: it takes no disk
    for read in (lambda: StoreInfo.read_folder(place), lambda: local_copy(address, planned)):
        with pytest.raises(BadInputError, match="more than"):
            read()


def test_only_a_stores_own_files_are_copied(store: Store, tmp_path: Path) -> None:
    place, address, planned = store
    (place / ".use").write_text("held")
    (place / "sitecustomize.py").write_text("raise SystemExit")
    folder = local_copy(address, planned)
    assert {path.name for path in folder.iterdir()} == {".use", "pixels.bin", "rows.arrow", "store.json"}
    made = tmp_path / "made" / "digits"
    (made / ".env").write_text("TOKEN=secret")
    upload(made, f"file://{tmp_path}/again")
    assert {path.name for path in (tmp_path / "again").iterdir()} == {"pixels.bin", "rows.arrow", "store.json"}


# A7: what is fetched is what was planned with


def flip_a_bit(place: Path) -> None:
    path = place / "pixels.bin"
    content = bytearray(path.read_bytes())
    content[1234] ^= 1
    path.write_bytes(content)


def cut_pixels(place: Path) -> None:
    path = place / "pixels.bin"
    path.write_bytes(path.read_bytes()[:-192])


def swap_images(place: Path) -> None:
    change_rows(place, "position", lambda column: pa.array(column.to_numpy()[::-1].copy()))


def one_image_for_all(place: Path) -> None:
    change_rows(place, "position", lambda column: pa.array(np.zeros(len(column), dtype=np.int64)))


def swap_splits(place: Path) -> None:
    """The fingerprint has the splits' numbers and not their names."""
    names = pa.array(["test", "validation", "train"])
    change_rows(place, "split", lambda column: pa.DictionaryArray.from_arrays(column.indices, names))


def move_validation(place: Path) -> None:
    """The fingerprint has the names, and the numbers by which trials cut follow from them."""
    change_rows(place, "hash_validation", lambda column: pa.array(column.to_numpy()[::-1].copy()))


def swap_labels(place: Path) -> None:
    change_rows(place, "labels", lambda column: column.take(pa.array(range(len(column))[::-1])))


def empty_hash(place: Path) -> None:
    change_rows(place, "hash_subset", lambda column: pa.array([None, *column.to_pylist()[1:]], pa.float64()))


def miscount(place: Path) -> None:
    counts = info_of(place).class_counts
    change_info(place, {"class_counts": {split: counts[split][::-1] for split in counts}})


CHANGES = [
    *(flip_a_bit, cut_pixels, swap_images, one_image_for_all, swap_splits, move_validation, swap_labels, empty_hash),
    miscount,
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_what_differs_from_its_checksums_is_never_used(change: Callable[[Path], None], store: Store) -> None:
    place, address, planned = store
    change(place)
    with pytest.raises(BadInputError) as caught:
        ImageStore.open("digits")
    assert str(place) in one_line(caught.value) or "rows.arrow" in one_line(caught.value)
    with pytest.raises(BadInputError):
        local_copy(address, planned)
    with pytest.raises(BadInputError):
        verify(address)


def test_labels_that_are_no_classes_are_refused_though_the_fingerprint_fits(store: Store) -> None:
    """Whoever makes the store makes the fingerprint too."""
    place, _, _ = store
    change_rows(place, "labels", lambda column: pa.array([[99]] * len(column), pa.list_(pa.int16())))
    info = info_of(place)
    change_info(place, {"fingerprint": fingerprint(info, open_rows(place / "rows.arrow"))})
    with pytest.raises(BadInputError, match="labels from 99 to 99, and 10 classes"):
        ImageStore(place)


def test_nothing_of_a_refused_store_stays_on_the_node(store: Store, tmp_path: Path) -> None:
    place, address, planned = store
    flip_a_bit(place)
    with pytest.raises(BadInputError, match=r"row \d+ \(digit_\d+\) differs from its checksum"):
        local_copy(address, planned)
    left = [path for path in (tmp_path / "home" / ".cache" / "nodes").rglob("*") if not path.name.endswith(".lock")]
    assert left == []


def test_verify_reads_a_store_wherever_it_lies(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place, address, _ = store
    elsewhere = f"fsspec+memory://{tmp_path}/digits"
    upload(tmp_path / "made" / "digits", elsewhere)
    for name in (address, elsewhere, "digits"):
        with pytest.raises(SystemExit) as caught:
            main(["verify", name])
        assert caught.value.code == 0, capsys.readouterr().err
    assert f"{elsewhere}: 79 images verified" in capsys.readouterr().out
    flip_a_bit(place)
    for name in (address, "digits"):
        with pytest.raises(SystemExit) as caught:
            main(["verify", name])
        assert caught.value.code == 2
        assert "differs from its checksum" in capsys.readouterr().err
    with pytest.raises(BadInputError, match="no store there"):
        verify(f"file://{tmp_path}/nowhere")


def test_a_folder_of_stores_needs_no_address_to_be_verified(store: Store, tmp_path: Path) -> None:
    shutil.copytree(tmp_path / "made" / "digits", tmp_path / "here" / "digits")
    assert verify("digits", tmp_path / "here").images == 79
    swap_splits(tmp_path / "here" / "digits")
    with pytest.raises(BadInputError, match="split"):
        verify("digits", tmp_path / "here")
    json.loads((tmp_path / "here" / "digits" / "store.json").read_text())
