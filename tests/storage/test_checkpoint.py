"""Checkpoints that are written while training goes on."""

import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from trainables.storage import host_copy
from trainables.storage.deferred_writes import DeferredWrites
from trainables.storage.filesystem import Storage
from trainables.storage.host_copy import HostCopy
from trainables.storage.trial_files import TrialFiles
from trainables.storage.trial_records import EpochRecord

CPU = torch.device("cpu")
RECORD = EpochRecord(epoch=2, time_ms=1, seconds=1.0, metrics={})


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Return what lets files into the storage, once it is set."""
    opened, write_stream = threading.Event(), Storage.write_stream

    def write(storage: Storage, name: str, fill: Callable[[Any], object]) -> None:
        assert opened.wait(10.0)
        write_stream(storage, name, fill)

    monkeypatch.setattr(Storage, "write_stream", write)
    yield opened
    opened.set()


def state(value: float) -> dict[str, Any]:
    weights = torch.full((3, 4), value)
    view = torch.full((2, 3, 4, 5), value).to(memory_format=torch.channels_last)
    moments = {0: {"momentum_buffer": torch.full((5,), value, dtype=torch.float64), "step": 7, "names": ["a", (1, 2)]}}
    return {"epoch": int(value), "model": {"weight": weights, "view": view}, "optimiser": {"state": moments}}


def change(nested: Any) -> None:
    """Do to every tensor what the next step would."""
    for value in nested.values():
        if isinstance(value, dict):
            change(value)
        elif isinstance(value, torch.Tensor):
            value.zero_()


def assert_kept(found: dict[str, Any], value: float) -> None:
    expected = state(value)
    assert found["epoch"] == expected["epoch"]
    for name, tensor in expected["model"].items():
        assert torch.equal(found["model"][name], tensor)
        assert found["model"][name].stride() == tensor.stride()
    moments = found["optimiser"]["state"][0]
    assert torch.equal(moments["momentum_buffer"], torch.full((5,), value, dtype=torch.float64))
    assert (moments["step"], moments["names"]) == (7, ["a", (1, 2)])


def test_a_checkpoint_holds_the_moment_it_was_asked_for(gate: threading.Event, tmp_path: Path) -> None:
    files, trained = TrialFiles(Storage.at(tmp_path), DeferredWrites()), state(1.0)
    files.save_checkpoint(1, trained)
    change(trained)
    assert not files.behind, "which is said of records"
    assert list(tmp_path.rglob("*.pt")) == []
    gate.set()
    assert files.checkpoint_epochs() == [1], "whoever asks for it waits for it"
    assert_kept(files.load_checkpoint(1, CPU), 1.0)


def test_what_follows_waits_for_it_and_no_more_than_one_copy_lives(
    gate: threading.Event, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive: weakref.WeakSet[HostCopy] = weakref.WeakSet()
    most = 0

    class Counted(HostCopy):
        def __init__(self, values: dict[str, Any]) -> None:
            nonlocal most
            super().__init__(values)
            alive.add(self)
            most = max(most, len(alive))

    monkeypatch.setattr(host_copy, "HostCopy", Counted)
    files = TrialFiles(Storage.at(tmp_path), DeferredWrites())

    def train() -> None:
        for epoch in (1, 2, 3):
            files.write_epoch(RECORD.model_copy(update={"epoch": epoch}))
            files.save_checkpoint(epoch, state(float(epoch)))

    gate.set()
    files.write_epoch(RECORD.model_copy(update={"epoch": 1}))
    gate.clear()
    files.save_checkpoint(1, state(1.0))
    training = threading.Thread(target=train)
    training.start()
    training.join(0.2)
    assert training.is_alive()
    assert [record.epoch for record in files.epochs()] == [1]
    gate.set()
    training.join(10.0)
    files.flush()
    assert most == 1
    assert [record.epoch for record in files.epochs()] == [1, 2, 3]
    assert files.checkpoint_epochs() == [2, 3]
    assert_kept(files.load_checkpoint(3, CPU), 3.0)


@pytest.mark.parametrize("room", [10, 3000], ids=["at the first byte", "in the middle"])
def test_a_disk_that_fills_up_is_a_storage_that_is_away(
    room: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_stream = Storage.write_stream
    full = True

    class Narrow:
        def __init__(self, stream: Any) -> None:
            self.stream, self.left = stream, room

        def write(self, content: Any) -> int:
            self.left -= len(content)
            if full and self.left < 0:
                raise OSError(28, "No space left on device")
            return int(self.stream.write(content))

        def flush(self) -> None:
            self.stream.flush()

    def write(storage: Storage, name: str, fill: Callable[[Any], object]) -> None:
        write_stream(storage, name, lambda stream: fill(Narrow(stream)))

    monkeypatch.setattr(Storage, "write_stream", write)
    backlog = DeferredWrites((0.01,))
    files, trained = TrialFiles(Storage.at(tmp_path), backlog), {"weights": torch.arange(2000.0)}
    with pytest.raises(OSError, match="No space left"):
        TrialFiles(Storage.at(tmp_path / "at once")).save_checkpoint(1, trained)
    files.save_checkpoint(1, trained)
    assert files.write_epoch(RECORD) == RECORD
    assert files.behind, "training goes on, and the record waits too"
    assert "No space left" in backlog.error
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == []
    full = False
    files.flush()
    assert torch.equal(files.load_checkpoint(1, CPU)["weights"], trained["weights"])
    assert files.epochs() == [RECORD]
