"""Coverage of confidence intervals over images and over seeds, by simulation of classifiers."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from sweep.statistics.image_metrics import AnyOutputs, ClassOutputs, statistic_of
from sweep.statistics.intervals import seed_interval
from sweep.statistics.label_metrics import LabelOutputs
from sweep.statistics.metric_intervals import paired, sampling_interval
from sweep.statistics.number_outputs import NumberOutputs
from sweep.statistics.share_intervals import ConfidenceInterval
from trainables.metrics.names import AVERAGE_PRECISION, MACRO, MAE, MICRO, R2, RMSE

SCALES = 0.3, 0.6
"""Standard deviations of the errors that two predictions of a number don't have in common; that in common is 0.4."""
TILE = "S2A_MSIL2A_201706{:02d}T101031_{}_{}"


@dataclass(frozen=True)
class CoverageCase:
    """Interval under test: its true value, and the function that draws a sample."""

    what: str
    metric: str
    truth: float
    draw: Callable[[np.random.Generator], list[AnyOutputs]]

    @property
    def resampled(self) -> bool:
        """Whether the interval is resampled, which takes long to simulate."""
        return "auc" in self.metric or AVERAGE_PRECISION in self.metric

    def interval(self, random: np.random.Generator) -> ConfidenceInterval | None:
        """Return the interval of one sample; None with too few images."""
        return sampling_interval(self.metric, self.draw(random))

    def coverage(self, count: int, seed: int = 0) -> float:
        """Return the share of samples whose interval contains the truth; NaN if no sample has an interval."""
        random = np.random.default_rng(seed)
        found = [self.interval(random) for _ in range(count)]
        held = [one.low <= self.truth <= one.high for one in found if one is not None]
        return float(np.mean(held)) if held else float("nan")


class PairedCase(CoverageCase):
    """Interval of the difference between two classifiers on the same images."""

    @property
    def resampled(self) -> bool:
        """True: its variance is resampled."""
        return True

    def interval(self, random: np.random.Generator) -> ConfidenceInterval | None:
        """Return the interval of one sample; None with too few images."""
        one, other = self.draw(random)
        found = paired(self.metric, [one], [other])
        return None if found is None else found.interval


@dataclass(frozen=True)
class SeedsCase(CoverageCase):
    """Interval of the mean over seeds."""

    seeds: int = 2
    spread: Callable[[np.random.Generator, int], np.ndarray] = np.random.Generator.normal

    @property
    def resampled(self) -> bool:
        """False: it is Student's t-interval."""
        return False

    def interval(self, random: np.random.Generator) -> ConfidenceInterval | None:
        """Return the interval of one sample of seeds."""
        return seed_interval(list(self.spread(random, self.seeds)))


def cases() -> Iterator[CoverageCase]:
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
    for images in (40, 400):
        for apart in (0.0, 0.1):
            yield _differing(images, apart)
    for tiles in (2, 5, 10, 40):
        yield _differing(25 * tiles, 0.1, tiles)
    for name in (R2, RMSE):
        yield differing_numbers(name, 40)
    yield differing_numbers(RMSE, 250, tiles=10)
    for name in (R2, RMSE, MAE):
        yield differing_numbers(name, 400, skewed=True)
    yield differing_numbers(RMSE, 40, skewed=True)
    yield differing_numbers(RMSE, 250, tiles=10, skewed=True)
    for images in (40, 250):
        for average in (MACRO, MICRO):
            yield _several_labels(images, average)
    for seeds in (2, 3, 5, 10):
        yield _over_seeds(seeds)
    for seeds in (3, 5, 10):
        yield _over_seeds(seeds, collapsing=0.2)


