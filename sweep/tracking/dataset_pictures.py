"""Pictures of a sweep's data sets at its MLflow run: images of each class, and augmented views as in training."""

from typing import TYPE_CHECKING

from sweep.console.formatting import slug
from trainables.data.store_addresses import remote_root
from trainables.errors import BadInputError

if TYPE_CHECKING:
    from sweep.records.sweep_record import SweepRecord, TrialEntry
    from sweep.tracking.mlflow_runs import MlflowRuns

FOLDER = "data"


def write_pictures(runs: "MlflowRuns") -> None:
    """Write a contact sheet of each data set on this machine, unless the run has it: a sweep may be resumed often."""
    if remote_root() is not None:  # a whole store would be transferred for a few images
        return
    drawn = {file.path for file in runs.client.list_artifacts(runs.parent(), FOLDER)}
    for name, entry in _first_users(runs.sweep).items():
        if (path := f"{FOLDER}/{slug(name)}.png") not in drawn:
            _write_picture(runs, name, entry, path)


def _first_users(sweep: "SweepRecord") -> "dict[str, TrialEntry]":
    """Return, by data set, the first trial that trains or is evaluated on it."""
    found: dict[str, TrialEntry] = {}
    for entry in sorted(sweep.trials, key=lambda one: one.baseline is not None):
        for name in (entry.config["dataset"], entry.config.get("evaluation_dataset")):
            if name:
                found.setdefault(name, entry)
    return found


def _write_picture(runs: "MlflowRuns", name: str, entry: "TrialEntry", path: str) -> None:
    from sweep.figures.contact_sheet import contact_sheet
    from trainables.config import TrialConfig
    from trainables.data.store import ImageStore

    try:
        store, config = ImageStore.open(name), TrialConfig.parse(entry.setting_known)
    except BadInputError:  # prepared on the workers only
        return
    runs.client.log_figure(runs.parent(), contact_sheet(store, config), path)
