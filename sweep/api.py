"""The commands from Python, for notebooks and programs: `run`, `compare`, `evaluate`, `export`, `predict`, `embed`.

No function redirects output or leaves a signal handler installed. Bad input, also an argument of another type, raises
BadInputError (a ValueError) with one line per fault.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from sweep.console.argument_types import Count, checked
from sweep.records.paths import DEFAULT_STORAGE
from sweep.report.frames import ComparisonFrames, Frames, load
from sweep.space import SearchSpace
from trainables.errors import BadInputError

if TYPE_CHECKING:
    import pandas

    from sweep.deployment.batch_prediction import Describe
    from sweep.running.run_location import RunLocation

__all__ = [
    "BadInputError",
    "ComparisonFrames",
    "Export",
    "ExportResult",
    "Frames",
    "compare",
    "embed",
    "evaluate",
    "export",
    "load",
    "predict",
    "run",
]


@dataclass(frozen=True)
class ExportResult:
    """Result of an export: the trial and its folder."""

    trial: str
    folder: Path
    onnx_difference: float
    """Largest absolute difference between the probabilities of ONNX and PyTorch."""
    registered: str = ""
    """Address of the registered model and the command that serves it; empty if it wasn't registered."""


Export = ExportResult
"""Earlier name, for code that imports it."""


@checked()
def run(
    space: SearchSpace | str | Path | None = None,
    *,
    storage: str | Path = DEFAULT_STORAGE,
    changes: Mapping[str, Any] | None = None,
    name: str | None = None,
    resume: str | None = None,
    tracking_uri: str | None = None,
    address: str | None = None,
    **options: Any,
) -> ComparisonFrames:
    """Train every trial of a search space, with a progress bar, and return the tables of the sweep.

    Finished trials are never trained again; a KeyboardInterrupt stops at the end of the running epochs, and the same
    call continues.

    Args:
        space: A SearchSpace, the name of one (quickstart), a dotted module, or a .py, .yaml or .toml file.
        storage: Folder or URI of the records.
        changes: Values by field for every trial; a list varies the field: {"temperature": [0.1, 0.5], "epochs": 20}.
        name: Name of the sweep; default: the space's.
        resume: Name of a sweep to continue with the space that its record contains.
        tracking_uri: MLflow server or database; default: MLFLOW_TRACKING_URI, else a SQLite file in the storage.
        address: Ray cluster, HOST:PORT or auto; default: Ray is started on this machine.
        options: Further fields of `sweep.running.run_request.RunRequest`: smoke, workers, device, gpu_hours, ...

    Returns:
        The sweep's tables, as `sweep.compare.load` returns them; `trials` has the status and failure of each trial.

    Raises:
        BadInputError: One line for each fault of the space, the changes, the data or the storage.

    Example:
        >>> frames = run("quickstart", changes={"temperature": [0.1, 0.5]}, name="temperatures")
        >>> frames.settings[["temperature", "test/linear_top1"]]
    """
    from sweep.running.run_request import RunRequest, check_options, checked_assignments

    check_options(options)
    request = RunRequest(
        _location(storage, tracking_uri, address),
        space=str(space) if isinstance(space, Path) else space,
        assignments=checked_assignments(changes or {}),
        name=name,
        resume=resume,
        given=frozenset(options),
        **options,
    )
    session = request.session()
    session.run(extend=request.extend)
    return load(session.name, storage=storage)


@checked()
def compare(
    *sweeps: str,
    storage: str | Path = DEFAULT_STORAGE,
    html: str | Path | None = None,
    pictures: bool = True,
    overwrite: bool = False,
) -> ComparisonFrames:
    """Return the tables of sweeps as data frames, and optionally write their report.

    Args:
        sweeps: Names of sweeps; none: the latest one.
        storage: Folder or URI of their records.
        html: Folder for the report as HTML; None: no report.
        pictures: Whether the report shows the best trial's errors, nearest neighbours and feature map.
        overwrite: Whether files in `html` that another program wrote are replaced.

    Raises:
        BadInputError: There is no such sweep, or `html` can't be written.
    """
    if html is not None:
        from sweep.report.linked_pages import report_sweeps

        report_sweeps(sweeps, str(storage), Path(html), pictures=pictures, overwrite=overwrite)
    return load(*sweeps, storage=storage)


