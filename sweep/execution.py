"""Runs a plan: stage by stage on Ray, each trial recorded and shown in MLflow as it goes."""

import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from sweep.decide import decide
from sweep.plan import Plan, extend, needs
from sweep.progress import Progress
from sweep.projection import TrialFacts
from sweep.records import SweepRecord, SweepStorage, TrialEntry, describe
from sweep.sizes import size_of
from sweep.tasks import TrialShape, TrialTask
from trainables.data.catalog import prepared, store_address
from trainables.errors import BadInputError
from trainables.trial_files import EpochRecord, FailureRecord

if TYPE_CHECKING:
    from sweep.tracking import Tracker

PACKAGES = ("ray", "torch", "torchvision", "mlflow", "numpy", "pyarrow")


@dataclass(frozen=True)
class Execution:
    """One run of a sweep: where it writes, what its trials run on, who is told."""

    name: str
    storage: SweepStorage
    shape: TrialShape
    max_concurrent: int
    tracker: "Tracker"

    def run(self, plan: Plan, screen: TextIO) -> str:
        """Run every stage; return "finished", or "failed" when a trial failed or a stage couldn't be decided.

        Trials that were finished before are not trained again.
        """
        record = self._describe(plan)
        self.tracker.start_sweep(record)
        with Progress(screen, plan.space.objective.metric) as progress:
            stage = 1
            while True:
                record = self._describe(plan)
                self.storage.write_sweep(record)
                progress.add(record.trials)
                self._run_stage([entry for entry in record.trials if entry.stage == stage], progress)
                if not plan.of_stage(stage + 1):
                    following = self._decide(plan, progress)
                    if following is None:
                        return self._status(record)
                    plan = following
                stage += 1

    def _status(self, record: SweepRecord) -> str:
        done = all(self.storage.trial(entry.trial_id).final() is not None for entry in record.trials)
        return "finished" if done and not record.pending else "failed"

    def _describe(self, plan: Plan) -> SweepRecord:
        return describe(plan, name=self.name, command=command_line(), commit=git_commit(), versions=versions())

    def _run_stage(self, entries: Sequence[TrialEntry], progress: Progress) -> None:
        from sweep.tuner import run_trials

        waiting = []
        for entry in entries:
            if self.storage.trial(entry.trial_id).final() is None:
                waiting.append(entry)
            else:
                progress.reused(entry)
                self.tracker.project_trial(TrialFacts.of(entry, self.storage))
        if waiting:
            run_trials(
                [self._task(entry) for entry in waiting],
                shape=self.shape,
                max_concurrent=self.max_concurrent,
                log_dir=self.storage.log_folder(self.name),
                listener=_Audience(self, {entry.trial_id: entry for entry in waiting}, progress),
            )

    def _task(self, entry: TrialEntry) -> TrialTask:
        dataset, evaluated = entry.config["dataset"], entry.config["evaluation_dataset"]
        return TrialTask(
            trial_id=entry.trial_id,
            name=entry.name,
            config=entry.config,
            store_address=store_address(dataset),
            fingerprint=prepared(dataset).fingerprint,
            evaluation_address=store_address(evaluated) if evaluated else "",
            evaluation_fingerprint=prepared(evaluated).fingerprint if evaluated else "",
            files_address=self.storage.trial(entry.trial_id).storage.address(),
        )

    def _decide(self, plan: Plan, progress: Progress) -> Plan | None:
        """Return the plan with its next stage, or None when there is none or nothing decides it."""
        if not plan.pending:
            return None
        wanted = needs(plan.pending[0], plan.assignments)
        decided = decide(wanted, plan.trials, plan.space.objective, self._final_metrics)
        missing = [best for best in wanted if best not in decided]
        if missing:
            what = ", ".join(f"{best.field} of {best.dataset}" for best in missing)
            progress.say(f"{plan.pending[0].name}: not run, no finished trial decides {what}")
            return None
        for best, value in decided.items():
            progress.say(f"{plan.pending[0].name}: {best.field} {value:g}, the best of {best.dataset}")
        return extend(plan, decided, size_of=size_of)

    def _final_metrics(self, trial_id: str) -> Mapping[str, float] | None:
        files = self.storage.trial(trial_id)
        return files.epochs()[-1].metrics if files.final() is not None else None


class _Audience:
    """The Listener of a stage: keeps failures, tells the terminal and MLflow."""

    def __init__(self, execution: Execution, entries: Mapping[str, TrialEntry], progress: Progress) -> None:
        self._execution, self._entries, self._progress = execution, entries, progress

    def started(self, task: TrialTask) -> None:
        """Tell of an attempt."""
        self._progress.started(task)
        execution = self._execution
        execution.tracker.start_trial(TrialFacts.of(self._entries[task.trial_id], execution.storage))

    def epoch(self, task: TrialTask, record: EpochRecord) -> None:
        """Tell of an epoch."""
        self._progress.epoch(task, record)
        self._execution.tracker.submit_epoch(task.trial_id, record)

    def finished(self, task: TrialTask) -> None:
        """Tell of the end."""
        self._progress.finished(task)
        self._execution.tracker.finish_trial(task.trial_id)

    def failed(self, task: TrialTask, failure: FailureRecord) -> None:
        """Keep why, and tell."""
        self._execution.storage.trial(task.trial_id).write_failure(failure)
        self._progress.failed(task, failure)
        self._execution.tracker.finish_trial(task.trial_id)


def check_name(storage: SweepStorage, name: str, plan: Plan) -> None:
    """Raise BadInputError when a sweep of that name has another plan."""
    taken = storage.sweep(name)
    if taken is not None and taken.digest != plan.digest:
        raise BadInputError(
            f"--name {name}: taken by another plan of space {taken.space} in {storage.storage.address()} "
            "(other settings, data or --set); choose another --name"
        )


def command_line() -> str:
    """Return the command as it was typed, in a form that can be typed again."""
    return shlex.join(["python", "-m", "sweep.run", *sys.argv[1:]])


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
