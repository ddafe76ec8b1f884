"""How often intervals over images hold the truth: by simulation of made-up classifiers."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from sweep.statistics.image_metrics import ClassOutputs, sampling_interval

TILE = "S2A_MSIL2A_201706{:02d}T101031_{}_{}"


@dataclass(frozen=True)
class Case:
    """One interval, its truth, and how one sample of it is drawn."""

    what: str
    metric: str
    truth: float
    draw: Callable[[np.random.Generator], list[ClassOutputs]]

    def coverage(self, count: int, seed: int = 0) -> float:
        """Return the share of samples whose interval holds the truth; NaN where there is no interval."""
        random = np.random.default_rng(seed)
        found = [sampling_interval(self.metric, self.draw(random)) for _ in range(count)]
        held = [one.low <= self.truth <= one.high for one in found if one is not None]
        return float(np.mean(held)) if held else float("nan")


def cases() -> Iterator[Case]:
    """Yield the cases of the table."""
    for positives in (7, 10, 20, 100):
        for share in (0.8, 0.95):
            yield _sensitivity(positives, share, seeds=1)
            yield _sensitivity(positives, share, seeds=3)
    for positives, negatives in ((7, 33), (10, 30), (20, 180), (100, 100)):
        for area in (0.75, 0.95):
            yield _scored("roc_auc", area, positives, negatives, area)
        yield _scored("balanced_accuracy", 0.8, positives, negatives, _at_half(0.8))
        yield _scored("pr_auc", 0.85, positives, negatives, _precision(0.85, positives / negatives))
    for tiles in (2, 5, 10, 40):
        for share in (0.75, 0.9):
            yield _tiled(tiles, share)


def _sensitivity(positives: int, share: float, seeds: int) -> Case:
    """Return positives that are found with a chance of their own, alike for all seeds, which vary around `share`."""

    def draw(random: np.random.Generator) -> list[ClassOutputs]:
        chance = random.beta(2 * share, 2 * (1 - share), positives)
        return [
            _outputs(np.r_[random.random(positives) < chance, np.ones(30, dtype=bool)], positives) for _ in range(seeds)
        ]

    what = f"sensitivity {100 * share:.0f} %, {positives} positives, {seeds} seed{'s' if seeds > 1 else ''}"
    return Case(what, "test/sensitivity", share, draw)


def _scored(name: str, area: float, positives: int, negatives: int, truth: float) -> Case:
    """Return normal scores of both sides, apart by as much as gives an area under the ROC curve."""
    apart = 2**0.5 * ndtri(area)

    def draw(random: np.random.Generator) -> list[ClassOutputs]:
        positive = np.arange(positives + negatives) < positives
        odds = random.normal(size=len(positive)) + apart * (positive - 0.5)
        return [_scored_outputs(odds, positive)]

    what = f"{name} {100 * truth:.0f} %, {positives} positives, {negatives} negatives"
    return Case(what, f"test/{name}", truth, draw)


def _at_half(area: float) -> float:
    from scipy.special import ndtr

    return float(ndtr(ndtri(area) / 2**0.5))


def _precision(area: float, odds: float) -> float:
    """Return the average precision of so many positives a negative, by integration over the scores of positives."""
    from scipy.special import ndtr

    apart = 2**0.5 * ndtri(area)
    places = ndtri((np.arange(200_000) + 0.5) / 200_000) + apart
    hits = odds * ndtr(apart - places)
    return float(np.mean(hits / (hits + ndtr(-places))))


def _tiled(tiles: int, share: float, each: int = 25, alike: float = 0.2) -> Case:
    """Return tiles of images; `alike` is the correlation of images of one tile."""
    size = 1 / alike - 1

    def draw(random: np.random.Generator) -> list[ClassOutputs]:
        chance = np.repeat(random.beta(share * size, (1 - share) * size, tiles), each)
        names = tuple(TILE.format(10 + tile % 20, tile // 20, place) for tile in range(tiles) for place in range(each))
        return [_outputs(random.random(tiles * each) < chance, 0, names)]

    return Case(f"accuracy {100 * share:.0f} %, {tiles} tiles of {each} images", "test/top1", share, draw)


def _outputs(right: np.ndarray, positives: int, names: tuple[str, ...] | None = None) -> ClassOutputs:
    labels = (np.arange(len(right)) < positives).astype(np.int64)
    predicted = np.where(right, labels, 1 - labels)
    return ClassOutputs(labels, predicted, np.array([False, True]), None, names or tuple(map(str, range(len(right)))))


def _scored_outputs(odds: np.ndarray, positive: np.ndarray) -> ClassOutputs:
    logits = np.stack([np.zeros(len(odds)), odds], axis=1)
    names = tuple(map(str, range(len(odds))))
    return ClassOutputs(positive.astype(np.int64), (odds > 0).astype(np.int64), np.array([False, True]), logits, names)
