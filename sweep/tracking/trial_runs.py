"""MLflow run of a trial, written from its files: metrics and outcome, then figures and final weights."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweep.figures.fonts import fit_for_png
from sweep.figures.trial_files import trial_figures
from sweep.records.trial_result import troubles
from sweep.tracking.mlflow_runs import MlflowRuns
from sweep.tracking.run_tags import (
    ATTEMPTS,
    CHECKPOINT,
    FAILURE_KIND,
    FAILURE_MESSAGE,
    REUSED_FROM,
    REUSED_RUN,
    TROUBLES,
)
from sweep.tracking.trial_facts import TrialFacts

if TYPE_CHECKING:
    from trainables.storage.trial_files import TrialFiles
    from trainables.storage.trial_records import FailureRecord, FinalRecord

MODEL = "model.pt"


def write_trial(runs: MlflowRuns, trial: TrialFacts, status: str | None) -> None:
    """Write a trial's files into its run, except artifacts; `status` None means the status in the files."""
    files = trial.files
    epochs, final, failure = files.epochs(), files.final(), files.failure()
    runs.epochs.log(trial, runs.epochs.missing(trial, epochs))
    times = [end.time_ms for end in (final, failure) if end is not None] + [record.time_ms for record in epochs[-1:]]
    said = "finished" if final else "failed" if failure else "running"
    tags = _tags(files, final, None if final else failure) | _history(runs, trial)
    runs.set_status(trial, status or said, end_ms=times[0] if times else None, tags=tags)


def write_artifacts(runs: MlflowRuns, trial: TrialFacts) -> None:
    """Write a trial's figures and final weights; once per end of a finished trial, which a tag records."""
    final = trial.files.final()
    end = None if final is None else str(final.time_ms)
    if end is None or runs.projected(trial) != end:
        log_artifacts(runs.client, runs.child(trial), trial.files)
    if end is not None:
        runs.set_projected(trial, end)


def _tags(files: "TrialFiles", final: "FinalRecord | None", failure: "FailureRecord | None") -> dict[str, str]:
    tags: dict[str, str] = {}
    if (address := files.checkpoint_address()) is not None:
        tags[CHECKPOINT] = address
    if failure is not None:
        tags |= {FAILURE_KIND: failure.kind, FAILURE_MESSAGE: failure.message}
    if final is not None:
        shown = ("device", "host", "workers", "threads", "recomputed")
        tags |= {f"sweep.{name}": str(getattr(final, name)) for name in shown}
    return tags


def _history(runs: MlflowRuns, trial: TrialFacts) -> dict[str, str]:
    """Return the history of attempts, and the sweep that trained a reused trial."""
    attempts = trial.files.attempts()
    if not attempts:
        return {}
    tags = {ATTEMPTS: str(len(attempts)), TROUBLES: troubles(attempts)}
    last = attempts[-1]
    if last.outcome == "finished" and last.sweep != runs.sweep.name:
        tags[REUSED_FROM] = last.sweep
        if (run_id := runs.of_sweep(last.sweep, trial.trial_id)) is not None:
            tags[REUSED_RUN] = run_id
    return {name: value for name, value in tags.items() if value}


def log_artifacts(client: Any, run_id: str, files: "TrialFiles") -> None:
    """Write figures and final weights into a run; repeated writes replace them."""
    for path, figure in trial_figures(files):
        fit_for_png(figure)
        client.log_figure(run_id, figure, path)
    if files.storage.is_local and files.storage.exists(MODEL):
        client.log_artifact(run_id, files.storage.own_path(MODEL, whole=True))
    elif (content := files.storage.read(MODEL)) is not None:
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / MODEL
            copy.write_bytes(content)
            client.log_artifact(run_id, str(copy))
