"""Rank agreement over settings between label-free metrics and a metric with labels; pure."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from sweep.comparison.default_columns import OF_FEATURES
from sweep.comparison.table import ComparisonTable
from sweep.comparison.wording import metric_words, short_words
from sweep.records.sweep_record import SweepRecord
from sweep.statistics.rank_agreement import FEWEST_RANKED, RankAgreement, rank_agreement
from trainables.metrics import names

FEWEST_SAID = 3
"""Minimum number of settings for a rank agreement."""


@dataclass(frozen=True)
class LabelFreeRankings:
    """Agreement of each label-free metric with one that needs labels, larger tau being better."""

    judge: str
    """The metric with labels."""
    agreements: dict[str, RankAgreement]
    """Agreements by metric, the best first; their sign makes tau near 1 for a good metric."""

    @property
    def settings(self) -> int:
        """Number of ranked settings: the largest over the metrics."""
        return max(found.settings for found in self.agreements.values())

    @property
    def too_few(self) -> bool:
        """Whether there are too few settings for an interval."""
        return self.settings < FEWEST_RANKED

    def sentence(self) -> str:
        """Return in words how well each metric ranked the settings."""
        if self.too_few:
            return (
                f"too few settings ({self.settings}; {FEWEST_RANKED} are needed) to say how well metrics without "
                "labels rank them"
            )
        told = [f"{short_words(metric)} {agreement_text(found)}" for metric, found in self.agreements.items()]
        return (
            f"how metrics without labels rank the {self.settings} settings, compared with {metric_words(self.judge)}: "
            f"{', '.join(told)} (Kendall's tau-b with 95 % interval over settings; 1: the same order, 0: chance)"
        )


def label_free_rankings(sweep: SweepRecord, table: ComparisonTable) -> LabelFreeRankings | None:
    """Return how label-free metrics rank a table's settings; None where nothing can be said."""
    settings = [row for row in table.settings if row.finished]
    known = {metric for row in settings for trial in row.finished for metric in trial.result.metrics}
    judge = next(iter(_judges(sweep, known)), None)
    free = [f"{split}/{name}" for split in ("val", "test") for name in names.LABEL_FREE_DIRECTION]
    free = [metric for metric in free if metric in known]
    if judge is None or not free or len(settings) < FEWEST_SAID:
        return None
    found = {metric: _agreement(table, metric, judge) for metric in free}
    return LabelFreeRankings(judge, dict(sorted(found.items(), key=lambda pair: -_order(pair[1].tau))))


def agreement_text(found: RankAgreement) -> str:
    """Return tau and its interval: 0.62 (0.31 to 0.81)."""
    if math.isnan(found.tau):
        return "undefined"
    ends = found.interval
    return f"{found.tau:.2f}" + ("" if ends is None else f" ({ends.low:.2f} to {ends.high:.2f})")


def _judges(sweep: SweepRecord, known: Iterable[str]) -> Iterable[str]:
    """Yield the metrics with labels that settings can be judged by: the objective, the columns, frozen features."""
    split = sweep.objective.partition("/")[0]
    of_features = (f"{one}/{name}" for one in (split, "test") for name in OF_FEATURES)
    for metric in (sweep.objective, *sweep.columns, *of_features):
        if metric in known and names.needs_labels(metric):
            yield metric


def _agreement(table: ComparisonTable, metric: str, judge: str) -> RankAgreement:
    both = [(row.mean(metric), row.mean(judge)) for row in table.settings if row.finished]
    sign = 1.0 if names.better_when(metric) == names.better_when(judge) else -1.0
    pairs = [(sign * one, other) for one, other in both if one is not None and other is not None]
    return rank_agreement([one for one, _ in pairs], [other for _, other in pairs])


def _order(tau: float) -> float:
    return -math.inf if math.isnan(tau) else tau
