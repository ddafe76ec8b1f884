"""Writes to a storage that goes away and comes back."""

import functools
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest
from support.process_group import single_thread
from support.small_trials import CPU, changed

from trainables.data.preparing.prepare import prepare
from trainables.data.store import ImageStore
from trainables.errors import StorageAwayError
from trainables.storage.deferred_writes import DeferredWrites
from trainables.storage.filesystem import Storage
from trainables.storage.trial_files import TrialFiles
from trainables.storage.trial_records import EpochRecord, FailureRecord
from trainables.training.trial import train

QUICK = (0.01,)


class Shelf:
    """A place that can be away."""

    def __init__(self) -> None:
        self.away = False
        self.written: list[str] = []

    def put(self, name: str) -> None:
        if self.away:
            raise OSError(5, "the shelf is away")
        self.written.append(name)


def test_what_is_due_is_caught_up_in_order_and_only_the_newest_of_a_name() -> None:
    shelf, backlog = Shelf(), DeferredWrites(QUICK)
    backlog.write("a", lambda: shelf.put("a"))
    shelf.away = True
    for name, content in [("record 1", "first"), ("checkpoint", "old"), ("record 2", "second"), ("checkpoint", "new")]:
        backlog.write(name, functools.partial(shelf.put, content))
    assert backlog.waiting == 3
    assert "the shelf is away" in backlog.error
    with pytest.raises(StorageAwayError, match=r"3 files could not be written for 0 s, record 1 first: .*away"):
        backlog.flush(0.05)
    shelf.away = False
    backlog.flush(5.0)
    assert shelf.written == ["a", "first", "second", "new"]
    assert backlog.waiting == 0
    backlog.write("z", lambda: shelf.put("z"))
    assert shelf.written[-1] == "z"


def test_other_errors_are_not_kept() -> None:
    def broken() -> None:
        raise KeyError("a fault of ours")

    with pytest.raises(KeyError):
        DeferredWrites(QUICK).write("a", broken)


def test_the_next_write_waits_for_what_was_put_aside_and_comes_after_it() -> None:
    shelf, backlog, gate = Shelf(), DeferredWrites(QUICK), threading.Event()

    def perform() -> None:
        gate.wait(5.0)
        shelf.put("checkpoint")

    backlog.aside("checkpoint", lambda: perform)
    assert shelf.written == []
    assert backlog.names() == ["checkpoint"]
    threading.Timer(0.1, gate.set).start()
    backlog.write("record", lambda: shelf.put("record"))
    assert shelf.written == ["checkpoint", "record"]
    backlog.aside("checkpoint", lambda: lambda: shelf.put("last"))
    backlog.flush(5.0)
    assert shelf.written[-1] == "last"


def test_what_is_put_aside_while_the_storage_is_away_frees_the_one_before() -> None:
    class Copy:
        pass

    shelf, backlog = Shelf(), DeferredWrites((0.2,))
    shelf.away = True
    alive: list[weakref.ref[Copy]] = []

    def prepare() -> Callable[[], None]:
        assert all(copy() is None for copy in alive), "two copies live"
        copy = Copy()
        alive.append(weakref.ref(copy))
        return lambda: shelf.put(f"{len(alive)} {copy is not None}")

    for _ in range(3):
        backlog.aside("checkpoint", prepare)
        backlog.write("record", lambda: shelf.put("record"))  # returns, as the first attempt at the other has failed
    shelf.away = False
    backlog.flush(5.0)
    assert shelf.written == ["3 True", "record"]


def test_a_fault_of_what_was_put_aside_reaches_whoever_writes_next() -> None:
    def broken() -> None:
        raise KeyError("a fault of ours")

    backlog = DeferredWrites(QUICK)
    for notice in (backlog.flush, lambda: backlog.write("a", lambda: None), backlog.settle):
        backlog.aside("checkpoint", lambda: broken)
        with pytest.raises(KeyError):
            notice()
        assert backlog.waiting == 0
        backlog.flush()


def test_a_trial_trains_on_while_its_storage_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare("digits", root=tmp_path / "stores", fraction=0.2)
    store = ImageStore(tmp_path / "stores" / "digits")
    config = changed(epochs=4)
    with single_thread():
        calm = TrialFiles(Storage.at(tmp_path / "calm"))
        expected = list(train(config, store=store, files=calm, device=CPU))
    writes = Storage.write_stream
    away = False

    def write_stream(self: Storage, name: str, fill: object) -> None:
        if away:
            raise OSError(5, "Input/output error")
        writes(self, name, fill)  # type: ignore[arg-type]

    monkeypatch.setattr(Storage, "write_stream", write_stream)
    files = TrialFiles(Storage.at(tmp_path / "stormy"), DeferredWrites(QUICK))
    records: list[EpochRecord] = []
    with single_thread():
        for record in train(config, store=store, files=files, device=CPU):
            records.append(record)
            away = record.epoch == 2  # during the third epoch
            if record.epoch == 3:
                assert files.behind
    assert not files.behind
    assert [r.epoch for r in records] == [1, 2, 3, 4]
    assert len(files.epochs()) == 4
    assert files.checkpoint_epochs() == [3, 4]
    assert files.final() is not None
    for mine, theirs in zip(files.epochs(), expected, strict=True):
        assert {k: v for k, v in mine.metrics.items() if "per_second" not in k} == {
            k: v for k, v in theirs.metrics.items() if "per_second" not in k
        }


def test_leaving_a_trial_sees_its_writes_through(tmp_path: Path) -> None:
    shelf, backlog = Shelf(), DeferredWrites(QUICK)
    shelf.away = True
    backlog.write("a", lambda: shelf.put("a"))
    time.sleep(0.05)
    shelf.away = False
    TrialFiles(Storage.at(tmp_path), backlog).flush()
    assert shelf.written == ["a"]


def test_trials_that_share_a_backlog_lose_nothing_to_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files of two trials have the same names."""
    writes, away = Storage.write_stream, True

    def write_stream(self: Storage, name: str, fill: object) -> None:
        if away:
            raise OSError(5, "Input/output error")
        writes(self, name, fill)  # type: ignore[arg-type]

    monkeypatch.setattr(Storage, "write_stream", write_stream)
    backlog = DeferredWrites(QUICK)
    for name in ("a", "b"):
        record = FailureRecord(time_ms=1, kind="crash", message=name)
        TrialFiles(Storage.at(tmp_path / name), backlog).write_failure(record)
    away = False
    backlog.flush(5.0)
    found = [TrialFiles(Storage.at(tmp_path / name)).failure() for name in ("a", "b")]
    assert [failure and failure.message for failure in found] == ["a", "b"]
