"""View of MLflow's runs page that an experiment shares: its columns, and their order."""

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sweep.records.sweep_record import SweepRecord

VIEW = "sweep"
"""Key of the view in MLflow's pages that shows the varied settings and the results of trials."""
VIEW_TAG = f"mlflow.sharedViewState.{VIEW}"
PARAMS = ("dataset", "batch_size", "temperature", "epochs")
"""Params that the view always shows."""


def shared_view(sweep: "SweepRecord", metrics: Iterable[str]) -> str:
    """Return the state of MLflow's runs page with these metrics and the settings that the sweep varies.

    The objective's column comes first. Sorted by a metric, the page lists trials beside their sweeps, unfolded, and its
    charts show the best ten.
    """
    configs = [entry.config for entry in sweep.trials if entry.baseline is None]
    varied = [
        name for config in configs[:1] for name in config if any(one.get(name) != config[name] for one in configs)
    ]
    params = [f"params.`{name}`" for name in dict.fromkeys([*PARAMS, *varied])]
    columns = [f"metrics.`{name}`" for name in dict.fromkeys([sweep.objective, *metrics])]
    order = {"orderByKey": columns[0], "orderByAsc": sweep.direction == "min"}
    return json.dumps({"selectedColumns": params + columns, **order})
