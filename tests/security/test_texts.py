"""Texts that the terminal and logs show: none acts, whoever wrote it."""

import ast
import io
import json
import logging

import pytest
from rich.console import Console
from support.hostile_names import NAMES, acting, check_output
from support.paths import ROOT

from trainables.errors import BadInputError
from trainables.printing.printable_text import printable


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.usefixtures("colourless")
@pytest.mark.parametrize("name", NAMES)
def test_the_live_table_shows_every_name(name: str) -> None:
    from sweep.console.printing import screen
    from sweep.records.status import LiveTrial
    from sweep.running.trials_table import draw_trials

    fields = {"trial_id": name, "name": name, "epoch": 1, "epochs": 2, "attempt": 1, "left_seconds": None}
    trials = [LiveTrial(state="failed", metrics={name: 0.5}, note=name, **fields)]
    for console in (screen(Terminal()), Console(file=Terminal(), width=400)):
        console.print(draw_trials(trials, {name: 1}, [name], None))
        said = console.file.getvalue()  # type: ignore[attr-defined]
        assert acting(said) == []
        if len(name) < 60:
            assert printable(name) in said


@pytest.mark.usefixtures("colourless")
@pytest.mark.parametrize("name", NAMES)
def test_a_renderable_that_nobody_looked_at_is_printable_too(name: str) -> None:
    from rich.table import Table
    from rich.text import Text

    from sweep.console.printing import screen

    console = screen(io.StringIO())
    table = Table(title=name)
    table.add_column(name)
    table.add_row(Text(name))
    console.print(name, Text(name), table)
    said = console.file.getvalue()  # type: ignore[attr-defined]
    assert acting(said.replace("\n", "")) == []


@pytest.mark.parametrize("name", NAMES)
def test_messages_are_one_line_each(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    from sweep.console.printing import say, say_json

    say(f"{name}: prepared")
    say(f"error: {name}", error=True)
    captured = capsys.readouterr()
    check_output(captured)
    assert len(captured.out.splitlines()) == len(captured.err.splitlines()) == 1
    say_json({"name": name + "\x7f"})
    captured = capsys.readouterr()
    check_output(captured)
    assert json.loads(captured.out) == {"name": name + "\x7f"}
    assert acting(str(BadInputError(name)).replace("\n", "")) == []


def test_no_other_place_prints() -> None:
    """Whatever is printed goes through sweep/console/printing.py; trainables print numbers and checked messages."""
    allowed = {"sweep/console/printing.py", "sweep/__main__.py", "trainables/simclr.py"}
    allowed |= {"trainables/training/device_images.py", "trainables/printing/lasting_output.py"}
    for path in [*(ROOT / "sweep").rglob("*.py"), *(ROOT / "trainables").rglob("*.py")]:
        calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        name = path.relative_to(ROOT).as_posix()
        if name not in allowed:
            assert not [call for call in calls if ast.unparse(call.func) in ("print", "typer.echo", "rich.print")], name
        if name != "sweep/console/printing.py":
            assert not [call for call in calls if ast.unparse(call.func) in ("Console", "Text.from_markup")], name


def test_log_lines_are_printable(caplog: pytest.LogCaptureFixture) -> None:
    from sweep.tracking.background_writer import BackgroundWriter, QueuedWrite

    def fail(_: object) -> None:
        raise OSError(f"{NAMES[0]} at https://me:pl4nted@host")

    writer = BackgroundWriter(logger=logging.getLogger("test"), recover=lambda: None, pauses=())
    writer.submit(QueuedWrite(NAMES[0], "metrics", fail))
    writer.close(10.0)
    assert "not written" in caplog.text
    assert acting(caplog.text) == []
    assert "pl4nted" not in caplog.text
