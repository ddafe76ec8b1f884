"""Selection between stages: the values that a later stage takes from the best earlier trials; pure."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from statistics import fmean
from typing import Any

from sweep.planning.trial import PlannedTrial
from sweep.space import Best, RankingObjective


def decide(
    wanted: Iterable[Best],
    trials: Iterable[PlannedTrial],
    objective: RankingObjective,
    result_of: Callable[[str], Mapping[str, float] | None],
) -> dict[Best, Any]:
    """Return the value of each Best; those without a finished trial with a finite objective are left out.

    The best value has the best mean objective over the finished trials that share it; of equal ones the first.

    Args:
        wanted: Values to decide.
        trials: Trials of the earlier stages.
        objective: Metric and direction.
        result_of: Returns the final metrics of a trial id, or None.
    """
    settings = [trial for trial in trials if trial.baseline is None]
    sign = 1.0 if objective.direction == "max" else -1.0
    decided = {}
    for best in wanted:
        scores: dict[Any, list[float]] = defaultdict(list)
        for trial in settings:
            metrics = result_of(trial.trial_id)
            if trial.config.dataset == best.dataset and metrics is not None and objective.metric in metrics:
                scores[getattr(trial.config, best.field)].append(sign * metrics[objective.metric])
        means = {value: mean for value, own in scores.items() if math.isfinite(mean := fmean(own))}
        if means:
            decided[best] = max(means, key=means.__getitem__)
    return decided
