"""Bias of halving among settings that are equally good: the best row of the table, by simulation."""

from dataclasses import dataclass

import numpy as np

from sweep.planning.resources import TrialShape
from sweep.scheduling.halving import HalvingRungs
from sweep.scheduling.task import TrialTask
from sweep.scheduling.verdict import WaitForOthers
from sweep.space import Halving
from sweep.statistics.hypothesis_tests import candidates_for_best
from trainables.storage.trial_records import EpochRecord

METRIC, EPOCHS, TRUTH = "val/top1", 9, 70.0
SHAPE = TrialShape(1, 1, use_gpu=False)


@dataclass(frozen=True)
class SimulatedSweep:
    """Finished values of one simulated sweep."""

    finished: dict[int, dict[int, float]]
    """Values by setting and seed; settings that ended early have none."""

    @property
    def best(self) -> float:
        """Mean of the best row."""
        return max(float(np.mean(list(own.values()))) for own in self.finished.values())

    @property
    def dropped(self) -> float:
        """Share of the finished settings that the comparison tells apart from the best, all being equally good."""
        groups, seeds = ([list(part(own)) for own in self.finished.values()] for part in (dict.values, dict.keys))
        kept = candidates_for_best(groups, seeds=seeds)
        return 0.0 if kept is None else 1 - float(np.mean(kept))


def simulated(
    random: np.random.Generator,
    *,
    settings: int = 12,
    seeds: int = 3,
    spread: float = 1.0,
    agreement: float = 0.5,
    together: bool = True,
) -> SimulatedSweep:
    """Return a simulated sweep whose trials arrive at the rungs in random order.

    Args:
        random: Random generator.
        settings: Number of settings.
        seeds: Seeds per setting.
        spread: Standard deviation between seeds.
        agreement: Correlation of an epoch's value with the last epoch's.
        together: Whether the seeds of a setting continue or end together; False: each seed is judged alone.
    """
    final = random.normal(TRUTH, spread, (settings, seeds))
    rungs = HalvingRungs(Halving(METRIC, grace=1, reduction=3), "max", exempt=())
    trials = [(setting, seed) for setting in range(settings) for seed in range(seeds)]
    if together:
        for setting, seed in trials:
            rungs.join(str(setting), f"{setting}/{seed}")
    alive = [trials[number] for number in random.permutation(len(trials))]
    for epoch in (1, 3):
        noise = random.normal(0.0, spread, final.shape)
        values = TRUTH + agreement * (final - TRUTH) + (1 - agreement**2) ** 0.5 * noise
        said = {trial: rungs.verdict(_task(trial), _record(epoch, values[trial])) for trial in alive}
        said |= {trial: rungs.standing(_name(trial)) for trial, word in said.items() if isinstance(word, WaitForOthers)}
        alive = [trial for trial in alive if said[trial] is None]
    finished: dict[int, dict[int, float]] = {}
    for setting, seed in alive:
        finished.setdefault(setting, {})[seed] = float(final[setting, seed])
    return SimulatedSweep(finished)


def _name(trial: tuple[int, int]) -> str:
    return f"{trial[0]}/{trial[1]}"


def _task(trial: tuple[int, int]) -> TrialTask:
    return TrialTask(_name(trial), _name(trial), {"epochs": EPOCHS}, "", "", "", SHAPE)


def _record(epoch: int, value: float) -> EpochRecord:
    return EpochRecord(epoch=epoch, time_ms=0, seconds=1.0, metrics={METRIC: float(value)})
