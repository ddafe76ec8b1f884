"""A trial that is killed at any point, and resumed, ends as one that was left alone: bit for bit."""

import io
import json
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from support.process_group import exit_code, on_ranks, single_thread
from torch import Tensor

from trainables.config import TrialConfig
from trainables.data.store import ImageStore
from trainables.distributed import rank
from trainables.evaluation.evaluator import EncoderEvaluator
from trainables.metrics import names
from trainables.schedule import TrainingSteps
from trainables.storage.deferred_writes import DeferredWrites
from trainables.storage.filesystem import Storage
from trainables.storage.trial_files import TrialFiles
from trainables.storage.trial_records import EpochRecord, FailureRecord
from trainables.training.checkpoint import newest_checkpoint
from trainables.training.trial import TrialTrainer, train

TINY = TrialConfig(
    dataset="digits",
    image_size=20,
    encoder="resnet10",
    width_factor=1 / 16,
    projector_layers=2,
    projector_output_width=16,
    batch_size=20,
    epochs=3,
    warmup_epochs=1,
    max_train_images=50,
    max_test_images=31,
    validation_fraction=0.2,
)
STEPS = TrainingSteps(num_examples=50, batch_size=20, epochs=3)
CHAINS = 4
"""Trials that together are killed at every event; neighbouring events lie in different ones."""


