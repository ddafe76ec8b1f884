"""A store in shared storage on a node: copied once, checked, held while it is read, and cleaned by least recent use."""

import hashlib
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFile
from support.paths import ROOT

from trainables.data import cache, cache_eviction
from trainables.data.cache import local_copy
from trainables.data.cache_eviction import hold
from trainables.data.index_table import fingerprint as fingerprint_of
from trainables.data.index_table import open_rows, write_rows
from trainables.data.preparing.prepare import prepare
from trainables.data.remote_store import read_info_bytes
from trainables.data.stable_hash import SALTS, stable_fraction
from trainables.data.store import ImageStore
from trainables.data.store_addresses import data_root, store_address
from trainables.data.store_format import FORMAT_VERSION, UNFINISHED
from trainables.data.store_info import LeakCounts, StoreInfo, prepared
from trainables.data.store_upload import upload
from trainables.errors import BadInputError

SIZE = 100_000
"""Bytes of a store's pixels: one image, and its rows take a few thousand more."""


def write_store(folder: Path, seed: int, size: int = SIZE) -> Path:
    """Write a store of one image."""
    folder.mkdir(parents=True)
    pixels = np.random.default_rng(seed).bytes(size)
    (folder / "pixels.bin").write_bytes(pixels)
    write_rows(
        folder / "rows.arrow",
        names=["one"],
        labels=[(0,)],
        splits=np.zeros(1, dtype=np.int8),
        places=[""],
        positions=[0],
        checksums=[hashlib.sha256(pixels).digest()[:16]],
        hashes=[0],
        fractions={salt: stable_fraction(["one"], salt=salt).tolist() for salt in SALTS},
        original_labels=None,
    )
    info = StoreInfo(
        format_version=FORMAT_VERSION,
        name="small",
        data_set="folder",
        source="here",
        image_size=(1, size),
        channels=1,
        dtype="uint8",
        class_names=("thing",),
        multi_label=False,
        rules={},
        splits={"train": 1},
        class_counts={"train": (1,)},
        rule_counts={},
        options={},
        licence="",
        notes=(),
        leaks=LeakCounts(identical=0, near_identical=0, neighbours=0, examples=()),
        corrupt=(),
        made="",
        fingerprint=UNFINISHED,
    )
    info = info.model_copy(update={"fingerprint": fingerprint_of(info, open_rows(folder / "rows.arrow"))})
    (folder / "store.json").write_text(info.model_dump_json())
    return folder


def its_fingerprint(folder: Path) -> str:
    found: str = json.loads((folder / "store.json").read_text())["fingerprint"]
    return found


def uploaded(tmp_path: Path, name: str, size: int = SIZE) -> tuple[str, str]:
    """Return the address and fingerprint of a store in shared storage."""
    folder = write_store(tmp_path / "made" / name, ord(name), size)
    address = f"file://{tmp_path}/shared/{name}"
    upload(folder, address)
    return address, its_fingerprint(folder)


def test_a_store_goes_up_and_comes_down_once(tmp_path: Path) -> None:
    address, fingerprint = uploaded(tmp_path, "a")
    told: list[tuple[int, int]] = []
    folder = local_copy(address, fingerprint, cache=tmp_path / "node", progress=lambda *both: told.append(both))
    assert {path.name for path in folder.iterdir()} == {"pixels.bin", "rows.arrow", "store.json", ".use"}
    assert (folder / "pixels.bin").read_bytes() == (tmp_path / "made/a/pixels.bin").read_bytes()
    assert told[-1][0] == told[-1][1] > SIZE
    for path in (tmp_path / "shared" / "a").iterdir():
        path.unlink()  # the remote isn't asked again
    assert local_copy(address, fingerprint, cache=tmp_path / "node") == folder


def test_a_file_system_that_isnt_local(tmp_path: Path) -> None:
    made, address = write_store(tmp_path / "made", 1), f"fsspec+memory://{tmp_path}/a"
    assert read_info_bytes(address) is None
    upload(made, address)
    folder = local_copy(address, its_fingerprint(made), cache=tmp_path / "node")
    assert (folder / "pixels.bin").read_bytes() == (made / "pixels.bin").read_bytes()


def test_an_upload_that_is_cut_off_is_no_store(tmp_path: Path) -> None:
    made, address = write_store(tmp_path / "made", 1), f"file://{tmp_path}/shared/a"

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        upload(made, address, progress=stop)
    assert read_info_bytes(address) is None
    with pytest.raises(BadInputError, match="no store there"):
        local_copy(address, its_fingerprint(made), cache=tmp_path / "node")
    upload(made, address)
    upload(made, address)  # the same again is left alone
    assert read_info_bytes(address) == (made / "store.json").read_bytes()
    with pytest.raises(BadInputError, match="holds another store"):
        upload(write_store(tmp_path / "other", 2), address)


