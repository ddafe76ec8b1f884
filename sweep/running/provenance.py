"""Provenance of a run, as its record stores it: command, commit and versions, beside its plan."""

import shlex
import subprocess
import sys
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path

from sweep.cluster.node_check import PACKAGES
from sweep.planning.launch import LaunchOptions
from sweep.planning.plan import Plan
from sweep.records.sweep_record import SweepRecord, describe
from sweep.running.run_context import RunContext
from trainables.printing.redaction import HIDDEN, redact

PROGRAMS = {
    "evaluate.py": ["python", "-m", "sweep.evaluate"],
    "__main__.py": ["python", "-m", "sweep"],
    "sweep": ["sweep"],
}
"""Programs besides `python -m sweep.run` that start sweeps, by the name of their file."""


def command_line() -> str:
    """Return the typed command in a form that can be typed again, with secrets hidden."""
    program = PROGRAMS.get(Path(sys.argv[0]).name, ["python", "-m", "sweep.run"])
    hidden = [HIDDEN if before == "--on-end" else redact(word) for before, word in pairwise(sys.argv)]
    hidden = [f"--on-end={HIDDEN}" if word.startswith("--on-end=") else word for word in hidden]
    return shlex.join([*program, *hidden])


def python_call(name: str, launch: LaunchOptions) -> str:
    """Return the call of `sweep.api` that started a sweep, reconstructed from its launch."""
    if launch.written is None or not launch.space:
        return f"sweep.api, name={name!r}"
    changes = {field: values[0] if len(values) == 1 else list(values) for field, values in launch.assignments.items()}
    return redact(f"sweep.api.run({launch.space!r}, name={name!r}{f', changes={changes!r}' if changes else ''})")


def versions() -> dict[str, str]:
    """Return the versions of the libraries that affect results."""
    return {"python": sys.version.split()[0], **{name: version(name) for name in PACKAGES}}


def git_commit() -> str | None:
    """Return the commit of this code, marked if files were changed since; None outside a repository."""
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


def write_record(context: RunContext, plan: Plan) -> SweepRecord:
    """Write and return the sweep's record for the present plan; the command that first started it is kept."""
    record = describe(
        plan,
        name=context.name,
        command=python_call(context.name, context.launch) if context.from_python else command_line(),
        commit=git_commit(),
        versions=versions(),
        launch=context.launch,
    )
    before = context.storage.whole_sweep(context.name)
    if before is not None:
        record = record.keeping(before)
    context.storage.write_sweep(record)
    return record


def changes(before: SweepRecord, plan: Plan) -> list[str]:
    """Return the differences between a plan and a sweep's record, one line each, as in a diff."""
    lines = [] if before.space == plan.space.name else [f"- space {before.space}", f"+ space {plan.space.name}"]
    old = {entry.trial_id: entry.name for entry in before.trials if entry.setting is None}
    new = {trial.trial_id: trial.name for trial in plan.trials if trial.setting is None}
    # Those of stages that results decide aren't in a new plan yet.
    later = {entry.trial_id for entry in before.trials if entry.stage > 1} if plan.pending else set()
    lines += [f"- {name} ({trial_id})" for trial_id, name in old.items() if trial_id not in new.keys() | later]
    lines += [f"+ {name} ({trial_id})" for trial_id, name in new.items() if trial_id not in old]
    return lines
