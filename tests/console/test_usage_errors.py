"""Faults of a command line are one line on stderr, which names the option and the value."""

import errno
import re
from pathlib import Path

import pytest
import typer

import sweep
import trainables
from sweep.__main__ import app
from sweep.console.app import run_app
from sweep.console.output_files import check_outputs
from sweep.console.usage_errors import VARIABLES, checked_arguments
from sweep.report.linked_pages import check_is_folder
from trainables.errors import BadInputError


def typed(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as caught:
        run_app(app, arguments, prog_name="python -m sweep")
    return int(caught.value.code or 0), capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run", "--hang-minutes", "nan"), "--hang-minutes: must be greater than or equal to 0.05, got 'nan'"),
        (("run", "--max-concurrent", "0"), "--max-concurrent: must be greater than or equal to 1, got '0'"),
        (("run", "--device", "tpu"), "--device: 'tpu' is not one of 'auto', 'cpu', 'gpu'"),
        (("run", "--space", "quickstart", "--dry-run", "--workers", "0"), "--workers '0': give a number"),
        (("remove", "--older-than", "-1"), "--older-than: must be greater than or equal to 0, got '-1'"),
        (("remove", "--older-than", "nan"), "--older-than: must be greater than or equal to 0, got 'nan'"),
        (("status", "--watch", "--json"), "--watch: draws on a terminal, and --json prints once"),
        (("run", "--trails", "3"), "No such option: --trails"),
        (("data", "info"), "Missing argument 'name'"),
        (("data", "prepare", "folder", "--source", ""), "after --source: an empty value (a variable that isn't set?)"),
        (("data", "prepare", "digits", "--root="), "--root: an empty value"),
        (("run", "--space", "", "--dry-run"), "after --space: an empty value"),
        (("compare", "--storage", "", "--html", "there"), "after --storage: an empty value"),
        (("data", "info", ""), "after info: an empty value"),
        (("export", "one", "--output="), "--output: an empty value"),
        (("run", "\u2013space", "a"), "\u2013space: begins with U+2013 (a text pasted from a page?); an option begins"),
        (("data", "info", "a\r"), "a\\r: ends with a line break (a script with Windows line ends?)"),
        (("run", "--storage", "--dry-run"), "--storage: followed by --dry-run instead of a value"),
        (("run", "--space", "--help"), "--space: followed by --help instead of a value"),
        (("run", "--storage=$HOME/x"), "--storage: '$HOME/x' has a variable that nothing replaced"),
        (("compare", "a", "--html", "{{ out }}"), "--html: '{{ out }}' has a variable that nothing replaced"),
        (("data", "list", "--root", "nowhere"), "--root nowhere: no such folder"),
        (("run", "--space", "a", "--space=b"), "--space: given 2 times ('a', 'b'); give it once"),
        (("data", "info", "a", "--root", "x", "--root", "x"), "--root: given 2 times ('x', 'x'); give it once"),
        (("data", "leaks", "a", "b", "--strict", "--no-strict"), "--strict and --no-strict: give one of them"),
    ],
)
def test_a_fault_is_one_line(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str) -> None:
    code, printed = typed(capsys, *arguments)
    assert code == 2
    assert printed.startswith(f"error: {said}")
    assert printed.count("\n") == 1


def test_home_is_found_where_a_shell_leaves_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    typed = ["--storage=~/a", "--root", "~/b", "--set", "positive=$A", "--on-end", "curl $URL", "~x"]
    found = ["--storage=/home/me/a", "--root", "/home/me/b", "--set", "positive=$A", "--on-end", "curl $URL", "~x"]
    assert checked_arguments(typed) == found


def test_a_flag_given_twice_says_nothing_new(capsys: pytest.CaptureFixture[str]) -> None:
    repeated = ("--dry-run", "--dry-run", "--set", "epochs=1", "--set", "batch_size=64")
    assert "space 'none': unknown" in typed(capsys, "run", "--space", "none", *repeated)[1]


def test_help_is_no_fault(capsys: pytest.CaptureFixture[str]) -> None:
    assert typed(capsys, "run", "--help") == (0, "")
    assert typed(capsys, "data")[1].count("error") == 0


def test_a_mistyped_variable_is_said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWEEP_DAT", "/stores")
    monkeypatch.setenv("SWEEP_SERVICE_HOST", "10.0.0.1")  # Kubernetes, for a service named sweep
    code, printed = typed(capsys, "run", "--trails", "3")
    assert code == 2
    assert printed.startswith("SWEEP_DAT: no variable of this program, and not used; did you mean SWEEP_DATA?\nerror: ")
    assert "SERVICE" not in printed


def test_known_variables_are_those_that_the_program_reads() -> None:
    folders = [Path(package.__file__ or "").parent for package in (sweep, trainables)]
    texts = [path.read_text() for folder in folders for path in folder.rglob("*.py")]
    read = {name for text in texts for name in re.findall(r"\"(SWEEP_[A-Z_]+)\"", text)}
    own = {name for name in read if name.startswith("SWEEP_UI_")} | {"SWEEP_CLUSTER_GONE", "SWEEP_RESIZE_SECONDS"}
    assert set(VARIABLES) == read - own


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/data/x"), "error: /data/x: No space left on device\n"),
        (OSError(errno.EMFILE, "Too many open files", "y"), "error: y: Too many open files\n"),
        (OSError(errno.EIO, "Input/output error"), "error: [Errno 5] Input/output error\n"),
        (MemoryError(), "error: no memory left for this command\n"),
    ],
)
def test_what_the_machine_refuses_is_one_line(
    fault: BaseException, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise fault

    own = typer.Typer()
    own.command()(fail)
    with pytest.raises(SystemExit) as caught:
        run_app(own, [])
    assert (caught.value.code, capsys.readouterr().err) == (1, said)


def test_an_output_that_cannot_be_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"can't be written .File name too long.; choose another --output"):
        check_outputs([tmp_path / ("y" * 300)], overwrite=False, is_own=lambda: True)
    for path, why in ((Path("/dev/null/x"), "Not a directory"), (tmp_path / ("y" * 300), "File name too long")):
        with pytest.raises(BadInputError, match=f"--html .*: can't be written .{why}.; name a folder"):
            check_is_folder(path)