def test_another_store_than_planned_with_is_refused(tmp_path: Path) -> None:
    address, _ = uploaded(tmp_path, "a")
    with pytest.raises(BadInputError, match=r"has fingerprint \w{12}, but the plan has bbbbbbbbbbbb"):
        local_copy(address, "b" * 64, cache=tmp_path / "node")
    assert [path.name for path in (tmp_path / "node").iterdir()] == [f".{'b' * 32}.lock"]


def test_a_store_that_is_replaced_while_it_is_copied_is_refused(tmp_path: Path) -> None:
    address, fingerprint = uploaded(tmp_path, "a")

    def replace(done: int, total: int) -> None:
        (tmp_path / "shared" / "a" / "pixels.bin").write_bytes(bytes(SIZE))

    with pytest.raises(BadInputError, match=r"row 0 \(one\) differs from its checksum"):
        local_copy(address, fingerprint, cache=tmp_path / "node", progress=replace)
    assert all(path.is_file() for path in (tmp_path / "node").iterdir())


def test_a_file_that_comes_short_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address, fingerprint = uploaded(tmp_path, "a")
    monkeypatch.setattr(cache, "pieces", lambda read_into, size: [memoryview(b"ab")])
    with pytest.raises(BadInputError, match="arrived with another size than the listed one"):
        local_copy(address, fingerprint, cache=tmp_path / "node")


def test_what_killed_processes_left_is_cleared(tmp_path: Path) -> None:
    address, fingerprint = uploaded(tmp_path, "a")
    half_copied = tmp_path / "node" / f".{fingerprint[:32]}.partial"
    half_removed = tmp_path / "node" / fingerprint[:32]
    of_another = tmp_path / "node" / f".{'b' * 32}.partial"
    for left in (half_copied, half_removed, of_another):
        left.mkdir(parents=True)
        (left / "pixels.bin").write_bytes(b"half")
        (left / "stray").write_bytes(b"")
    folder = local_copy(address, fingerprint, cache=tmp_path / "node")
    assert (folder / "pixels.bin").stat().st_size == SIZE
    assert not (folder / "stray").exists()
    assert not half_copied.exists()
    assert not of_another.exists()


def test_what_another_process_is_copying_is_left_alone(tmp_path: Path) -> None:
    stores = {name: uploaded(tmp_path, name) for name in "ab"}

    def copy_another(done: int, total: int) -> None:
        local_copy(*stores["b"], cache=tmp_path / "node")

    folder = local_copy(*stores["a"], cache=tmp_path / "node", progress=copy_another)
    assert len(list(folder.iterdir())) == 4
    assert (tmp_path / "node" / stores["b"][1][:32] / ".use").exists()


def _copy_slowly(address: str, fingerprint: str, node: str, log: str, barrier: Barrier) -> None:
    def told(done: int, total: int) -> None:
        with Path(log).open("a") as file:
            file.write(f"{os.getpid()}\n")
        time.sleep(0.05)

    barrier.wait()  # imports take longer than the copy
    local_copy(address, fingerprint, cache=Path(node), progress=told)


def test_two_processes_at_once_copy_once(tmp_path: Path) -> None:
    address, fingerprint = uploaded(tmp_path, "a")
    context = multiprocessing.get_context("forkserver")
    arguments = (address, fingerprint, str(tmp_path / "node"), str(tmp_path / "log"), context.Barrier(2, timeout=60))
    workers = [context.Process(target=_copy_slowly, args=arguments) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert len(set((tmp_path / "log").read_text().split())) == 1


def test_the_least_recently_used_makes_room_unless_it_is_held(tmp_path: Path) -> None:
    stores = {name: uploaded(tmp_path, name) for name in "abcd"}
    node, limit = tmp_path / "node", 330_000
    folders = {}
    for age, name in enumerate("abc"):
        folders[name] = local_copy(*stores[name], cache=node, limit=limit)
        os.utime(folders[name] / ".use", (age, age))
    with hold(folders["b"]):
        local_copy(*stores["a"], cache=node, limit=limit)  # used again: b, then c are the oldest now
        local_copy(*stores["d"], cache=node, limit=limit)
        assert {name: folders[name].exists() for name in "abc"} == {"a": True, "b": True, "c": False}
    with hold(folders["a"]), hold(folders["b"]), pytest.raises(BadInputError, match=r"needs \d\.\d MB, the limit is"):
        local_copy(*stores["c"], cache=node, limit=220_000)
    assert (node / stores["d"][1][:32]).exists()  # it wouldn't have been room enough, so it wasn't removed
    local_copy(*stores["c"], cache=node, limit=220_000)
    assert not folders["b"].exists()


def test_a_disk_that_others_filled_makes_room_under_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stores = {name: uploaded(tmp_path, name) for name in "ab"}
    oldest = local_copy(*stores["a"], cache=tmp_path / "node", limit=10**6)
    usage = type(shutil.disk_usage(tmp_path))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**6, 10**6 - 5000, 5000))
    with hold(oldest), pytest.raises(BadInputError, match=r"the disk has \d\.\d MB for stores, \d\.\d MB are in use"):
        local_copy(*stores["b"], cache=tmp_path / "node", limit=10**6)
    local_copy(*stores["b"], cache=tmp_path / "node", limit=10**6)
    assert not oldest.exists()


