"""Programs that call `prepare`: from stdin or -c, without `if __name__`, and with a reader of their own."""

import subprocess
import sys
from pathlib import Path

import pytest
from support.paths import ROOT

PREPARE = """
from pathlib import Path
from trainables.data.preparing import decode_workers, prepare
decode_workers.CHUNK_BYTES = 10_000
print(prepare.prepare("digits", root=Path("data")).splits)
"""
OWN_READER = """
from dataclasses import replace
from functools import partial
from trainables.data.sources.digits import read_digits

def own(entry):
    return entry.read()

def listed(request):
    source = read_digits(request)
    entries = source.entries
    return replace(source, entries=lambda: (replace(one, read=partial(own, one)) for one in entries()))
"""
WITH_READER = OWN_READER + PREPARE.replace('Path("data"))', 'Path("data"), reader=listed)')


def run(folder: Path, *arguments: str, program: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, input=program, cwd=folder, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )


def test_a_program_from_stdin_without_a_guard_prepares(tmp_path: Path) -> None:
    done = run(tmp_path, "-", program=PREPARE)
    assert (done.returncode, done.stderr) == (0, "")
    assert "'train': 1425" in done.stdout
    assert done.stdout.count("\n") == 1, "the workers ran the program again"


@pytest.mark.slow
def test_a_reader_of_the_program_itself_is_found_or_explained(tmp_path: Path) -> None:
    done = run(tmp_path, "-", program=WITH_READER)
    assert "BadInputError: preparing: a worker process ended at once: the images are read by a function" in done.stderr
    guarded = WITH_READER.replace("print(", 'if __name__ == "__main__":\n    print(')
    (tmp_path / "program.py").write_text(guarded)
    done = run(tmp_path, "program.py")
    assert (done.returncode, done.stderr) == (0, "")
