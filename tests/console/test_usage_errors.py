"""Faults of a command line are one line on stderr, which names the option and the value."""

import pytest

from sweep.__main__ import app
from sweep.console.app import run_app


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
    ],
)
def test_a_fault_is_one_line(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str) -> None:
    code, printed = typed(capsys, *arguments)
    assert code == 2
    assert printed.startswith(f"error: {said}")
    assert printed.count("\n") == 1


def test_help_is_no_fault(capsys: pytest.CaptureFixture[str]) -> None:
    assert typed(capsys, "run", "--help") == (0, "")
    assert typed(capsys, "data")[1].count("error") == 0
