"""Deletion of a sweep's MLflow runs."""

from typing import Any


def remove_runs(tracking_uri: str | None, storage: str, name: str, experiment_name: str = "") -> int:
    """Delete a sweep's MLflow runs, children first, and artifacts beside its own database; return how many runs."""
    from sweep.tracking.run_tags import PARENT, SWEEP
    from sweep.tracking.store import EXPERIMENT, TrackingStore

    shown_in = experiment_name or EXPERIMENT
    store = TrackingStore.choose(tracking_uri, storage=storage, experiment=shown_in)
    client: Any = store.connect()
    experiment = client.get_experiment_by_name(shown_in)
    if experiment is None:
        return 0
    removed: list[str] = []
    for parent in client.search_runs([experiment.experiment_id], f"tags.`{SWEEP}` = '{name}'"):
        wanted = f"tags.`{PARENT}` = '{parent.info.run_id}'"
        while children := client.search_runs([experiment.experiment_id], wanted):
            for child in children:
                client.delete_run(child.info.run_id)
                removed.append(child.info.run_id)
        client.delete_run(parent.info.run_id)
        removed.append(parent.info.run_id)
    store.remove_artifacts(removed)
    return len(removed)
