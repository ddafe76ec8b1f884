"""Where things lie in a sweep's storage on this machine; one place, so that programs agree."""

from pathlib import Path

DEFAULT_STORAGE = Path(".sweep")
"""Where a program keeps its results unless told otherwise, in the current folder."""


def tracking_database(storage: Path | str) -> Path:
    """Return the SQLite file that holds MLflow's runs when there is no tracking server; absolute."""
    return _absolute(storage) / "mlflow.db"


def artifacts_folder(storage: Path | str) -> Path:
    """Return the folder of the artifacts that belong to `tracking_database`; absolute."""
    return _absolute(storage) / "mlartifacts"


def _absolute(storage: Path | str) -> Path:
    return Path(storage).expanduser().absolute()
