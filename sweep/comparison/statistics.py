"""How sure the numbers of a comparison are; pure: arrays in, intervals and decisions out.

Two errors are kept apart: another seed would train another encoder, and another test set would hold other images. The
first needs trials that differ in nothing but the seed, the second the outputs of each image. SciPy, half a second, is
imported where it is used.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.95
RESAMPLES = 2000
CHUNK = 100
"""Resamples at a time: their weights take CHUNK x n numbers."""

Numbers = NDArray[np.float64]
Truth = NDArray[np.bool_]
Statistic = Callable[[Numbers], Numbers]
"""From how often each image counts, (B, n), to the B values of a metric; NaN where it is undefined."""


class Interval(NamedTuple):
    """A confidence interval."""

    low: float
    high: float


def seed_interval(values: Sequence[float], level: float = LEVEL) -> Interval | None:
    """Return Student's t interval of the mean over seeds; None with fewer than two finite values."""
    from scipy import stats

    known = np.asarray([value for value in values if np.isfinite(value)])
    if len(known) < 2:
        return None
    half = stats.t.ppf((1 + level) / 2, len(known) - 1) * known.std(ddof=1) / np.sqrt(len(known))
    return Interval(float(known.mean() - half), float(known.mean() + half))


def wilson_interval(successes: int, total: int, level: float = LEVEL) -> Interval | None:
    """Return Wilson's score interval of a share (Wilson 1927); None of nothing."""
    from scipy import stats

    if total == 0:
        return None
    found = stats.binomtest(successes, total).proportion_ci(level, method="wilson")
    return Interval(float(found.low), float(found.high))


@dataclass(frozen=True)
class HeldOut:
    """The images that metrics were computed on, as far as they were drawn together."""

    strata: NDArray[np.int64]
    """(n,): images are drawn anew within each stratum, so that the counts of positives and negatives stay."""
    tiles: NDArray[np.int64] | None = None
    """(n,): images of one tile resemble each other, so tiles are drawn anew, with all their images."""

    def resamples(self, count: int, random: np.random.Generator) -> Iterator[Numbers]:
        """Yield how often each image counts in `count` bootstrap samples, (at most CHUNK, n) at a time."""
        units = self.strata if self.tiles is None else np.zeros(len(np.unique(self.tiles)), dtype=np.int64)
        members = [np.flatnonzero(units == stratum) for stratum in np.unique(units)]
        for start in range(0, count, CHUNK):
            weights = np.zeros((min(CHUNK, count - start), len(units)))
            for row in weights:
                for own in members:
                    row[own] = np.bincount(random.integers(len(own), size=len(own)), minlength=len(own))
            yield weights if self.tiles is None else weights[:, np.unique(self.tiles, return_inverse=True)[1]]


def image_interval(
    held_out: HeldOut, statistic: Statistic, *, level: float = LEVEL, resamples: int = RESAMPLES
) -> Interval | None:
    """Return the percentile bootstrap interval of a metric over the images; None from a single tile or image.

    Samples in which the metric is undefined are left out; the same images give the same interval.
    """
    if len(held_out.strata) < 2 or (held_out.tiles is not None and len(np.unique(held_out.tiles)) < 2):
        return None
    random = np.random.default_rng(0)
    values = np.concatenate([statistic(weights) for weights in held_out.resamples(resamples, random)])
    values = values[np.isfinite(values)]
    if len(values) < resamples / 2:
        return None
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


def mean_of(statistics: Sequence[Statistic]) -> Statistic:
    """Return the mean of a metric over seeds that were evaluated on the same images."""
    return lambda weights: np.mean([statistic(weights) for statistic in statistics], axis=0)


def difference(one: Statistic, other: Statistic) -> Statistic:
    """Return by how much a metric of one trial exceeds that of another on the same images."""
    return lambda weights: one(weights) - other(weights)


def share_of(right: Truth, among: Truth | None = None) -> Statistic:
    """Return the share of images (n,) that are right, among all or some: accuracy, sensitivity, specificity."""
    chosen = np.ones(len(right)) if among is None else among.astype(np.float64)
    both = chosen * right

    def share(weights: Numbers) -> Numbers:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray((weights @ both) / (weights @ chosen))

    return share


def balanced_accuracy(right: Truth, positive: Truth) -> Statistic:
    """Return the mean of sensitivity and specificity."""
    return mean_of([share_of(right, positive), share_of(right, ~positive)])


def roc_auc(scores: Numbers, positive: Truth) -> Statistic:
    """Return the area under the ROC curve: how often a positive scores above a negative, a tie counting half."""
    order, groups = _ties(scores)

    def area(weights: Numbers) -> Numbers:
        ordered = weights[:, order]
        positives = np.add.reduceat(ordered * positive[order], groups, axis=1)
        negatives = np.add.reduceat(ordered * ~positive[order], groups, axis=1)
        above = negatives.sum(axis=1, keepdims=True) - negatives.cumsum(axis=1) + negatives / 2
        with np.errstate(invalid="ignore", divide="ignore"):
            # From the highest score down: a positive stands above the negatives that come later.
            return np.asarray((positives * above).sum(axis=1) / (positives.sum(axis=1) * negatives.sum(axis=1)))

    return area


