"""Metrics of epochs in the MLflow runs of trials, each written once."""

import logging
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from sweep.tracking.trial_facts import TrialFacts
from trainables.metrics.names import IMAGES_PER_SECOND, OF_THE_MACHINE
from trainables.printing.printable_text import printable

if TYPE_CHECKING:
    from mlflow.entities import Metric

    from trainables.storage.trial_records import EpochRecord

logger = logging.getLogger("sweep.tracking")

METRICS_A_BATCH = 1000
"""Maximum number of metrics that MLflow takes at once."""


class EpochMetrics:
    """Writer of epochs' metrics; epochs that a run has already are left out."""

    def __init__(self, client: Any, child: Callable[[TrialFacts], str]) -> None:
        """Create the writer; `child` returns the id of a trial's run."""
        self._client, self._child = client, child
        self._resumed: set[str] = set()
        """Trials whose runs had metrics at the start of an attempt."""
        self._written: dict[str, set[int]] = {}
        """Epochs by trial that this process has written, or tried to write."""

    def resumed(self, trial: TrialFacts) -> None:
        """Note that the trial's run has metrics, so that its epochs may be there already."""
        self._resumed.add(trial.trial_id)

    def missing(self, trial: TrialFacts, records: "Sequence[EpochRecord]") -> "list[EpochRecord]":
        """Return the records of epochs whose metrics are missing in the run.

        Metrics of an epoch are written together, so one of them stands for all. An epoch that was trained again after
        its record was lost has other times but equal values; it doesn't count as missing.
        """
        history = {
            name: self._client.get_metric_history(self._child(trial), name)
            for name in set(map(_marker_metric, records))
        }
        times = {(point.step, point.timestamp) for points in history.values() for point in points}
        values = {(name, point.step, point.value) for name, points in history.items() for point in points}

        def is_here(record: "EpochRecord") -> bool:
            name = _marker_metric(record)
            if name not in OF_THE_MACHINE and (name, record.epoch, record.metrics[name]) in values:
                return True
            return (record.epoch, record.time_ms) in times

        return [record for record in records if not is_here(record)]

    def log_new(self, trial: TrialFacts, records: "Sequence[EpochRecord]") -> None:
        """Write the metrics of newly trained epochs, except epochs that an earlier attempt has written."""
        written = self._written.setdefault(trial.trial_id, set())
        fresh: list[EpochRecord] = []
        again: dict[int, EpochRecord] = {}
        for record in records:
            if record.epoch in written or trial.trial_id in self._resumed:
                again.setdefault(record.epoch, record)
            else:
                fresh.append(record)
            written.add(record.epoch)
        self.log(trial, fresh)
        self.log(trial, self.missing(trial, list(again.values())))

    def log(self, trial: TrialFacts, records: "Sequence[EpochRecord]") -> None:
        """Write the metrics of epochs; MLflow merges those with equal name, value, epoch and time."""
        from mlflow.entities import Metric

        batch: list[Metric] = []
        for record in records:
            # An undefined metric has no point in a chart.
            finite = {name: value for name, value in record.metrics.items() if math.isfinite(value)}
            if len(batch) + len(finite) > METRICS_A_BATCH:
                self._log_metrics(trial, batch)
                batch = []
            batch += [Metric(name, value, record.time_ms, record.epoch) for name, value in finite.items()]
        if batch:
            self._log_metrics(trial, batch)

    def _log_metrics(self, trial: TrialFacts, batch: "Sequence[Metric]") -> None:
        """Write metrics; if MLflow rejects one as invalid, report it and write the others."""
        try:
            self._client.log_batch(self._child(trial), metrics=batch)
        except Exception as error:
            if not refused(error):
                raise
            if len(batch) == 1:
                logger.warning("metric %s of %s refused by MLflow", printable(batch[0].key), printable(trial.name))
            else:
                self._log_metrics(trial, batch[: len(batch) // 2])
                self._log_metrics(trial, batch[len(batch) // 2 :])


def _marker_metric(record: "EpochRecord") -> str:
    """Return the metric that shows whether an epoch is in the run; repeated training reproduces it, as a loss."""
    repeated = [name for name, value in record.metrics.items() if name not in OF_THE_MACHINE and math.isfinite(value)]
    return min(repeated, key=lambda name: (not name.endswith("loss"), name), default=IMAGES_PER_SECOND)


def refused(error: Exception) -> bool:
    """Return whether MLflow rejected a write as invalid, so that a retry would fail too."""
    # A deleted run rejects all writes like this; a new run replaces it.
    return getattr(error, "error_code", "") == "INVALID_PARAMETER_VALUE" and "'active' state" not in str(error)
