"""The `sweep` command: all programs, at once, and what a wheel holds."""

import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest
from support.paths import ROOT


def sweep(*arguments: str, cwd: Path = ROOT, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "sweep", *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_it_lists_the_programs_and_its_version() -> None:
    listed = sweep("--help")
    for program in (
        "run",
        "compare",
        "export",
        "predict",
        "embed",
        "status",
        "stop",
        "remove",
        "track",
        "configure",
        "doctor",
        "ui",
        "spaces",
        "data",
    ):
        assert f" {program} " in listed
    assert sweep("--version") == f"{version('sweep-service')}\n"


def test_programs_are_those_of_their_modules(tmp_path: Path) -> None:
    assert "error: --storage" in sweep("compare", "--storage", str(tmp_path / "none"), code=2)
    assert "quickstart" in sweep("run", "--space", "quickstart", "--dry-run")
    assert "digits" in sweep("data", "list")


def test_its_help_starts_without_what_trials_need() -> None:
    code = (
        "import sys; sys.argv = ['sweep', '--help']\n"
        "try:\n    import sweep.__main__; sweep.__main__.main()\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'ray', 'mlflow', 'scipy', 'sklearn', 'pandas', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.slow
def test_a_wheel_holds_all_that_is_needed_outside_the_checkout(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for name in ("sweep", "trainables", "search_spaces"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, source)
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(source)]
    subprocess.run(build, check=True, capture_output=True, timeout=300)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    names = {str(path.relative_to(tmp_path / "installed")) for path in (tmp_path / "installed").rglob("*")}
    assert {"sweep/report/templates/report.html.j2", "sweep/py.typed", "trainables/py.typed"} <= names
    assert {"sweep/cluster_setup/templates/cluster.yaml", "search_spaces/thesis_grid.py"} <= names
    shown = subprocess.run(
        [sys.executable, "-m", "sweep", "run", "--space", "thesis_grid", "--dry-run"],
        cwd=tmp_path / "installed",
        capture_output=True,
        text=True,
        check=True,
    )
    assert "thesis" in shown.stdout