class Fate:
    """Notes what happens in a trial, and ends its process the moment that `fatal` does; events have unique names."""

    def __init__(self, fatal: str | None) -> None:
        self.fatal = fatal
        self.events: list[str] = []

    def happens(self, event: str) -> None:
        assert event not in self.events
        self.events.append(event)
        if event == self.fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    def watch(self, patch: pytest.MonkeyPatch) -> None:
        """Listen to every step, evaluation and write of this process's trials."""
        patch.setattr(TrialTrainer, "_step", self._before(TrialTrainer._step, lambda trial, step, rate: f"step {step}"))
        patch.setattr(
            EncoderEvaluator,
            "selection",
            self._before(EncoderEvaluator.selection, lambda _, epoch: f"evaluation {epoch}"),
        )
        patch.setattr(
            EncoderEvaluator, "everything", self._before(EncoderEvaluator.everything, lambda _: "last evaluation")
        )
        patch.setattr(Storage, "delete", self._before(Storage.delete, lambda _, name: f"deletion of {name}"))
        patch.setattr(Storage, "write_stream", self._in_halves(Storage.write_stream))

    def _before(self, method: Callable[..., Any], describe: Callable[..., str]) -> Callable[..., Any]:
        def watched(*arguments: Any) -> Any:
            self.happens(describe(*arguments))
            return method(*arguments)

        return watched

    def _in_halves(self, write_stream: Callable[..., None]) -> Callable[..., None]:
        def watched(storage: Storage, name: str, fill: Callable[[Any], object]) -> None:
            filled = io.BytesIO()
            fill(filled)
            content = filled.getvalue()

            def write(stream: Any) -> None:
                stream.write(content[: len(content) // 2])
                stream.flush()
                self.happens(f"half of {name}")
                stream.write(content[len(content) // 2 :])

            self.happens(f"before {name}")
            write_stream(storage, name, write)
            self.happens(f"after {name}")

        return watched


def attempt(store: ImageStore, folder: Path) -> Iterator[EpochRecord]:
    return train(TINY, store=store, files=TrialFiles(Storage.at(folder), DeferredWrites()), device=torch.device("cpu"))


def _attempt_until(fatal: str | None, store_path: str, folder: str) -> None:
    fate = Fate(fatal)
    with pytest.MonkeyPatch.context() as patch:
        fate.watch(patch)
        list(attempt(ImageStore(Path(store_path)), Path(folder)))
    Path(folder).with_suffix(".happened.json").write_text(json.dumps(fate.events))


@dataclass(frozen=True)
class Resumable:
    """One trial's folder, in which attempts start that may be killed."""

    store: ImageStore
    folder: Path

    @property
    def files(self) -> TrialFiles:
        return TrialFiles(Storage.at(self.folder))

    def killed_at(self, fatal: str) -> None:
        """Start an attempt that must die of `fatal`; what it leaves must be whole."""
        assert self._exit_code(fatal) == -signal.SIGKILL, fatal
        for path in self.folder.rglob("*"):
            if path.is_file() and path.suffix != ".partial":
                _read(path)

    def finished(self) -> list[str]:
        """Let an attempt run to the end; return what happened in it."""
        newest = max(self.files.checkpoint_epochs(), default=0)
        assert self._exit_code(None) == 0
        events: list[str] = json.loads(self.folder.with_suffix(".happened.json").read_text())
        first = STEPS.of_epoch(newest).stop if newest else 0
        steps = [event for event in events if event.startswith("step ")]
        assert steps == [f"step {step}" for step in range(first, STEPS.total)], "what a checkpoint holds is not redone"
        return events

    def _exit_code(self, fatal: str | None) -> int | None:
        return exit_code(_attempt_until, fatal, str(self.store.path), str(self.folder))

    def result(self) -> dict[str, Any]:
        """Return all that must be the same whatever happened on the way."""
        assert self.files.final() is not None
        state = self.files.load_checkpoint(TINY.epochs, torch.device("cpu"))
        records = [record.model_dump() for record in self.files.epochs()]
        assert records == state["records"]
        outputs = {split: self.files.outputs(split) for split in ("val", "test")}
        return {
            "kept": self.files.checkpoint_epochs()[-2:],  # one more where the trial died before it dropped the first
            "metrics": [{k: v for k, v in r["metrics"].items() if k not in names.OF_THE_MACHINE} for r in records],
            "outputs": {split: table and table.to_pydict() for split, table in outputs.items()},
            "weights": self.files.load_model(),
            "state": {part: state[part] for part in ("epoch", "step", "model", "optimiser", "fingerprint")},
        }


def _read(path: Path) -> object:
    if path.suffix == ".json":
        return json.loads(path.read_text())
    if path.suffix == ".pt":
        return torch.load(path, weights_only=True)
    assert path.suffix == ".parquet", f"{path}: nobody asked for this"
    return pq.read_table(path)


def assert_identical(found: Any, expected: Any, where: str = "") -> None:
    """Compare nested results to the last bit (NaN of a metric included)."""
    assert type(found) is type(expected), where
    if isinstance(expected, dict):
        assert found.keys() == expected.keys(), where
        for key, value in expected.items():
            assert_identical(found[key], value, f"{where}/{key}")
    elif isinstance(expected, list | tuple):
        assert len(found) == len(expected), where
        for number, value in enumerate(expected):
            assert_identical(found[number], value, f"{where}/{number}")
    elif isinstance(expected, Tensor):
        assert found.dtype == expected.dtype, where
        assert torch.equal(found, expected), where
    else:
        assert repr(found) == repr(expected), where


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    with single_thread():
        yield


@pytest.fixture(scope="module")
def undisturbed(store: ImageStore, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], dict[str, Any]]:
    """What happens in a trial that nobody kills, and how it ends."""
    trial = Resumable(store, tmp_path_factory.mktemp("undisturbed") / "trial")
    return trial.finished(), trial.result()


@pytest.mark.parametrize(
    "fatal",
    [
        ("step 3",),  # in the middle of epoch 2
        ("half of checkpoints/000002.pt",),
        ("after epochs/000002.json",),  # whose record is there then, and whose checkpoint is not
        ("after checkpoints/000002.pt",),
        ("before final.json",),
        (
            "half of checkpoints/000001.pt",
            "step 1",
            "after epochs/000002.json",
            "half of config.json",
            "half of model.pt",
        ),
    ],
    ids=lambda fatal: ", ".join(fatal),
)
def test_killed_and_resumed_is_bit_identical(
    fatal: tuple[str, ...], undisturbed: tuple[list[str], dict[str, Any]], store: ImageStore, tmp_path: Path
) -> None:
    trial = Resumable(store, tmp_path / "trial")
    for event in fatal:
        trial.killed_at(event)
    trial.finished()
    assert_identical(trial.result(), undisturbed[1])


@pytest.mark.slow
@pytest.mark.parametrize("first", [pytest.param(n, marks=pytest.mark.long) if n % 2 else n for n in range(CHAINS)])
def test_killed_anywhere_and_resumed_is_bit_identical(
    first: int, undisturbed: tuple[list[str], dict[str, Any]], store: ImageStore, tmp_path: Path
) -> None:
    """Together at every event of the trial; each time it goes on, to die at one of the next."""
    events, expected = undisturbed
    assert {event.split()[0] for event in events} == {
        "step",
        "evaluation",
        "last",
        "deletion",
        "before",
        "half",
        "after",
    }
    chain = events[first::CHAINS]
    trial = Resumable(store, tmp_path / "trial")
    for event in chain:
        trial.killed_at(event)
    trial.finished()
    assert_identical(trial.result(), expected, f"killed at {', '.join(chain)}: ")


def test_torn_checkpoint_falls_back_and_first_record_stands(store: ImageStore, tmp_path: Path) -> None:
    unfinished = attempt(store, tmp_path)
    records = [next(unfinished), next(unfinished)]
    unfinished.close()
    newest = tmp_path / "checkpoints" / "000002.pt"
    newest.write_bytes(newest.read_bytes()[:1000])
    files = TrialFiles(Storage.at(tmp_path))
    again = list(train(TINY, store=store, files=files, device=torch.device("cpu")))
    assert files.note == "the checkpoint of epoch 2 can't be read; went on from before it"
    assert [record.epoch for record in again] == [2, 3]
    assert again[0] == records[1]


def test_new_attempt_clears_the_failure_of_the_last(store: ImageStore, tmp_path: Path) -> None:
    files = TrialFiles(Storage.at(tmp_path))
    files.write_failure(FailureRecord(time_ms=1, kind="crash", message="it fell over"))
    next(attempt(store, tmp_path))
    assert files.failure() is None


def test_finished_trial_yields_nothing(store: ImageStore, tmp_path: Path) -> None:
    assert len(list(attempt(store, tmp_path))) == 3
    assert list(attempt(store, tmp_path)) == []


def test_ranks_go_on_from_the_same_checkpoint(tmp_path: Path) -> None:
    """One rank doesn't see the newest yet, as on a network's file system; the other can read both."""
    files = TrialFiles(Storage.at(tmp_path / "trial"))
    for epoch in (1, 2):
        files.save_checkpoint(epoch, {"epoch": epoch})
    on_ranks(2, tmp_path, _resume_without_newest, str(tmp_path))
    assert {(tmp_path / f"resumed-{rank}").read_text() for rank in (0, 1)} == {"1"}


def _resume_without_newest(folder: str) -> None:
    files = TrialFiles(Storage.at(Path(folder) / "trial"))
    if rank() == 1:
        load = files.load_checkpoint

        def lags(epoch: int, device: torch.device) -> dict[str, Any]:
            if epoch == 2:
                raise FileNotFoundError(epoch)
            return load(epoch, device)

        files.load_checkpoint = lags  # type: ignore[method-assign]
    state = newest_checkpoint(files, torch.device("cpu"))
    (Path(folder) / f"resumed-{rank()}").write_text(str((state or {}).get("epoch")))
