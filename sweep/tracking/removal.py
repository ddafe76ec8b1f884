"""A sweep's runs in MLflow, deleted."""

from typing import Any


def remove_runs(tracking_uri: str | None, storage: str, name: str) -> int:
    """Delete a sweep's runs in MLflow, the children before their parent; return how many."""
    from sweep.tracking.mlflow_runs import PARENT, SWEEP
    from sweep.tracking.store import EXPERIMENT, TrackingStore

    client: Any = TrackingStore.choose(tracking_uri, storage=storage, experiment=EXPERIMENT).connect()
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is None:
        return 0
    removed = 0
    for parent in client.search_runs([experiment.experiment_id], f"tags.`{SWEEP}` = '{name}'"):
        wanted = f"tags.`{PARENT}` = '{parent.info.run_id}'"
        while children := client.search_runs([experiment.experiment_id], wanted):
            for child in children:
                client.delete_run(child.info.run_id)
                removed += 1
        client.delete_run(parent.info.run_id)
        removed += 1
    return removed
