"""Tags and params of MLflow runs: their names, and values of a sweep as text."""

import getpass
import json
from collections.abc import Mapping
from typing import Any

PARENT, TRIAL, STATUS, SMOKE = "mlflow.parentRunId", "sweep.trial_id", "sweep.status", "sweep.smoke"
SWEEP, SPACE, CHECKPOINT, PROJECTED = "sweep.name", "sweep.space", "sweep.checkpoint", "sweep.projected"
SELECTED_ON = "sweep.selected_on"
COMMAND, BEST_SETTING = "sweep.command", "sweep.best_setting"
SETTING, BEST = "sweep.setting", "sweep.best"
"""Tags of child runs: the setting that seeds share, for grouping; and whether the setting is the best, or may be."""
NOTE, COLOUR = "mlflow.note.content", "mlflow.runColor"
"""MLflow's own tags: the description in Markdown, and the colour in tables and charts."""
FAILURE_KIND, FAILURE_MESSAGE = "sweep.failure_kind", "sweep.failure_message"
ATTEMPTS, TROUBLES = "sweep.attempts", "sweep.troubles"
REUSED_FROM, REUSED_RUN = "sweep.reused_from", "sweep.reused_run"
"""Tags of a reused trial: the sweep that trained it, and its run there."""
RUN_STATUS: Mapping[str, str] = {
    "running": "RUNNING",
    "finished": "FINISHED",
    "failed": "FAILED",
    "stopped": "KILLED",
    "interrupted": "KILLED",
}
"""MLflow's status by the status of a sweep or trial in the records."""


def flattened(config: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return a configuration as MLflow params: dotted names, lists as JSON, all values as text."""
    result: dict[str, str] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            result |= flattened(value, f"{prefix}{key}.")
        elif value is not None:  # avoids a column of None
            result[f"{prefix}{key}"] = json.dumps(value) if isinstance(value, list | tuple) else str(value)
    return result


def program(command: str) -> str:
    """Return the program of a command for MLflow's column: `sweep.run` for `python -m sweep.run --space ...`."""
    return next((word.partition("(")[0].strip(",") for word in command.split() if word.startswith("sweep.")), "sweep")


def prefixed(prefix: str, values: Mapping[str, str]) -> dict[str, str]:
    """Return tags whose names begin with a prefix and a dot."""
    return {f"{prefix}.{key}": str(value) for key, value in values.items()}


def word(flag: bool) -> str:
    """Return a flag as MLflow's pages filter it: `true` or `false`."""
    return "true" if flag else "false"


def user() -> str:
    """Return the name of the user who runs this process; `unknown` in a container whose user has no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
