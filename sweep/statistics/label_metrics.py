"""Average precision of several labels as a function of image weights; pure.

Either each label is ranked over all images (macro), or all pairs of image and label are ranked together (micro). For
(B, n) weights this is one product with a sparse matrix; `bounded_resamples` limits the number of bootstrap samples.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.special import expit

from sweep.statistics.intervals import RESAMPLES, HeldOut
from sweep.statistics.resampled_metrics import Numbers, Statistic, Truth, decisions_precision
from trainables.data.patch_names import tile_position
from trainables.evaluation.multilabel import HALF
from trainables.metrics import names

MOST_DECISIONS = 5 * 10**8
"""Bootstrap samples x images x labels of one interval: about two seconds on one core."""
FEWEST_RESAMPLES = 200
"""With this many resamples, the standard deviation of an interval's end is a twentieth of its width."""
WEIGHINGS = 25
"""Weightings at a time: their products take WEIGHINGS x as many numbers as there are positives."""


@dataclass(frozen=True)
class LabelOutputs:
    """Outputs of one classifier for each label of each image of a split."""

    truth: Truth
    """(n, K)."""
    scores: Numbers
    """(n, K), in [0, 1]."""
    images: tuple[str, ...]
    """(n,) names."""
    positive: Truth
    """(K,): labels of which any makes an image positive; none without a rule."""
    log_odds: Numbers | None = None
    """(n, K): log-odds for ranking, since probabilities saturate near 0 and 1; None for kNN."""

    @property
    def positive_truth(self) -> Truth:
        """Whether the image is positive (n,)."""
        return np.asarray(self.truth[:, self.positive].any(axis=1))

    @property
    def positive_scores(self) -> Numbers:
        """The largest score of a positive label (n,)."""
        return np.asarray(self.scores[:, self.positive].max(axis=1))

    @property
    def ranked(self) -> Numbers:
        """Values by which each label is ranked (n, K)."""
        return self.scores if self.log_odds is None else self.log_odds

    @property
    def half(self) -> float:
        """Threshold, in the ranked values, that corresponds to probability one half."""
        return HALF if self.log_odds is None else 0.0

    @property
    def positive_ranked(self) -> Numbers:
        """Values by which images are ranked as positive (n,)."""
        return np.asarray(self.ranked[:, self.positive].max(axis=1))

    @property
    def called_positive(self) -> Truth:
        """Whether the image is called positive (n,)."""
        return np.asarray(self.positive_ranked >= self.half)

    def held_out(self, *, sided: bool = False) -> HeldOut:
        """Return the sampling design: tiles are drawn whole; `sided`: positive and negative images are two strata."""
        strata = self.positive_truth if sided else np.zeros(len(self.images), dtype=np.bool_)
        return HeldOut(strata.astype(np.int64), tiles_of(self.images))


def tiles_of(images: Sequence[str]) -> NDArray[np.int64] | None:
    """Return the tile number of each image (n,), from the images' names; None if a name has no tile."""
    places = [tile_position(name) for name in images]
    tiles = [place[0] for place in places if place is not None]
    return np.unique(tiles, return_inverse=True)[1] if len(tiles) == len(places) else None


def label_outputs(table: pa.Table, values: Numbers, positive: Truth, *, logits: bool) -> LabelOutputs:
    """Return multi-label outputs of a table, given one classifier's (n, K) values."""
    truth = np.zeros(values.shape, dtype=np.bool_)
    lists = table["label"].combine_chunks()
    truth[lists.value_parent_indices().to_numpy(), lists.flatten().to_numpy()] = True
    scores = np.asarray(expit(values) if logits else values)
    return LabelOutputs(truth, scores, tuple(table["name"].to_pylist()), positive, values if logits else None)


def label_statistic(name: str, outputs: LabelOutputs) -> Statistic | None:
    """Return macro or micro average precision as a function of image weights; None for another metric's name."""
    truth, scores = outputs.truth, outputs.ranked
    if name == names.AVERAGE_PRECISION + names.MICRO:
        images = np.repeat(np.arange(len(truth)), truth.shape[1])
        return _few_at_a_time(decisions_precision(scores.ravel(), truth.ravel(), images))
    if name == names.AVERAGE_PRECISION + names.MACRO:
        everyone = np.arange(len(truth))
        each = [
            decisions_precision(scores[:, k], truth[:, k], everyone) for k in range(truth.shape[1]) if truth[:, k].any()
        ]
        return _few_at_a_time(lambda weights: _mean_of_known([statistic(weights) for statistic in each]))
    return None


def bounded_resamples(outputs: LabelOutputs) -> int:
    """Return the number of bootstrap samples for an interval, limited so that its time stays bounded."""
    return int(np.clip(MOST_DECISIONS // max(outputs.truth.size, 1), FEWEST_RESAMPLES, RESAMPLES))


def _few_at_a_time(precision: Callable[[NDArray[np.floating]], Numbers]) -> Statistic:
    """Return a statistic of (B, n) weights that processes WEIGHINGS rows at a time, transposed, in float32."""

    def statistic(weights: Numbers) -> Numbers:
        parts = (weights[start : start + WEIGHINGS] for start in range(0, len(weights), WEIGHINGS))
        return np.concatenate([precision(np.ascontiguousarray(part.T, dtype=np.float32)) for part in parts])

    return statistic


def _mean_of_known(values: Sequence[Numbers]) -> Numbers:
    """Return the mean (B,) over labels; like the evaluation, over those that occur in the sample."""
    stacked = np.asarray(values)
    known = np.isfinite(stacked)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(known, stacked, 0.0).sum(axis=0) / known.sum(axis=0))
