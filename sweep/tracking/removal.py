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
    _remove_view(client, experiment, name)
    return len(removed)


def _remove_view(client: Any, experiment: Any, name: str) -> None:
    """Delete the view of a removed sweep; if it was the latest, that of the last sweep left takes its place."""
    from sweep.tracking.run_tags import SWEEP
    from sweep.tracking.shared_view import LATEST, view_key, view_tag

    own, latest = view_tag(view_key(name)), view_tag(LATEST)
    removed = experiment.tags.get(own)
    if removed is None:
        return
    client.delete_experiment_tag(experiment.experiment_id, own)
    if experiment.tags.get(latest) != removed:
        return
    left = client.search_runs(
        [experiment.experiment_id], f"tags.`{SWEEP}` != ''", order_by=["start_time DESC"], max_results=1
    )
    before = experiment.tags.get(view_tag(view_key(left[0].data.tags[SWEEP]))) if left else None
    if before is None:
        client.delete_experiment_tag(experiment.experiment_id, latest)
    else:
        client.set_experiment_tag(experiment.experiment_id, latest, before)
