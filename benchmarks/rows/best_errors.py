"""Error rates of comparisons with the best, by simulation: how often they drop the truly best setting, or others."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from sweep.statistics.hypothesis_tests import candidates_for_best
from sweep.statistics.share_intervals import LEVEL

Groups = Sequence[NDArray[np.float64]]
Procedure = Callable[[Groups], list[bool]]
"""Procedure under test: from each setting's values over seeds to whether it may be the best."""


@dataclass(frozen=True)
class SimulatedSettings:
    """Simulated settings; the first is truly the best."""

    what: str
    seeds: tuple[int, ...]
    """Number of seeds of each setting."""
    spreads: tuple[float, ...]
    """Standard deviation between seeds, of each setting."""
    correlation: float = 0.0
    """Correlation between the values of two settings with the same seed."""
    ahead: float = 0.0
    """Lead of the first setting over all others."""

    def sweeps(self, count: int, seed: int = 0) -> Iterator[Groups]:
        """Yield the values of `count` simulated sweeps."""
        random = np.random.default_rng(seed)
        most, spreads = max(self.seeds), np.array(self.spreads)[:, None]
        lead = self.ahead * (np.arange(len(self.seeds)) == 0)
        for _ in range(count):
            shared, own = random.normal(size=most), random.normal(size=(len(self.seeds), most))
            values = spreads * (self.correlation**0.5 * shared + (1 - self.correlation) ** 0.5 * own) + lead[:, None]
            yield [row[:size] for row, size in zip(values, self.seeds, strict=True)]


def cases(*, ahead: float = 0.0) -> Iterator[SimulatedSettings]:
    """Yield the cases of the table: numbers of settings and seeds, spreads and correlations."""
    for settings in (2, 6, 10, 30):
        for seeds in (2, 3, 5, 10):
            yield _case(settings, f"{seeds}", (seeds,) * settings, (1.0,) * settings, ahead)
        for spread in (3.0, 10.0):
            name = f"3, the best spreads {spread:g} times"
            yield _case(settings, name, (3,) * settings, (spread, *(1.0,) * (settings - 1)), ahead)
            name = f"3, the others spread {spread:g} times"
            yield _case(settings, name, (3,) * settings, (1.0, *(spread,) * (settings - 1)), ahead)
        yield _case(settings, "2 of the best, 10", (2, *(10,) * (settings - 1)), (1.0,) * settings, ahead)
        uneven = (10, *(2,) * (settings - 1))
        yield _case(settings, "10 of the best, 2", uneven, (1.0,) * settings, ahead)
        yield _case(settings, "10 of the best, 2 that spread 3 times", uneven, (1.0, *(3.0,) * (settings - 1)), ahead)
        yield _case(settings, "5, correlated by 0.5", (5,) * settings, (1.0,) * settings, ahead, correlation=0.5)


def _case(
    settings: int,
    what: str,
    seeds: tuple[int, ...],
    spreads: tuple[float, ...],
    ahead: float,
    correlation: float = 0.0,
) -> SimulatedSettings:
    return SimulatedSettings(f"{settings} settings, seeds: {what}", seeds, spreads, correlation, ahead)


def ours(groups: Groups) -> list[bool]:
    """Apply the comparison of this project; settings share the seeds that all of them have."""
    found = candidates_for_best([list(group) for group in groups], seeds=[range(len(group)) for group in groups])
    assert found is not None
    return found


def hsu(groups: Groups) -> list[bool]:
    """Apply Hsu's (1984) comparison with the best with a common spread: Dunnett's (1955) test with each as control."""
    sizes = [len(group) for group in groups]
    freedom = sum(sizes) - len(groups)
    means = np.array([group.mean() for group in groups])
    spread = np.sqrt(sum(((group - group.mean()) ** 2).sum() for group in groups) / freedom)
    kept = []
    for own, size in enumerate(sizes):
        others = [number for number in range(len(groups)) if number != own]
        errors = spread * np.sqrt([1 / size + 1 / sizes[number] for number in others])
        limit = _dunnett(size, tuple(sizes[number] for number in others), freedom)
        kept.append(bool(np.all(means[others] - means[own] <= limit * errors)))
    return kept


def holm(groups: Groups) -> list[bool]:
    """Apply Holm's (1979) tests with a common spread against the setting with the best mean."""
    freedom = sum(len(group) for group in groups) - len(groups)
    means = np.array([group.mean() for group in groups])
    spread = np.sqrt(sum(((group - group.mean()) ** 2).sum() for group in groups) / freedom)
    best = int(means.argmax())
    others = [number for number in range(len(groups)) if number != best]
    errors = spread * np.sqrt([1 / len(groups[best]) + 1 / len(groups[number]) for number in others])
    values = stats.t.sf((means[best] - means[others]) / errors, freedom)
    kept = [True] * len(groups)
    for place, number in enumerate(np.argsort(values)):
        if values[number] > (1 - LEVEL) / (len(others) - place):
            break
        kept[others[number]] = False
    return kept


_LIMITS: dict[tuple[int, tuple[int, ...], int], float] = {}


def _dunnett(control: int, others: tuple[int, ...], freedom: int) -> float:
    """Return the one-sided critical value of Dunnett's test, by numerical integration over both common variables."""
    from scipy.optimize import brentq
    from scipy.special import ndtr

    if (control, others, freedom) in _LIMITS:
        return _LIMITS[control, others, freedom]
    means, mean_weights = np.polynomial.hermite_e.hermegauss(80)
    nodes, node_weights = np.polynomial.legendre.leggauss(80)
    spreads = np.sqrt(stats.chi2.ppf((nodes + 1) / 2, freedom) / freedom)
    loadings = np.sqrt([size / (size + control) for size in others])

    def excess(limit: float) -> float:
        arguments = limit * spreads[:, None, None] - loadings * means[:, None]
        inside = ndtr(arguments / np.sqrt(1 - loadings**2)).prod(axis=2)
        return float(node_weights / 2 @ inside @ (mean_weights / mean_weights.sum())) - LEVEL

    found = _LIMITS[control, others, freedom] = float(brentq(excess, 0.0, 200.0))
    return found


def dropped(case: SimulatedSettings, procedure: Procedure, count: int, seed: int = 0) -> tuple[float, float]:
    """Return the share of sweeps that drop the truly best setting, and the share of the other settings dropped."""
    kept = np.array([procedure(groups) for groups in case.sweeps(count, seed)])
    return float(1 - kept[:, 0].mean()), float(1 - kept[:, 1:].mean())
