"""Asynchronous successive halving, computed from the trials' records, so that it survives a restart.

At a rung a setting is judged by the mean over its replicates, which continue or end together. If replicates were judged
one by one, only the lucky seeds of a setting would remain, and their mean would be too good. Tune's own scheduler keeps
its rungs in memory, by the ids of attempts, so a retried or resumed trial would count as a new one.
"""

import math
from collections import defaultdict
from collections.abc import Collection, Iterable
from statistics import fmean
from typing import Literal

from sweep.records.trial_result import HALVED
from sweep.scheduling.task import TrialTask
from sweep.scheduling.verdict import WAITS, Verdict
from sweep.space import Halving
from trainables.storage.trial_records import EpochRecord


class HalvingRungs:
    """EpochJudge of a stage with halving: stores each setting's metric at each rung, and decides which continue.

    A trial that never joined a setting counts as a setting by itself.
    """

    def __init__(self, halving: Halving, direction: Literal["max", "min"], exempt: Collection[str]) -> None:
        self._halving, self._exempt = halving, frozenset(exempt)
        self._sign = 1.0 if direction == "max" else -1.0
        self._reached: dict[int, dict[str, float]] = defaultdict(dict)
        """The value of each trial, by rung."""
        self._last: dict[str, int] = {}
        """The last epoch of each trial."""
        self._setting: dict[str, str] = {}
        self._members: dict[str, set[str]] = defaultdict(set)
        self._decided: dict[tuple[str, int], str | None] = {}
        self._ended: dict[str, str] = {}
        """Reasons why settings ended, by setting."""

    def join(self, setting: str, trial_id: str) -> None:
        """Register a trial as a replicate of a setting; the other replicates wait for it at each rung."""
        self._setting[trial_id] = setting
        self._members[setting].add(trial_id)

    def learn(self, trial_id: str, records: Iterable[EpochRecord], stopped: str = "") -> None:
        """Add a trial's earlier epoch records, and the reason if it was stopped for good."""
        for record in records:
            self._note(trial_id, record)
        if stopped.startswith(HALVED):
            self._ended[self._setting_of(trial_id)] = stopped
        elif stopped:
            self.left(trial_id)

    def left(self, trial_id: str) -> None:
        """Remove a trial that failed or was stopped for another reason, so that no other waits for it."""
        self._members[self._setting_of(trial_id)].discard(trial_id)

    def verdict(self, task: TrialTask, record: EpochRecord) -> Verdict:
        """Return why the trial ends here, WAITS, or None if it continues.

        At a rung a setting continues if it is among the best 1 / reduction. A trial waits there until the other
        replicates of its setting reach the rung.
        """
        self._note(task.trial_id, record)
        if task.trial_id in self._exempt or not self._is_rung(record.epoch):
            return None
        return self._decide(self._setting_of(task.trial_id), record.epoch)

    def standing(self, trial_id: str) -> Verdict:
        """Return the verdict on a trial that isn't running, at the last rung that it reached."""
        setting = self._setting_of(trial_id)
        if trial_id in self._exempt:
            return None
        if setting in self._ended:
            return self._ended[setting]
        rungs = [rung for rung, reached in self._reached.items() if trial_id in reached]
        if not rungs or any(self._last.get(other, 0) > max(rungs) for other in (trial_id, *self._members[setting])):
            return None  # one of them went on, so all do
        return self._decide(setting, max(rungs))

    def _decide(self, setting: str, rung: int) -> Verdict:
        if (setting, rung) in self._decided:
            return self._decided[setting, rung]
        means = {own: mean for own in self._settings_at(rung) if (mean := self._mean(own, rung)) is not None}
        if setting not in means:
            return WAITS
        keeps = max(1, len(means) // self._halving.reduction)
        better = sum(value > means[setting] for value in means.values())
        why = None
        # With fewer than `reduction` there, nothing is known yet: the first ones continue.
        if len(means) >= self._halving.reduction and better >= keeps:
            what = "settings" if any(len(own) > 1 for own in self._members.values()) else "trials"
            why = self._ended[setting] = (
                f"{HALVED}{better} of {len(means)} {what} {'is' if better == 1 else 'are'} better at epoch {rung} "
                f"({self._halving.metric}), the best {'one continues' if keeps == 1 else f'{keeps} continue'}"
            )
        self._decided[setting, rung] = why
        return why

    def _settings_at(self, rung: int) -> set[str]:
        return {self._setting_of(trial_id) for trial_id in self._reached[rung]}

    def _mean(self, setting: str, rung: int) -> float | None:
        """Return the mean over a setting's replicates at a rung; None while one is pending."""
        reached = self._reached[rung]
        if any(trial_id not in reached for trial_id in self._members[setting]):
            return None
        return fmean(value for trial_id, value in reached.items() if self._setting_of(trial_id) == setting)

    def _setting_of(self, trial_id: str) -> str:
        return self._setting.get(trial_id, trial_id)

    def _note(self, trial_id: str, record: EpochRecord) -> None:
        self._last[trial_id] = max(record.epoch, self._last.get(trial_id, 0))
        if self._is_rung(record.epoch):
            value = self._sign * record.metrics.get(self._halving.metric, math.nan)
            self._reached[record.epoch][trial_id] = -math.inf if math.isnan(value) else value

    def _is_rung(self, epoch: int) -> bool:
        rung = self._halving.grace
        while rung < epoch:
            rung *= self._halving.reduction
        return rung == epoch