def _sensitivity(positives: int, share: float, seeds: int) -> CoverageCase:
    """Return positives that are each found with their own probability, the same for all seeds, around `share`."""

    def draw(random: np.random.Generator) -> list[ClassOutputs]:
        chance = random.beta(2 * share, 2 * (1 - share), positives)
        return [
            _outputs(np.r_[random.random(positives) < chance, np.ones(30, dtype=bool)], positives) for _ in range(seeds)
        ]

    what = f"sensitivity {100 * share:.0f} %, {positives} positives, {seeds} seed{'s' if seeds > 1 else ''}"
    return CoverageCase(what, "test/sensitivity", share, draw)


def _scored(name: str, area: float, positives: int, negatives: int, truth: float) -> CoverageCase:
    """Return normal scores of positives and negatives, at a distance that gives the area under the ROC curve."""
    apart = 2**0.5 * ndtri(area)

    def draw(random: np.random.Generator) -> list[ClassOutputs]:
        positive = np.arange(positives + negatives) < positives
        odds = random.normal(size=len(positive)) + apart * (positive - 0.5)
        return [_scored_outputs(odds, positive)]

    what = f"{name} {100 * truth:.0f} %, {positives} positives, {negatives} negatives"
    return CoverageCase(what, f"test/{name}", truth, draw)


def _at_half(area: float) -> float:
    from scipy.special import ndtr

    return float(ndtr(ndtri(area) / 2**0.5))


def _precision(area: float, odds: float) -> float:
    """Return the average precision for `odds` positives per negative, by integration over the positives' scores."""
    from scipy.special import ndtr

    apart = 2**0.5 * ndtri(area)
    places = ndtri((np.arange(200_000) + 0.5) / 200_000) + apart
    hits = odds * ndtr(apart - places)
    return float(np.mean(hits / (hits + ndtr(-places))))


