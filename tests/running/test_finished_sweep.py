"""MLflow's states of a finished sweep, after each command that touches it; and that none needs what isn't there."""

from pathlib import Path

import pytest
from support.sweep_shell import Shell

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
    tmp_path: Path, mlflow_database: Path, commands: tuple[tuple[str, ...], ...]
) -> None:
    prepare("digits", root=tmp_path / "data")
    shell = Shell(tmp_path, tmp_path / "data", mlflow_database)
    shell("run", "--space", shell.space(STAGE))
    first = shell.states()
    assert list(first.values()) == 3 * ["FINISHED"]
    for command in commands:
        shell(*command)
        states = shell.states()
        assert states.keys() >= first.keys()
        assert set(states.values()) == {"FINISHED"}, command
