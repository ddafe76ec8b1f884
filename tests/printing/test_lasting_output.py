"""Commands whose stdout goes away end quietly; one whose disk is full says that its output is incomplete."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.paths import ROOT

from sweep.records.sweep_record import SweepRecord
from sweep.records.sweep_storage import SweepStorage

PRINTS = """
import sys
import typer
from rich.console import Console
from sweep.console.app import run_command
from sweep.console.printing import say, screen

def main(lines: int) -> None:
    for number in range(lines):
        say(f"line {number}")
        screen().print("drawn")
        print("printed", flush=True)
    typer.echo("echoed")
    say("done", error=True)

run_command(main)
"""
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


def shell(command: str, **options: str) -> "subprocess.CompletedProcess[str]":
    """Run a command line of a shell that tells of the first failure in a pipe."""
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", command, "bash", sys.executable, PRINTS],
        env={**ENVIRONMENT, **options},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    ("line", "code", "out", "error"),
    [
        ('"$1" -c "$2" 2000 | head -n 1', 0, "line 0\n", "done\n"),
        ('"$1" -c "$2" 1 | true', 0, "", "done\n"),
        ('"$1" -c "$2" 3 > /dev/full', 1, "", "done\nerror: stdout: No space left on device: what was printed is"),
        ('"$1" -c "$2" 3 2> /dev/full | tail -n 1', 0, "echoed\n", ""),
        ('"$1" -c "$2" 3 >&-', 0, "", "done\n"),
        ('"$1" -c "$2" 3 >&- 2>&-', 0, "", ""),
        ('"$1" -c "$2" x > /dev/full', 2, "", "error: lines: must be a valid integer"),
        ('"$1" -c "$2" --help | true', 0, "", ""),
        ('"$1" -c "$2" --help > /dev/full', 1, "", "error: stdout: No space left"),
        ('"$1" -m sweep --version | true', 0, "", ""),
        ('"$1" -m sweep.run --help | head -n 0', 0, "", ""),
    ],
)
def test_output_that_goes_away(line: str, code: int, out: str, error: str) -> None:
    done = shell(line)
    assert done.returncode == code, done.stderr
    assert done.stdout == out
    assert done.stderr.startswith(error) if error else not done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


@pytest.mark.parametrize(
    "command",
    ["status mine", *(pytest.param(name, marks=pytest.mark.slow) for name in ("compare mine", "status mine --watch"))],
)
def test_commands_that_report(swept: tuple[SweepRecord, SweepStorage], tmp_path: Path, command: str) -> None:
    program, _, options = command.partition(" ")
    words = f'"$1" -m sweep.{program} {options} --storage {swept[1].storage.root}'
    done = shell(f"{words} | true")
    assert (done.returncode, done.stderr) == (0, "")
    done = shell(f"{words} > /dev/full")
    assert (done.returncode, done.stderr) == (
        1,
        "error: stdout: No space left on device: what was printed is incomplete\n",
    )


@pytest.mark.slow
def test_the_whole_of_a_long_output_is_read_by_a_slow_reader() -> None:
    done = shell('"$1" -c "$2" 3000 2> /dev/null | (sleep 2; wc -l)')
    assert done.stdout.strip() == "9001"
