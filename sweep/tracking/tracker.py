"""Tracker: writes a sweep's records to MLflow as one parent run and one child run per trial.

All calls to MLflow are made in background threads, so that a slow or unreachable tracking server doesn't delay the
sweep. Failed writes are counted, and can be repeated later from the trials' files. Some threads write runs, metrics and
final states. A separate thread draws the figures of ended trials, about a second each, and pictures of the data, so
that figures never delay the other writes.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweep.tracking.background_writer import BackgroundWriter, QueuedWrite
from sweep.tracking.epoch_metrics import refused
from sweep.tracking.mlflow_runs import MlflowRuns
from sweep.tracking.run_tags import RUN_STATUS
from sweep.tracking.store import EXPERIMENT, TrackingStore
from sweep.tracking.trial_facts import TrialFacts
from trainables.errors import BadInputError
from trainables.printing.redaction import redact

if TYPE_CHECKING:
    from sweep.records.sweep_record import SweepRecord, TrialEntry
    from sweep.records.sweep_storage import SweepStorage
    from trainables.storage.trial_records import EpochRecord

CLOSE_SECONDS = 60.0
SERVER_LANES = 4
"""Number of threads that write to a server; a single one leaves the server idle between two calls."""

logger = logging.getLogger("sweep.tracking")


class SweepTracker:
    """Writer of one sweep to MLflow; only `open` raises errors of the store."""

    def __init__(self, store: TrackingStore, client: Any) -> None:
        self._store, self._client = store, client
        self._known_runs: MlflowRuns | None = None
        self._trials: dict[str, TrialFacts] = {}
        self._ended: set[str] = set()
        lanes = SERVER_LANES if store.is_server else 1  # an SQLite file accepts one writer at a time
        self._writer = BackgroundWriter(logger=logger, recover=self._forget, refused=refused, lanes=lanes)
        self._artist = BackgroundWriter(logger=logger, recover=self._forget, refused=refused)

    @classmethod
    def open(cls, tracking_uri: str | None, *, storage: Path | str, experiment: str = "") -> "SweepTracker":
        """Open an MLflow store; the import takes 2 s, and a new SQLite file another 5 s.

        Args:
            tracking_uri: Address of the store; None means MLFLOW_TRACKING_URI, else an SQLite file in `storage`.
            storage: Storage of the sweep.
            experiment: Name of the MLflow experiment.

        Raises:
            BadInputError: The store doesn't answer.
        """
        store = TrackingStore.choose(tracking_uri, storage=storage, experiment=experiment or EXPERIMENT)
        return cls(store, store.connect())

    @property
    def uri(self) -> str:
        """Return the store's address without secrets, for display."""
        return self._store.shown

    @property
    def why(self) -> str:
        """Return the reason for choosing this store, in words."""
        return self._store.why

    @property
    def missing(self) -> int:
        """Return the number of submissions that aren't in the store (yet)."""
        return self._writer.missing + self._artist.missing

    # Sweep

    @property
    def begun(self) -> bool:
        """Return whether the sweep was started; a failure before that needs no final state."""
        return self._known_runs is not None

    def start_sweep(self, record: "SweepRecord") -> None:
        """Show the sweep as running: find its run by name, or create it. Call it before any method for trials.

        Raises:
            BadInputError: MLflow can't search for the sweep's name.
        """
        if "'" in record.name:
            raise BadInputError(f"name {record.name!r}: must not contain a quote, MLflow can't search for it")
        self._known_runs = MlflowRuns(self._store, self._client, record)
        self._submit(record.name, "start", lambda _: self._runs.begin())
        self._show_data()

    def _show_data(self) -> None:
        def draw(_: list[Any]) -> None:
            from sweep.tracking.dataset_pictures import write_pictures

            write_pictures(self._runs)

        # A separate subject: the comparison doesn't make up for missing pictures.
        self._artist.submit(QueuedWrite(f"the data of {self._runs.sweep.name}", "pictures", draw, covers=True))

    def finish_sweep(self, status: str = "finished", *, end_ms: int | None = None) -> None:
        """Write the sweep's final status: finished, failed or interrupted, and its end; None: now.

        Started trials that haven't ended get the status interrupted.
        """
        _known(status)
        for trial_id in self._trials.keys() - self._ended:
            self._write(self._trials[trial_id], "interrupted")
        self._submit(self._runs.sweep.name, "end", lambda _: self._runs.end(status, end_ms), covers=True)

    def show_comparison(self, storage: "SweepStorage") -> None:
        """Write the comparison of the sweep's trials to its run, from the trials' files."""

        def draw(_: list[Any]) -> None:
            from sweep.tracking.comparison_runs import write_comparison

            write_comparison(self._runs, storage)

        self._artist.submit(QueuedWrite(self._runs.sweep.name, "comparison", draw, covers=True))

    def __contains__(self, trial_id: str) -> bool:
        """Return whether the trial was started."""
        return trial_id in self._trials

    # Trials

    def start_trial(self, entry: "TrialEntry", storage: "SweepStorage") -> None:
        """Show the trial as running, even if it is a further attempt."""
        trial = self._trials[entry.trial_id] = TrialFacts.of(entry, storage)
        self._ended.discard(trial.trial_id)
        self._submit(trial.trial_id, "start", lambda _: self._runs.start(trial))

    def submit_epoch(self, trial_id: str, record: "EpochRecord") -> None:
        """Write an epoch of a started trial."""
        trial = self._trials[trial_id]
        self._submit(trial_id, "metrics", lambda records: self._runs.epochs.log_new(trial, records), values=[record])

    def finish_trial(self, trial_id: str, status: str | None = None) -> None:
        """Write all of a started trial from its files, as `write_trial` does."""
        self._ended.add(trial_id)
        self._write(self._trials[trial_id], status)

    def write_trial(self, entry: "TrialEntry", storage: "SweepStorage", status: str | None = None) -> None:
        """Write all of a trial from its files, regardless of who trained it; repeated writes add nothing.

        `status` is finished, failed, stopped, interrupted or running; None means the status in the files.
        """
        self._write(TrialFacts.of(entry, storage), status)

    def _write(self, trial: TrialFacts, status: str | None) -> None:
        _known(status)

        def perform(_: list[Any]) -> None:
            from sweep.tracking import trial_runs

            ended = trial.files.final() is not None or trial.files.failure() is not None
            trial_runs.write_trial(self._runs, trial, None if status == "interrupted" and ended else status)
            self._artist.submit(QueuedWrite(trial.trial_id, "artifacts", draw, covers=True))

        def draw(_: list[Any]) -> None:
            from sweep.tracking.trial_runs import write_artifacts

            write_artifacts(self._runs, trial)

        self._submit(trial.trial_id, "files", perform, covers=True)

    def close(self, timeout: float = CLOSE_SECONDS) -> int:
        """Perform the waiting writes until none has succeeded for `timeout` seconds; return how many are missing."""
        missing = self._writer.close(timeout)
        missing += self._artist.close(min(1.0, timeout) if missing else timeout)
        if missing:
            why = redact(self._writer.why_missing() or self._artist.why_missing())
            logger.warning("%d writes to MLflow at %s are missing (%s); the records have them", missing, self.uri, why)
        return missing

    @property
    def _runs(self) -> MlflowRuns:
        if self._known_runs is None:
            raise RuntimeError("start_sweep comes first")
        return self._known_runs

    def _submit(
        self,
        subject: str,
        what: str,
        perform: Callable[[list[Any]], None],
        *,
        values: list[Any] | None = None,
        covers: bool = False,
    ) -> None:
        self._writer.submit(QueuedWrite(subject, what, perform, values or [], covers))

    def _forget(self) -> None:
        if self._known_runs is not None:
            self._known_runs.forget()


def _known(status: str | None) -> None:
    if status is not None and status not in RUN_STATUS:
        raise ValueError(f"status {status!r}: must be one of {', '.join(RUN_STATUS)}")
