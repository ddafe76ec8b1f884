"""The file that Ray Tune pickles an actor's error to is never loaded; an unreadable one is an actor's death alone."""

import os
import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest


class Planted:
    """Runs a command when it is loaded."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self.command,)


CONTENTS = {
    "empty": b"",
    "torn": pickle.dumps(RuntimeError("x"))[:-3],
    "a class that isn't here": b"cworkers_alone\nTheirError\n(tR.",
    "an attribute that isn't here": b"cos\nTheirError\n(tR.",
    "a number": pickle.dumps(7),
}


def trial_of(folder: Path, pickled: bytes | None, text: bytes | None) -> Any:
    """Return what stands for a trial of Tune whose actor has died."""
    for name, content in (("error.pkl", pickled), ("error.txt", text)):
        if content is not None:
            (folder / name).write_bytes(content)
    metadata = SimpleNamespace(pickled_error_filename="error.pkl", error_filename="error.txt")
    return SimpleNamespace(
        run_metadata=metadata,
        pickled_error_file=str(folder / "error.pkl") if pickled is not None else None,
        error_file=str(folder / "error.txt"),
    )


def error_of(trial: Any) -> Exception:
    from sweep.cluster.tune_bridge import _error_of

    return _error_of(trial)


def test_a_planted_error_file_runs_nothing(tmp_path: Path) -> None:
    planted = pickle.dumps(Planted(f"touch {tmp_path / 'ran'}"))
    error = error_of(trial_of(tmp_path, planted, b"Failure # 1 (occurred at 2026)\nThe actor died: killed\n  at x\n"))
    assert not (tmp_path / "ran").exists()
    assert str(error) == "The actor died: killed\n  at x"
    assert not (tmp_path / "error.pkl").exists(), "nor will Tune load it, when all trials have ended"


@pytest.mark.parametrize("pickled", CONTENTS.values(), ids=CONTENTS)
@pytest.mark.parametrize("text", [b"", b"\xff\xfe\x00", b"Failure # 1 (occurred at 2026)\n", None])
def test_one_that_cannot_be_read_is_the_death_of_one_actor(tmp_path: Path, pickled: bytes, text: bytes | None) -> None:
    trial = trial_of(tmp_path, pickled, text)
    assert isinstance(error_of(trial), RuntimeError)
    assert trial.run_metadata.pickled_error_filename is None


def test_a_trial_of_tune_forgets_its_pickled_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ray.exceptions import RayActorError
    from ray.tune.experiment import Trial

    monkeypatch.setattr(Trial, "local_path", property(lambda _: str(tmp_path)))
    trial = Trial("any", stub=True)
    trial.handle_error(RayActorError(error_msg="The actor died: killed"))
    assert (tmp_path / "error.pkl").exists()
    assert str(error_of(trial)) == "The actor died: killed"
    assert trial.get_pickled_error() is None


def test_an_exception_of_a_driver_comes_back_as_a_value(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of any class: as an exception it would be pickled, and loaded where the class may not be."""
    import threading

    from sweep.cluster.trial_actor import FAILURE, TrialDriver

    class TheirError(Exception):
        """A class of workers alone."""

    def fail(_: TrialDriver) -> None:
        raise TheirError("boom")

    driver = TrialDriver.__new__(TrialDriver)
    driver._using = threading.Lock()
    monkeypatch.setattr(TrialDriver, "_begin", fail)
    result = driver.step()
    assert result["done"]
    assert result[FAILURE]["kind"] == "crash"
    assert "TheirError: boom" in result[FAILURE]["message"]
