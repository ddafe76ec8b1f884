"""MLflow runs of a sweep: one parent run, and one child run per trial.

Every write can be repeated: runs are found by their tags, and existing values are kept. Only the background threads of
`SweepTracker` call this module.
"""

import math
import threading
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sweep.tracking.epoch_metrics import METRICS_A_BATCH, EpochMetrics
from sweep.tracking.run_tags import (
    BEST_SETTING,
    COMMAND,
    FAILURE_KIND,
    FAILURE_MESSAGE,
    NOTE,
    PARENT,
    PROJECTED,
    RUN_STATUS,
    SELECTED_ON,
    SMOKE,
    SPACE,
    STATUS,
    SWEEP,
    TRIAL,
    flattened,
    prefixed,
    program,
    user,
    word,
)
from sweep.tracking.shared_view import LATEST, SharedView, view_key, view_page, view_tag
from sweep.tracking.store import TrackingStore
from sweep.tracking.trial_facts import TrialFacts
from trainables.printing.printable_text import markdown_text, printable, printable_lines

if TYPE_CHECKING:
    from sweep.records.sweep_record import SweepRecord

PARAMS_A_BATCH = 100
PARAM_LENGTH, TAG_LENGTH = 6000, 8000


class MlflowRuns:
    """MLflow runs of one sweep: find or create them, and write to them."""

    def __init__(self, store: TrackingStore, client: Any, sweep: "SweepRecord") -> None:
        self.store, self.client, self.sweep = store, client, sweep
        self._lock = threading.RLock()  # one thread at a time finds or creates a run
        self._experiment: str | None = None
        self._parent: str | None = None
        self._status: str | None = None
        """Status of the sweep that this process has written; an existing run keeps its own until then."""
        self._end_ms: int | None = None
        self._columns: Sequence[str] = sweep.columns
        """Metrics of the view: the space's until the comparison chooses them."""
        self._children: dict[str, str] = {}
        self.epochs = EpochMetrics(client, self.child)

    def forget(self) -> None:
        """Clear the cache of runs; called after a failure, since the server may have been emptied."""
        with self._lock:
            self._experiment = self._parent = None
            self._children.clear()

    # Sweep

    def begin(self) -> None:
        """Show the sweep as running."""
        self._stands("running")

    def parent(self) -> str:
        """Return the id of the sweep's run; create and describe it if needed."""
        with self._lock:
            return self._described_parent()

    def _described_parent(self) -> str:
        if self._parent is None:
            run = self._find({SWEEP: self.sweep.name})
            started = self.sweep.time_ms / 1000
            tags = self._sweep_tags()
            run_id = self._create(self.sweep.name, tags, started) if run is None else run.info.run_id
            if run is not None and run.data.tags.get(NOTE, "").startswith(tags[NOTE]):
                del tags[NOTE]  # the conclusions follow it
            self._set_tags(run_id, tags)
            self._log_params(run_id, run, {"space": self.sweep.space, **prefixed("versions", self.sweep.versions)})
            self.client.log_dict(run_id, self.sweep.model_dump(mode="json"), "plan.json")
            if self._status is not None:
                self._show(run_id, self._status)
            self._parent = run_id
        return self._parent

    def show_view(self, columns: Sequence[str]) -> None:
        """Set the shared view of the sweep's trials, with these metrics beside the objective; it is the latest too."""
        self._columns = columns
        self._show_view(self.parent())

    def _show_view(self, parent: str) -> None:
        view = SharedView.of(self.sweep, parent, self._columns).text
        for key in (view_key(self.sweep.name), LATEST):
            self.client.set_experiment_tag(self.experiment(), view_tag(key), view)

    def show_conclusions(self, paragraphs: Sequence[str]) -> None:
        """Write the sweep's conclusions, in Markdown, into its run's description."""
        self._set_tags(self.parent(), {NOTE: self._note(paragraphs)})

    def _note(self, paragraphs: Sequence[str] = ()) -> str:
        trials = f"[The trials of this sweep]({view_page(self.experiment(), view_key(self.sweep.name))})"
        return "\n\n".join([markdown_text(self.sweep.description), trials, *paragraphs])

    def show_best(self, metrics: "Mapping[str, float]", setting: str, epoch: int, time_ms: int) -> None:
        """Write the metrics of the best setting to the sweep's run: means over its seeds, at their last epoch.

        The time is the record's, so that repeated writes count once.
        """
        from mlflow.entities import Metric

        run_id = self.parent()
        points = [Metric(name, value, time_ms, epoch) for name, value in metrics.items() if math.isfinite(value)]
        for start in range(0, len(points), METRICS_A_BATCH):
            self.client.log_batch(run_id, metrics=points[start : start + METRICS_A_BATCH])
        self._set_tags(run_id, {BEST_SETTING: setting})

    def end(self, status: str, end_ms: int | None = None) -> None:
        """Write the sweep's final status, and its end; None: now."""
        self._stands(status, end_ms)

    def _stands(self, status: str, end_ms: int | None = None) -> None:
        with self._lock:
            self._status, self._end_ms = status, end_ms
            if self._parent is None:
                self.parent()
            else:
                self._show(self._parent, status)

    def _show(self, run_id: str, status: str) -> None:
        """Write the sweep's view and status; a model that is registered later changes neither."""
        self._show_view(run_id)
        self._set_tags(run_id, {STATUS: status})
        if status == "running":
            self.client.update_run(run_id, status="RUNNING")
        else:
            self.client.set_terminated(run_id, status=RUN_STATUS[status], end_time=self._end_ms)

    def is_shown(self) -> bool:
        """Return whether the sweep has a run."""
        return self._find({SWEEP: self.sweep.name}) is not None

    def _sweep_tags(self) -> dict[str, str]:
        sweep = self.sweep
        return {
            **self._source_tags(),
            SWEEP: sweep.name,
            SPACE: sweep.space,
            SMOKE: word(sweep.smoke),
            SELECTED_ON: sweep.selected_on,
            NOTE: self._note(),
        }

    def _source_tags(self) -> dict[str, str]:
        """Return the tags that MLflow's fluent interface sets by itself, but its client doesn't."""
        tags = {
            "mlflow.user": user(),
            "mlflow.source.type": "LOCAL",
            "mlflow.source.name": program(self.sweep.command),
        }
        tags[COMMAND] = self.sweep.command
        return tags if self.sweep.commit is None else {**tags, "mlflow.source.git.commit": self.sweep.commit}

    # Trial

    def child(self, trial: TrialFacts) -> str:
        """Return the id of the trial's run; create and describe it if needed."""
        known = self._children.get(trial.trial_id)
        if known is not None:  # without waiting for another thread that creates a run
            return known
        with self._lock:
            return self._described_child(trial)

    def _described_child(self, trial: TrialFacts) -> str:
        if trial.trial_id not in self._children:
            run = self._find({PARENT: self.parent(), TRIAL: trial.trial_id})
            run_id = self._create_child(trial) if run is None else run.info.run_id
            # Also for an existing run, since an earlier attempt may have stopped half-way; repeated writes count once.
            self._log_params(run_id, run, flattened(trial.config))
            if trial.data:
                from sweep.tracking.dataset_input import dataset_input

                inputs = [dataset_input(info, context) for context, info in trial.data.items()]
                self.client.log_inputs(run_id, inputs)
            self._children[trial.trial_id] = run_id
        return self._children[trial.trial_id]

    def start(self, trial: TrialFacts) -> None:
        """Show the trial as running, even after an earlier failure."""
        run = self.client.get_run(self.child(trial))
        if run.data.metrics:  # the attempt may repeat epochs that are already in the run
            self.epochs.resumed(trial)
        if (run.info.status, run.data.tags.get(STATUS)) != ("RUNNING", "running"):
            self._set_tags(run.info.run_id, {STATUS: "running"})
            self.client.update_run(run.info.run_id, status="RUNNING")

    def set_status(self, trial: TrialFacts, status: str, *, end_ms: int | None, tags: Mapping[str, str]) -> None:
        """Write the trial's status, and delete the failure of an earlier attempt."""
        run = self.client.get_run(self.child(trial))
        run_id, present = run.info.run_id, run.data.tags
        for tag in {FAILURE_KIND, FAILURE_MESSAGE} & present.keys() - tags.keys():
            self.client.delete_tag(run_id, tag)
        self._set_tags(run_id, {STATUS: status, **tags})
        if status == "running":
            self.client.update_run(run_id, status="RUNNING")
        else:
            self.client.set_terminated(run_id, status=RUN_STATUS[status], end_time=end_ms)

    def projected(self, trial: TrialFacts) -> str | None:
        """Return the tag that names the end of the trial at which the run's artifacts were written, or None."""
        value: str | None = self.client.get_run(self.child(trial)).data.tags.get(PROJECTED)
        return value

    def set_projected(self, trial: TrialFacts, end: str) -> None:
        """Set the tag that names the end of the trial at which the run's artifacts were written."""
        self._set_tags(self.child(trial), {PROJECTED: end})

    def set_tags(self, trial: TrialFacts, tags: Mapping[str, str]) -> None:
        """Set tags of a trial's run."""
        self._set_tags(self.child(trial), tags)

    def of_sweep(self, name: str, trial_id: str) -> str | None:
        """Return the id of a trial's MLflow run in the sweep `name`; None if there is none."""
        parent = self._find({SWEEP: name})
        run = None if parent is None else self._find({PARENT: parent.info.run_id, TRIAL: trial_id})
        return None if run is None else str(run.info.run_id)

    def _create_child(self, trial: TrialFacts) -> str:
        first = trial.files.epochs()[:1]
        started = first[0].time_ms / 1000 - first[0].seconds if first else time.time()
        tags = {
            **self._source_tags(),
            PARENT: self.parent(),
            TRIAL: trial.trial_id,
            STATUS: "running",
            SMOKE: word(self.sweep.smoke),
            SELECTED_ON: self.sweep.selected_on,
        }
        return self._create(trial.name, tags, started)

    # Sweep and trial

    def _find(self, tags: Mapping[str, str]) -> Any | None:
        """Return the oldest run with these tags, or None."""
        wanted = " and ".join(f"tags.`{key}` = '{value}'" for key, value in tags.items())
        runs = self.client.search_runs([self.experiment()], wanted, order_by=["start_time ASC"], max_results=1)
        return runs[0] if runs else None

    def experiment(self) -> str:
        """Return the id of the experiment."""
        if self._experiment is None:
            self._experiment = self.store.experiment_id(self.client)
        return self._experiment

    def _create(self, name: str, tags: Mapping[str, str], started: float) -> str:
        short = {key: printable_lines(value)[:TAG_LENGTH] for key, value in tags.items()}
        run = self.client.create_run(
            self.experiment(), start_time=int(1000 * started), tags=short, run_name=printable(name)
        )
        return str(run.info.run_id)

    def _log_params(self, run_id: str, found: Any, params: Mapping[str, str]) -> None:
        """Write the params that the found run lacks: MLflow refuses another value, as of an extended sweep's space."""
        from mlflow.entities import Param

        named = {printable(key): value for key, value in params.items()}
        missing = named.keys() - ({} if found is None else found.data.params).keys()
        items = [Param(key, printable_lines(value)[:PARAM_LENGTH]) for key, value in named.items() if key in missing]
        for start in range(0, len(items), PARAMS_A_BATCH):
            self.client.log_batch(run_id, params=items[start : start + PARAMS_A_BATCH])

    def _set_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        from mlflow.entities import RunTag

        self.client.log_batch(
            run_id, tags=[RunTag(key, printable_lines(value)[:TAG_LENGTH]) for key, value in tags.items()]
        )
