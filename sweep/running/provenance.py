"""Where a run of a sweep comes from: command, commit, versions."""

import shlex
import subprocess
import sys
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path

from sweep.console.app import HIDDEN, redacted

PACKAGES = ("ray", "torch", "torchvision", "mlflow", "numpy", "pyarrow")


def command_line() -> str:
    """Return the command as it was typed, in a form that can be typed again but for what may be secret."""
    hidden = [HIDDEN if before == "--on-end" else redacted(word) for before, word in pairwise(sys.argv)]
    hidden = [f"--on-end={HIDDEN}" if word.startswith("--on-end=") else word for word in hidden]
    return shlex.join(["python", "-m", "sweep.run", *hidden])


def versions() -> dict[str, str]:
    """Return the versions that matter for a result."""
    return {"python": sys.version.split()[0], **{name: version(name) for name in PACKAGES}}


def git_commit() -> str | None:
    """Return the commit that this code is at, with a mark where it was changed since; None outside a repository."""
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return described.stdout.strip() or None