def average_precision(scores: Numbers, positive: Truth) -> Statistic:
    """Return the mean precision over the positives, each at its own score: the area under steps, not trapezoids."""
    area = decisions_precision(scores, positive, np.arange(len(scores)))
    return lambda weights: area(weights.T)


def decisions_precision(
    scores: Numbers, positive: Truth, images: NDArray[np.int64]
) -> Callable[[NDArray[np.floating]], Numbers]:
    """Return the average precision of m decisions (m,), each on one of n `images`.

    A function of how often each image counts, (n, B): images first, since each threshold's sums are one product with a
    sparse matrix.
    """
    order = np.argsort(-scores, kind="stable")
    # Equal scores are one threshold; of those only such matter as let a positive in.
    thresholds = np.cumsum(np.r_[False, np.diff(scores[order]) != 0])
    letting_in, row_of_hit = np.unique(thresholds[positive[order]], return_inverse=True)
    row = np.searchsorted(letting_in, thresholds)
    known = row < len(letting_in)
    let_in = _counting(row[known], images[order][known], len(letting_in))
    hits_in = _counting(row_of_hit, images[order][positive[order]], len(letting_in))

    def area(weights: NDArray[np.floating]) -> Numbers:
        everything = np.cumsum(let_in(weights), axis=0)
        hits = hits_in(weights)
        found = np.cumsum(hits, axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            precision = np.where(everything > 0, found / everything, 0)
            return np.asarray((hits * precision).sum(axis=0, dtype=np.float64) / hits.sum(axis=0, dtype=np.float64))

    return area


def _counting(
    rows: NDArray[np.int64], images: NDArray[np.int64], count: int
) -> Callable[[NDArray[np.floating]], NDArray[np.floating]]:
    """Return what sums the weights (n, B) of the images in each of `count` rows, given in ascending order."""
    from scipy.sparse import csr_array

    starts = np.r_[0, np.cumsum(np.bincount(rows, minlength=count))]
    ones = np.ones(len(images), dtype=np.float32)
    return lambda weights: np.asarray(csr_array((ones, images, starts), shape=(count, len(weights))) @ weights)


def _ties(scores: Numbers) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the order from the highest score down, and where in it each group of equal scores begins."""
    order = np.argsort(-scores, kind="stable")
    return order, np.flatnonzero(np.r_[True, np.diff(scores[order]) != 0])


def mcnemar(one_right: Truth, other_right: Truth) -> float:
    """Return the exact p-value of McNemar's test: whether two classifiers are right on equally many images."""
    from scipy import stats

    only_one, only_other = int((one_right & ~other_right).sum()), int((other_right & ~one_right).sum())
    if only_one + only_other == 0:
        return 1.0
    return float(stats.binomtest(only_one, only_one + only_other).pvalue)


def candidates_for_best(groups: Sequence[Sequence[float]], *, level: float = LEVEL) -> list[bool] | None:
    """Return for each setting, given its values over seeds, whether it can't be told from the best; None without seeds.

    Multiple comparisons with the best (Hsu 1984): a setting drops out where the one-sided test of Dunnett (1955), with
    that setting as the control, finds one that is larger. The truly best drops out with probability 1 - level at most,
    whichever it is and however many there are; a comparison with the *observed* best errs more often, since that was
    chosen from the same numbers. Assumes independent seeds and an equal spread in all settings.
    """
    sizes = [len(group) for group in groups]
    freedom = sum(sizes) - len(groups)
    if len(groups) < 2 or freedom < 1:
        return None
    means = np.array([np.mean(group) for group in groups])
    spread = np.sqrt(sum(((np.asarray(group) - np.mean(group)) ** 2).sum() for group in groups) / freedom)
    found = []
    for own, size in enumerate(sizes):
        others = [number for number in range(len(groups)) if number != own]
        # Beyond the critical value for one that is larger by its own standard error.
        errors = spread * np.sqrt([1 / size + 1 / sizes[number] for number in others])
        limit = _dunnett(size, tuple(sizes[number] for number in others), freedom, level)
        found.append(bool(np.all(means[others] - means[own] <= limit * errors)))
    return found


@lru_cache(maxsize=1000)
def _dunnett(control: int, others: tuple[int, ...], freedom: int, level: float) -> float:
    """Return the one-sided critical value of Dunnett's test.

    The statistics have correlations a_i a_j with a_i^2 = n_i / (n_i + n_control), so that given the control's mean and
    the spread they are independent; both are integrated out numerically.
    """
    from scipy import stats
    from scipy.optimize import brentq
    from scipy.special import ndtr

    means, mean_weights = np.polynomial.hermite_e.hermegauss(80)
    mean_weights = mean_weights / mean_weights.sum()
    nodes, node_weights = np.polynomial.legendre.leggauss(80)
    spreads = np.sqrt(stats.chi2.ppf((nodes + 1) / 2, freedom) / freedom)
    loadings = np.sqrt([size / (size + control) for size in others])

    def excess(limit: float) -> float:
        arguments = limit * spreads[:, None, None] - loadings * means[:, None]
        inside = ndtr(arguments / np.sqrt(1 - loadings**2)).prod(axis=2)
        return float(node_weights / 2 @ inside @ mean_weights) - level

    return float(brentq(excess, 0.0, 200.0))