def test_a_store_that_was_removed_isnt_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = local_copy(*uploaded(tmp_path, "a"), cache=tmp_path / "node")
    lock = cache_eviction.fcntl.flock

    def removed_while_waiting(file: Any, operation: int) -> None:
        shutil.rmtree(folder)
        lock(file, operation)

    monkeypatch.setattr(cache_eviction.fcntl, "flock", removed_while_waiting)
    for _ in range(2):  # removed between opening and locking, and before
        with pytest.raises(BadInputError, match="removed to make room for another store"):
            hold(folder)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("200GB", 200e9),
        ("50 GiB", 50 * 2**30),
        ("2TiB", 2 * 2**40),
        ("3kib", 3 * 2**10),
        ("1.5tb", 1.5e12),
        ("1000", 1000),
        ("7 B", 7),
    ],
)
def test_spellings_of_the_limit(text: str, expected: float, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SWEEP_CACHE_LIMIT", text)
    assert cache_eviction.size_limit(tmp_path, None) == expected
    monkeypatch.setenv("SWEEP_CACHE_LIMIT", "lots")
    with pytest.raises(
        BadInputError, match="SWEEP_CACHE_LIMIT 'lots': must be a number of bytes, or a size such as 200GB"
    ):
        cache_eviction.size_limit(tmp_path, None)


def test_a_cache_that_cant_be_written_and_an_address_that_cant_be_reached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)  # a scheme whose package isn't installed
    address, fingerprint = uploaded(tmp_path, "a")
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInputError, match=r"file/node: can't be written .*SWEEP_CACHE"):
        local_copy(address, fingerprint, cache=tmp_path / "file" / "node")
    for unknown in ("nowhere://x/y", "s3:///", "hf://datasets/x/y", f"file://{tmp_path}/file"):
        with pytest.raises(BadInputError, match="can't be reached") as caught:
            read_info_bytes(unknown)
        assert len(str(caught.value).splitlines()) == 1


def test_a_disk_that_is_full_is_the_caches_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address, fingerprint = uploaded(tmp_path, "a")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache.os, "fsync", full)
    with pytest.raises(BadInputError, match=r"node: can't be written \(No space left on device\).*SWEEP_CACHE"):
        local_copy(address, fingerprint, cache=tmp_path / "node")
    assert all(path.is_file() for path in (tmp_path / "node").iterdir())


def test_an_address_that_fails_in_the_middle_is_its_own_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address = f"fsspec+memory://{tmp_path}/a"
    made = write_store(tmp_path / "made", 1)
    upload(made, address)
    read = MemoryFile.read

    def reset(file: MemoryFile, *size: int) -> bytes:
        if file.getbuffer().nbytes == SIZE:  # pixels.bin
            raise OSError("connection reset")
        return read(file, *size)

    monkeypatch.setattr(MemoryFile, "read", reset)
    with pytest.raises(BadInputError, match=r"/a: can't be reached \(connection reset\)"):
        local_copy(address, its_fingerprint(made), cache=tmp_path / "node")


def test_importing_the_cache_doesnt_import_pyarrow() -> None:
    code = "import sys, trainables.data.cache; sys.exit('pyarrow' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_a_trial_opens_a_store_at_an_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWEEP_CACHE", str(tmp_path / "node"))
    info = prepare("digits", root=tmp_path / "made", fraction=0.1)
    upload(tmp_path / "made" / "digits", f"file://{tmp_path}/shared/digits")
    monkeypatch.setenv("SWEEP_DATA", f"file://{tmp_path}/shared/")
    assert StoreInfo.read("digits") == info
    assert StoreInfo.read("eurosat") is None
    with pytest.raises(
        BadInputError, match=r"data set 'mine' is not prepared under file:.*; type: python -m sweep.data"
    ):
        prepared("mine")
    assert store_address("digits") == f"file://{tmp_path}/shared/digits"
    store = ImageStore.open("digits")
    assert store.path == tmp_path / "node" / info.fingerprint[:32]
    local = ImageStore.open("digits", tmp_path / "made")
    np.testing.assert_array_equal(store.images(range(50)).numpy(), local.images(range(50)).numpy())
    with pytest.raises(BadInputError, match="but the plan has"):
        ImageStore.at(str(tmp_path / "made" / "digits"), "0" * 64)
    with pytest.raises(BadInputError, match="stores are prepared on this machine's disk: give --root FOLDER"):
        data_root()
