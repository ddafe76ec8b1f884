"""The commands from Python: in a notebook, off the main thread, with bad input, and with what they leave behind."""

import logging
import os
import signal
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from support.paths import ROOT

from sweep import api, compare
from sweep.records.sweep_storage import SweepStorage
from trainables.data.preparing.prepare import prepare

TINY = {"epochs": 1, "warmup_epochs": 0, "max_train_images": 128, "max_test_images": 64, "width_factor": 0.125}
TINY |= {"seed": 0, "label_draw": 0}

SHORT = {"epochs": 2, "max_train_images": 256}


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWEEP_DATA", str(tmp_path / "data"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    prepare("digits", root=tmp_path / "data")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"space": "qickstart"}, "space 'qickstart': unknown; did you mean 'quickstart'"),
        (
            {"space": "quickstart", "changes": {"temprature": 1, "epochs": "x"}},
            r"temprature: unknown field.*\nepochs: ",
        ),
        ({"space": "quickstart", "changes": {"temperature": [0.1, 0.1]}}, "temperature: 0.1 and 0.1 are both 0.1"),
        ({"space": "quickstart", "devise": "cpu"}, "devise: unknown option; did you mean 'device'"),
        ({"space": "quickstart", "name": "a/b"}, "a/b"),
        ({}, "--space: name a search space"),
        ({"resume": "nobody"}, "no sweep here"),
        ({"resume": "one", "name": "two"}, "--name two: --resume continues sweep one; leave --name out"),
        ({"space": 5}, "^space: must be a SearchSpace or text or a path or None, got 5$"),
        (
            {"space": "quickstart", "changes": ["epochs=1"]},
            r"^changes: must be a mapping of fields to values or None, got",
        ),
        ({"space": "quickstart", "name": ""}, "^name: is empty; leave it out"),
        ({"space": "quickstart", "workers": 0}, "--workers '0': give a number"),
        ({"space": "quickstart", "device": "tpu", "smoke": "no"}, r"^smoke: .* got 'no'\ndevice: .*'gpu', got 'tpu'$"),
        ({"space": "quickstart", "memory": float("nan")}, "^memory: must be a finite number, got nan$"),
        ({"space": "quickstart", "max_concurrent": 1.5}, r"^max_concurrent: must be a whole number or None, got 1\.5$"),
        ({"space": "quickstart", "hang_minutes": 0}, r"^hang_minutes: must be greater than or equal to 0\.05, got 0$"),
    ],
)
def test_bad_input_is_said_before_anything_starts(arguments: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(api.BadInputError, match=said):
        api.run(**arguments, storage=tmp_path / "storage")
    assert not (tmp_path / "storage").exists()


def test_evaluation_and_tables_say_bad_input(tmp_path: Path) -> None:
    with pytest.raises(api.BadInputError, match=r"no sweep"):
        api.evaluate(storage=tmp_path)
    with pytest.raises(api.BadInputError, match=r"no sweep"):
        api.compare(storage=tmp_path, html=tmp_path / "html")
    with pytest.raises(api.BadInputError, match=r"^sweeps: must be text, got 5$"):
        api.load(5, storage=tmp_path)  # type: ignore[arg-type]
    with pytest.raises(
        api.BadInputError, match=r"^labels: must be a list of numbers or None, got 0.1\ndraws: .* got 0$"
    ):
        api.evaluate(labels=0.1, draws=0)  # type: ignore[arg-type]
    with pytest.raises(api.BadInputError, match=r"^epoch: unknown field; did you mean 'epochs'"):
        api.evaluate(changes={"epoch": 1}, storage=tmp_path)
    with pytest.raises(api.BadInputError, match=r"features\.csv: must end in \.parquet"):
        api.embed(tmp_path, tmp_path, tmp_path / "features.csv")


@pytest.mark.slow
def test_two_runs_at_once_off_the_main_thread_and_on_it(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)}
    descriptors = [os.fstat(number).st_ino for number in (1, 2)]
    environment, hook = dict(os.environ), sys.excepthook
    found: list[api.Frames] = []

    def go() -> None:
        changes = {**TINY, "temperature": [0.2, 0.5]}
        found.append(
            api.run("quickstart", storage=tmp_path / "storage", changes=changes, name="tiny", max_concurrent=1)
        )

    thread = threading.Thread(target=go)
    thread.start()
    go()  # waits for the other
    thread.join()
    printed = capfd.readouterr()
    assert "4 of 4 trials" in printed.err
    assert "Token authentication" not in printed.err
    assert "Failed to fetch" not in printed.err + printed.out
    assert (dict(os.environ), sys.excepthook) == (environment, hook)
    assert not [one for one in threading.enumerate() if one.name == "background-writer"]
    first, second = found
    assert first.settings.equals(second.settings)
    assert set(first.settings["setting"]) == {"temperature 0.2", "temperature 0.5", "untrained encoder", "raw pixels"}
    assert first.settings["test/linear_top1"].between(0.05, 1).all()
    assert first.trials.equals(api.load("tiny", storage=tmp_path / "storage").trials)
    assert {number: signal.getsignal(number) for number in handlers} == handlers
    assert [os.fstat(number).st_ino for number in (1, 2)] == descriptors
    assert logging.getLogger("ray").level < logging.ERROR
    record = SweepStorage(tmp_path / "storage").record("tiny")
    assert record.command.startswith("sweep.api.run('quickstart', name='tiny', changes={'epochs': 1, ")


@pytest.mark.slow
def test_the_notebook_runs_from_its_first_cell_to_its_last(tmp_path: Path) -> None:
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(ROOT / "docs" / "quickstart.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "the page keeps no outputs"
    first = next(cell for cell in notebook.cells if cell.cell_type == "code")
    command = 'api.run("quickstart", storage=place'
    assert command in first.source
    first.source = first.source.replace(command, f"{command}, changes={SHORT}")
    # The kernel is a process of its own, which finds the packages by this variable.
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "SWEEP_DATA": str(tmp_path / "data")}
    client = NotebookClient(notebook, timeout=500, resources={"metadata": {"path": str(tmp_path)}})
    client.execute(env=environment)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    texts = ["".join(out.get("text", "") for out in cell.outputs) for cell in code]
    assert "16 of 16 trials" in texts[0]
    assert "Traceback" not in "".join(texts)
    table = next(out["data"]["text/html"] for out in code[1].outputs if "data" in out)
    assert "raw pixels" in table
    assert any("image/png" in out.get("data", {}) for out in code[2].outputs)
    assert "(100, " in texts[4]
    assert texts[5] == "True\n"
    assert (tmp_path / ".sweep" / "quickstart-report" / "report.html").is_file()


def test_programs_may_import_the_earlier_names() -> None:
    assert (api.Export, api.Frames, compare.Frames) == (api.ExportResult, api.ComparisonFrames, api.ComparisonFrames)


def test_a_program_that_is_connected_to_ray_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(is_initialized=lambda: True))
    with pytest.raises(api.BadInputError, match=r"^Ray: this program is connected to Ray already .ray\.init."):
        api.run("quickstart", storage=tmp_path, changes=TINY)


def test_numbers_of_numpy_are_numbers(tmp_path: Path) -> None:
    with pytest.raises(api.BadInputError, match=r"^draws: must be greater than or equal to 1, got 0$"):
        api.evaluate(labels=np.array([0.5, 1.0]), draws=np.int64(0), storage=tmp_path)  # type: ignore[arg-type]
