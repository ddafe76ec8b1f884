"""MLflow's states of a finished sweep, after each command that touches it; and that none needs what isn't there."""

from pathlib import Path

import pytest
from support.sweep_shell import ALONE, Shell
from typer.testing import CliRunner

from sweep.__main__ import app
from trainables.data.preparing.prepare import prepare

STAGE = 'Stage("grid", (Grid(axes={"temperature": (0.2, 0.5)}),))'
COMMANDS = (
    ("run", "--resume", "small"),
    ("run", "--resume", "small", "--address", "127.0.0.1:9"),
    ("track", "--replay", "small"),
    ("compare", "small", "--html", "page"),
    ("status", "small"),
    ("export", "small", "--output", "model", "--register", "digits"),
    ("export", "small", "--output", "model", "--register", "digits", "--overwrite"),
    ("remove", "small", "--checkpoints-only", "--yes"),
    ("run", "--resume", "small"),
)
EVALUATION = (("evaluate", "small", "--labels", "1", "--draws", "1", "--epochs", "0"),)


@pytest.mark.slow
@pytest.mark.parametrize("commands", [COMMANDS, pytest.param(EVALUATION, marks=pytest.mark.long)])
def test_every_command_leaves_a_finished_sweep_finished_in_mlflow(
    tmp_path: Path, mlflow_database: Path, commands: tuple[tuple[str, ...], ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare("digits", root=tmp_path / "data")
    shell = Shell(tmp_path, tmp_path / "data", mlflow_database)
    shell("run", "--space", shell.space(STAGE), *ALONE)
    first = shell.states()
    assert list(first.values()) == 3 * ["FINISHED"]
    # In this process, which has imported what each of them would import anew, for five seconds.
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SWEEP_DATA", str(tmp_path / "data"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for command in commands:
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 0, (command, done.output, done.exception)
        states = shell.states()
        assert states.keys() >= first.keys()
        assert set(states.values()) == {"FINISHED"}, command
