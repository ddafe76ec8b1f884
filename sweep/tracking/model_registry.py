"""Registration of an exported model in MLflow: logged to its trial's run, registered, and given an alias."""

import io
import json
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweep.tracking.mlflow_runs import MlflowRuns
from sweep.tracking.run_tags import SWEEP, TRIAL
from sweep.tracking.store import TrackingStore
from sweep.tracking.trial_facts import TrialFacts

if TYPE_CHECKING:
    from sweep.records.sweep_record import SweepRecord, TrialEntry
    from sweep.records.sweep_storage import SweepStorage

CODE = Path(__file__).with_name("serving_model.py")
TRACKING_URI = "MLFLOW_TRACKING_URI"
ALIAS = "best"
ABOUT = (
    "Image encoders exported from sweeps (`python -m sweep.export`). Each version's description is its model card; the "
    f"alias {ALIAS} is the latest registered one."
)
"""Description of a registered model that has none."""
ARTIFACT = "model"
REQUIREMENTS = ("mlflow", "numpy", "pandas", "onnxruntime")


@contextmanager
def _without_advice() -> Iterator[None]:
    """Hide MLflow's progress bars, and its advice on type hints, which don't exist for arrays."""
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        warnings.filterwarnings("ignore", message=".*[Tt]ype hint", category=UserWarning)
        yield


def register_model(
    record: "SweepRecord",
    entry: "TrialEntry",
    storage: "SweepStorage",
    folder: Path,
    *,
    name: str,
    tracking_uri: str | None,
) -> str:
    """Log an exported model to its trial's run and register it; return its address and how to serve it.

    Args:
        record: Record of the sweep.
        entry: Trial of the sweep whose model was exported.
        storage: Storage of the sweep.
        folder: Folder of the exported model.
        name: Name of the registered model.
        tracking_uri: Address of the MLflow store; None for the default store.
    """
    from sweep.tracking.store import EXPERIMENT

    store = TrackingStore.choose(
        tracking_uri, storage=storage.storage.address(), experiment=record.experiment or EXPERIMENT
    )
    client = store.connect()
    run_id = _run_of(record, entry, storage, store, client)
    logged = _logged_model(client, store, run_id, folder, name)
    number = str(logged.registered_model_version)
    client.set_registered_model_alias(name, ALIAS, number)
    client.update_model_version(name, number, description=(folder / "MODEL_CARD.md").read_text(encoding="utf-8"))
    for tag, value in {SWEEP: record.name, TRIAL: entry.trial_id}.items():
        client.set_model_version_tag(name, number, tag, value)
    if not client.get_registered_model(name).description:
        client.update_registered_model(name, description=ABOUT)
    for file in ("MODEL_CARD.md", "encoder.safetensors"):
        client.log_artifact(run_id, str(folder / file), "export")
    return (
        f"registered as models:/{name}@{ALIAS} (version {number}); serve it: "
        f"MLFLOW_TRACKING_URI={store.shown} mlflow models serve -m models:/{name}@{ALIAS} --env-manager local"
    )


def _run_of(
    record: "SweepRecord", entry: "TrialEntry", storage: "SweepStorage", store: TrackingStore, client: Any
) -> str:
    """Return the id of the trial's run, complete with its end; a sweep that isn't shown yet is written first."""
    from sweep.tracking.replay import replay
    from sweep.tracking.tracker import SweepTracker
    from sweep.tracking.trial_runs import write_trial

    runs, trial = MlflowRuns(store, client, record), TrialFacts.of(entry, storage)
    if not runs.is_shown():
        tracker = SweepTracker(store, client)
        replay(record, storage, tracker)
        tracker.close()
    write_trial(runs, trial, None)  # including its end, which may be missing after a killed registration
    return runs.child(trial)


def _logged_model(client: Any, store: TrackingStore, run_id: str, folder: Path, name: str) -> Any:
    """Log the model to the run and register it; the run's status and MLflow's settings stay as they are."""
    import mlflow
    import numpy as np

    facts = json.loads((folder / "model.json").read_text())
    run = client.get_run(run_id)
    before, variable = mlflow.get_tracking_uri(), os.environ.get(TRACKING_URI)
    mlflow.set_tracking_uri(store.uri)
    try:
        with _without_advice(), mlflow.start_run(run_id=run_id):
            return mlflow.pyfunc.log_model(
                name=ARTIFACT,
                python_model=str(CODE),
                artifacts={"onnx": str(folder / "model.onnx"), "facts": str(folder / "model.json")},
                signature=_signature(facts),
                input_example=np.zeros((1, *facts["image_size"], facts["channels"]), dtype=facts["dtype"]),
                pip_requirements=[f"{library}=={version(library)}" for library in REQUIREMENTS],
                registered_model_name=name,
            )
    finally:
        mlflow.set_tracking_uri(before)
        if variable is None:  # MLflow sets the variable, and later code would take it for the user's choice
            os.environ.pop(TRACKING_URI, None)
        client.set_terminated(run_id, status=run.info.status, end_time=run.info.end_time)


def _signature(facts: dict[str, Any]) -> Any:
    """Return MLflow's signature of the model: images as stored to a label and probabilities, or to a number."""
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema, TensorSpec

    outputs = [ColSpec("string", "label"), *(ColSpec("double", name) for name in facts["classes"])]
    if facts["number"] is not None:
        outputs = [ColSpec("double", "predicted")]
    images = TensorSpec(np.dtype(facts["dtype"]), (-1, *facts["image_size"], facts["channels"]))
    return ModelSignature(inputs=Schema([images]), outputs=Schema(outputs))