def _tiled(tiles: int, share: float, each: int = 25, alike: float = 0.2) -> CoverageCase:
    """Return images in tiles; `alike` is the correlation of images of one tile."""
    size = 1 / alike - 1

    def draw(random: np.random.Generator) -> list[ClassOutputs]:
        chance = np.repeat(random.beta(share * size, (1 - share) * size, tiles), each)
        names = tuple(TILE.format(10 + tile % 20, tile // 20, place) for tile in range(tiles) for place in range(each))
        return [_outputs(random.random(tiles * each) < chance, 0, names)]

    return CoverageCase(f"accuracy {100 * share:.0f} %, {tiles} tiles of {each} images", "test/top1", share, draw)


def _differing(images: int, apart: float, tiles: int = 0) -> CoverageCase:
    """Return two classifiers that agree on most images; with tiles, their differences are common to a tile's images."""

    places = [n * tiles // images for n in range(images if tiles else 0)]
    named = tuple(TILE.format(10 + tile % 20, tile // 20, n) for n, tile in enumerate(places)) or None

    def draw(random: np.random.Generator) -> list[AnyOutputs]:
        hard = np.repeat(random.beta(4, 1, tiles), images // tiles) if tiles else random.beta(4, 1, images)
        one = random.random(images) < hard
        lost = np.repeat(random.beta(0.5, 3.5, tiles), images // tiles) if tiles else np.full(images, 0.125)
        differs = random.random(images) < (lost if apart else 0.25)
        if apart:  # what one is right about, the other loses a part of
            return [_outputs(own, 0, named) for own in (one, one & ~differs)]
        right = random.random(images) < 0.5  # of the images on which they differ, each has half
        return [_outputs(np.where(differs, own, one), 0, named) for own in (right, ~right)]

    over = f"{tiles} tiles of {images // tiles} images" if tiles else f"{images} images"
    return PairedCase(f"difference of {100 * apart:.0f} points, paired, {over}", "test/top1", apart, draw)


def differing_numbers(name: str, images: int, tiles: int = 0, *, skewed: bool = False) -> CoverageCase:
    """Return two predictions of a number whose errors have a part in common; with tiles, errors are alike in a tile.

    The number is normal or, if `skewed`, log-normal with errors in proportion to it.
    """

    def errors(random: np.random.Generator, count: int, alike: int) -> np.ndarray:
        own = random.normal(size=count)
        return (own + np.repeat(random.normal(size=count // alike), alike)) / 2**0.5 if alike > 1 else own

    alike = images // tiles if tiles else 1
    named = tuple(TILE.format(10 + n // alike % 20, n // alike // 20, n) if tiles else str(n) for n in range(images))

    def sample(random: np.random.Generator) -> list[AnyOutputs]:
        truth, common, *apart = (errors(random, images, alike) for _ in range(4))
        truth, size = (np.exp(truth), np.exp(truth)) if skewed else (truth, np.ones(images))
        both = (truth + size * (0.4 * common + scale * own) for scale, own in zip(SCALES, apart, strict=True))
        return [NumberOutputs(truth, predicted, named, np.zeros(0, dtype=bool)) for predicted in both]

    metric = f"test/linear_{name}"
    squares, spread, mean = (np.e**2, np.e * (np.e - 1), np.e**0.5) if skewed else (1.0, 1.0, 1.0)
    squared = [0.4**2 + scale**2 for scale in SCALES]  # of a number of size 1
    values = {
        R2: [1 - squares * own / spread for own in squared],
        RMSE: [(squares * own) ** 0.5 for own in squared],
        MAE: [mean * (2 * own / np.pi) ** 0.5 for own in squared],
    }
    truth = float(values[name][0] - values[name][1])
    over = f"{tiles} tiles of {images // tiles} images" if tiles else f"{images} images"
    what = f"difference of {truth:.2f} in {name.upper()}{' of a log-normal number' if skewed else ''}, paired, {over}"
    return PairedCase(what, metric, truth, sample)


def _several_labels(images: int, average: str) -> CoverageCase:
    """Return scores of five labels that separate partly; each label is on a fifth to a half of the images."""
    shares = np.linspace(0.2, 0.5, 5)

    def sample(random: np.random.Generator, count: int) -> LabelOutputs:
        truth = random.random((count, 5)) < shares
        odds = random.normal(size=truth.shape) + 1.5 * (truth - 0.5)
        names = tuple(map(str, range(count)))
        return LabelOutputs(truth, odds, names, np.zeros(5, dtype=bool), odds)

    metric = f"test/{AVERAGE_PRECISION}{average}"
    whole = statistic_of(metric, sample(np.random.default_rng(99), 200_000))
    assert whole is not None
    truth = float(whole(np.ones((1, 200_000)))[0])
    what = f"average precision of 5 labels, {average.strip('_')}, {100 * truth:.0f} %, {images} images"
    return CoverageCase(what, metric, truth, lambda random: [sample(random, images)])


def _over_seeds(seeds: int, collapsing: float = 0.0) -> CoverageCase:
    """Return trials of one setting with normal results, of which a share `collapsing` fails to a lower result."""

    def spread(random: np.random.Generator, count: int) -> np.ndarray:
        return random.normal(0.7, 0.02, count) - 0.3 * (random.random(count) < collapsing)

    told = f", {100 * collapsing:.0f} % of which collapse by 30 points" if collapsing else ""
    what = f"mean over {seeds} seeds{told}"
    return SeedsCase(what, "", 0.7 - 0.3 * collapsing, lambda random: [], seeds, spread)


def _outputs(right: np.ndarray, positives: int, names: tuple[str, ...] | None = None) -> ClassOutputs:
    labels = (np.arange(len(right)) < positives).astype(np.int64)
    predicted = np.where(right, labels, 1 - labels)
    return ClassOutputs(labels, predicted, np.array([False, True]), None, names or tuple(map(str, range(len(right)))))


def _scored_outputs(odds: np.ndarray, positive: np.ndarray) -> ClassOutputs:
    logits = np.stack([np.zeros(len(odds)), odds], axis=1)
    names = tuple(map(str, range(len(odds))))
    return ClassOutputs(positive.astype(np.int64), (odds > 0).astype(np.int64), np.array([False, True]), logits, names)
