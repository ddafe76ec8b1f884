"""The container's files: linted, pinned, without root. No builder is at hand, so they are not built here."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.paths import ROOT

DOCKERFILE = ROOT / "deploy" / "docker" / "Dockerfile"


def pinned(package: str) -> str:
    """Return the version of a package in constraints.txt."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    (version,) = (line.partition("==")[2] for line in lines if line.startswith(f"{package}=="))
    return version


def instructions() -> list[str]:
    joined = DOCKERFILE.read_text().replace("\\\n", " ")
    return [line for line in joined.splitlines() if line and not line.startswith("#")]


def test_hadolint_finds_nothing() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    if not hadolint.exists():
        pytest.skip("hadolint isn't installed; pip has it for Linux on x86-64")
    done = subprocess.run([str(hadolint), str(DOCKERFILE)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_image_is_rays_of_the_pinned_version() -> None:
    lines = instructions()
    assert f"ARG RAY_VERSION={pinned('ray')}" in lines
    assert "FROM rayproject/ray:${RAY_VERSION}-py311-${DEVICE}" in lines


def test_everything_is_pinned_and_nothing_runs_as_root() -> None:
    lines = instructions()
    installs = [part for line in lines if line.startswith("RUN") for part in re.findall(r"pip install [^;&]+", line)]
    assert installs
    assert all("-c constraints.txt" in install or "--no-deps" in install for install in installs)
    users = [line for line in lines if line.startswith("USER")]
    assert users == ["USER 1000:100"]
    first_run = next(number for number, line in enumerate(lines) if line.startswith("RUN"))
    assert lines.index(users[0]) < first_run


def test_the_build_gets_the_code_and_the_pins_and_nothing_else() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    allowed = {rule.removeprefix("!") for rule in rules if rule.startswith("!")}
    copied = {
        word.rstrip("/")
        for line in instructions()
        if line.startswith("COPY")
        for word in line.split()[1:-1]
        if not word.startswith("--")
    }
    assert allowed == copied
    assert all((ROOT / name).exists() for name in allowed)