@checked(
    draws=Count | None,
    epochs=Annotated[int, Field(ge=0)] | None,
    learning_rate=Annotated[float, Field(gt=0, allow_inf_nan=False)] | None,
    max_concurrent=Count | None,
)
def evaluate(
    sweep: str | None = None,
    *,
    storage: str | Path = DEFAULT_STORAGE,
    trials: Sequence[str] = (),
    weights: Sequence[str] = (),
    datasets: Sequence[str] = (),
    labels: Sequence[float] | None = None,
    draws: int | None = None,
    epochs: int | None = None,
    learning_rate: float | None = None,
    changes: Mapping[str, Any] | None = None,
    name: str | None = None,
    tracking_uri: str | None = None,
    experiment: str = "",
    address: str | None = None,
    device: Literal["auto", "cpu", "gpu"] = "auto",
    max_concurrent: int | None = None,
    strict: bool = False,
) -> ComparisonFrames:
    """Evaluate pretrained encoders with fractions of the labels, frozen and fine-tuned, and return the tables.

    The arguments are the options of `sweep.evaluate`.

    Args:
        sweep: Name of the sweep with the encoders; default: the latest one.
        storage: Folder or URI of its records.
        trials: Names or ids of trials; default: every seed of the best setting.
        weights: Further weights, NAME=FILE[,FIELD=VALUE...].
        datasets: Prepared data sets to evaluate on; default: the sweep's data set.
        labels: Fractions of the training labels, above 0 and up to 1; default: those of 0.01, 0.1 and 1 that give at
            least one batch of images.
        draws: Number of label subsets per fraction; default: the number of encoders' seeds, at least 3.
        epochs: Epochs of fine-tuning and training from scratch; 0: frozen features only.
        learning_rate: Base learning rate of fine-tuning.
        changes: Fields that are set for every trial, with their values.
        name: Name of the evaluation; default: SWEEP-evaluated.
        tracking_uri: MLflow server or database.
        experiment: MLflow experiment.
        address: Ray cluster, HOST:PORT or auto; default: Ray is started on this machine.
        device: Device of the trials.
        max_concurrent: Maximum number of trials that run at once.
        strict: Whether test images that an encoder was pretrained on are refused.

    Returns:
        The tables of the evaluation, which is a sweep of its own.

    Raises:
        BadInputError: There is no such sweep, trial, data set or weights file, or an option is invalid.
    """
    from sweep.running.evaluation_request import EvaluationRequest
    from sweep.running.evaluation_run import EvaluationRun
    from sweep.running.run_request import checked_assignments

    fixed = {name: one[0] for name, one in checked_assignments({f: [v] for f, v in (changes or {}).items()}).items()}
    request = EvaluationRequest(trials, weights, datasets, labels, draws, epochs, learning_rate, fixed)
    planned = EvaluationRun.of(request, sweep, storage=str(storage), name=name, device=device, experiment=experiment)
    if strict:
        planned.check_leaks(str(storage))
    location = _location(storage, tracking_uri, address)
    planned.session(location, max_concurrent, named=sweep is not None).run(extend=False)
    return load(planned.name, storage=storage)


