"""Asynchronous successive halving over the trials' records, so that it survives whatever the sweep survives.

Tune's own scheduler keeps its rungs in memory and by the ids of attempts; a retried or resumed trial is new to it.
"""

import math
from collections import defaultdict
from collections.abc import Collection, Iterable
from typing import Literal

from sweep.scheduling.task import TrialTask
from sweep.space import Halving
from trainables.storage.trial_records import EpochRecord


class Rungs:
    """The Judge of a stage with halving: what each trial reached at each rung, and who goes on."""

    def __init__(self, halving: Halving, direction: Literal["max", "min"], exempt: Collection[str]) -> None:
        self._halving, self._exempt = halving, frozenset(exempt)
        self._sign = 1.0 if direction == "max" else -1.0
        self._reached: dict[int, dict[str, float]] = defaultdict(dict)

    def learn(self, trial_id: str, records: Iterable[EpochRecord]) -> None:
        """Take in what a trial did before."""
        for record in records:
            self._note(trial_id, record)

    def verdict(self, task: TrialTask, record: EpochRecord) -> str | None:
        """Return why the trial ends here, or None: at a rung it has to be among the best 1 / reduction so far."""
        self._note(task.trial_id, record)
        if task.trial_id in self._exempt or not self._is_rung(record.epoch):
            return None
        reached = self._reached[record.epoch]
        mine = reached[task.trial_id]
        keeps = max(1, len(reached) // self._halving.reduction)
        better = sum(value > mine for value in reached.values())
        # With fewer than `reduction` there, nothing is known yet: the first ones go on.
        if len(reached) < self._halving.reduction or better < keeps:
            return None
        return (
            f"halving: {better} of {len(reached)} trials are better at epoch {record.epoch} "
            f"({self._halving.metric}), the best {keeps} go on"
        )

    def _note(self, trial_id: str, record: EpochRecord) -> None:
        if self._is_rung(record.epoch):
            value = self._sign * record.metrics.get(self._halving.metric, math.nan)
            self._reached[record.epoch][trial_id] = -math.inf if math.isnan(value) else value

    def _is_rung(self, epoch: int) -> bool:
        rung = self._halving.grace
        while rung < epoch:
            rung *= self._halving.reduction
        return rung == epoch