@checked()
def export(
    sweep: str | None = None,
    *,
    storage: str | Path = DEFAULT_STORAGE,
    trial: str | None = None,
    best: str | None = None,
    head: str = "linear",
    output: str | Path | None = None,
    overwrite: bool = False,
    register: str | None = None,
    tracking_uri: str | None = None,
) -> ExportResult:
    """Write a trial's encoder and classifier into a folder (safetensors, ONNX, model card); optionally register it.

    Args:
        sweep: Name of the sweep; default: the latest one.
        storage: Folder or URI of its records.
        trial: Name or id; default: the best setting's first seed.
        best: Metric that says which setting is best; default: the sweep's objective.
        head: linear (logistic regression on frozen features) or probe (trained during pretraining).
        output: Folder to write; default: exports/TRIAL.
        overwrite: Whether files of another program are replaced.
        register: Name of a model in MLflow.
        tracking_uri: MLflow, as for `run`.

    Raises:
        BadInputError: There is no such trial, it has no final weights, or the folder can't be written.
    """
    from sweep.console.output_files import check_model_name, file_name
    from sweep.deployment.exporter import check_folder, check_libraries, write
    from sweep.deployment.trial_choice import choose
    from sweep.records.sweep_storage import SweepStorage

    check_libraries()
    if trial is not None and best is not None:
        raise BadInputError(f"--best {best}: chooses the trial, but --trial {trial} names it; give one of them")
    if register is not None:
        check_model_name(register)
    place = SweepStorage(storage)
    chosen = choose(place, sweep, trial=trial, best=best, head=head)
    entry = chosen.trial.entry
    folder = Path(output or Path("exports") / file_name(entry.name))
    check_folder(folder, chosen, place, overwrite=overwrite)
    difference, registered = write(chosen, place, folder), ""
    if register is not None:
        from sweep.tracking.model_registry import register_model

        registered = register_model(chosen.sweep, entry, place, folder, name=register, tracking_uri=tracking_uri)
    return ExportResult(entry.name, folder, difference, registered)


@checked()
def predict(
    model: str | Path, images: str | Path, output: str | Path | None = None, *, overwrite: bool = False
) -> "pandas.DataFrame":
    """Predict the classes or the number of images with an exported model.

    Args:
        model: Folder that `export` wrote.
        images: Folder or zip of images, or the name of a prepared data set; `sweep.predict` also maps whole scenes.
        output: Also write the table to this .parquet or .csv file.
        overwrite: Whether `output` is replaced if another program wrote it.

    Returns:
        One row per image: path, label and the probability of each class; or path and predicted number.

    Raises:
        BadInputError: The folder holds no exported model, or there is no image that it can read.
    """
    from sweep.deployment.exported_model import DeployedModel

    return _table(model, images, output, DeployedModel.prediction, (".parquet", ".csv"), overwrite=overwrite)


@checked()
def embed(
    model: str | Path, images: str | Path, output: str | Path | None = None, *, overwrite: bool = False
) -> "pandas.DataFrame":
    """Compute the features of the images of a folder or zip with an exported model.

    Args:
        model: Folder that `export` wrote.
        images: Folder or zip of images, or the name of a prepared data set.
        output: Also write the table to this file.
        overwrite: Whether `output` is replaced if another program wrote it.

    Returns:
        One row per image: path and features.

    Raises:
        BadInputError: The folder holds no exported model, or there is no image that it can read.
    """
    from sweep.deployment.exported_model import DeployedModel

    return _table(model, images, output, DeployedModel.embedding, (".parquet",), overwrite=overwrite)


def _table(
    model: str | Path,
    images: str | Path,
    output: str | Path | None,
    describe: "Describe",
    suffixes: tuple[str, ...],
    *,
    overwrite: bool,
) -> "pandas.DataFrame":
    """Return the table, also written to `output` if given; skipped images are listed on stderr."""
    import tempfile

    import pyarrow

    from sweep.console.printing import say
    from sweep.deployment.batch_prediction import apply

    tables: list[pyarrow.Table] = []

    def kept(*batch: Any) -> pyarrow.Table:
        tables.append(describe(*batch))
        return tables[-1]

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.parquet" if output is None else Path(output)
        for line in apply(Path(model), Path(images), path, kept, suffixes=suffixes, overwrite=overwrite).said():
            say(line, error=True)
    return pyarrow.concat_tables(tables).to_pandas()  # a CSV file would return the class "007" as 7


def _location(storage: str | Path, tracking_uri: str | None, address: str | None) -> "RunLocation":
    from sweep.running.run_location import RunLocation

    return RunLocation(str(storage), tracking_uri, address, from_python=True)
