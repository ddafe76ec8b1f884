"""Error rates of the comparison, by simulation: the tables of docs/error_rates.md.

    python -m benchmarks.error_rates                    # an hour on one core
    python -m benchmarks.error_rates --sweeps 400 --only best

best: how often the truly best setting is dropped, and how often a worse one is told apart. intervals: coverage of the
intervals over images. halving: the best row of a sweep with halving among settings that are equally good.
"""

import argparse
from collections.abc import Sequence

import numpy as np

from benchmarks.rows import best_errors, interval_coverage
from benchmarks.rows.halving_bias import simulated

PARTS = ("best", "intervals", "halving")
AHEAD = 4.0
"""Lead of the best setting in the power table, in standard deviations between seeds."""


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a Markdown table."""
    print(f"\n| {' | '.join(headings)} |\n|{'---|' * len(headings)}")
    for row in rows:
        print(f"| {' | '.join(row)} |", flush=True)


def best(sweeps: int) -> None:
    """Print error rates and power of the comparisons with the best."""
    procedures = (best_errors.ours, best_errors.hsu, best_errors.holm)
    rows = []
    for case, far in zip(best_errors.cases(), best_errors.cases(ahead=AHEAD), strict=True):
        count = max(sweeps // 10, 200) if len(case.seeds) == 30 else sweeps
        errors = [f"{100 * best_errors.dropped(case, one, count)[0]:.1f}" for one in procedures]
        powers = [f"{100 * best_errors.dropped(far, one, max(count // 10, 100))[1]:.0f}" for one in procedures[:2]]
        rows.append((case.what, *errors, *powers))
    table(("case", "dropped: ours", "Hsu", "Holm", f"{AHEAD:g} sd worse, found: ours", "Hsu"), rows)


def intervals(sweeps: int) -> None:
    """Print the coverage of intervals over images; resampled ones (areas) use a tenth of the samples."""
    rows = []
    for case in interval_coverage.cases():
        count = max(sweeps // 10, 100) if case.resampled else sweeps
        covered = case.coverage(count)
        rows.append((case.what, "too few" if np.isnan(covered) else f"{100 * covered:.1f} %"))
    table(("interval over images, 95 %", "holds the truth in"), rows)


def halving(sweeps: int) -> None:
    """Print the best row's bias among 12 equal settings of three seeds, and the share of settings told apart."""
    rows = []
    for together in (True, False):
        random = np.random.default_rng(0)
        found = [simulated(random, together=together) for _ in range(max(sweeps // 4, 100))]
        best_row, dropped = (float(np.mean([getattr(one, name) for one in found])) for name in ("best", "dropped"))
        what = "seeds end together" if together else "each seed by itself"
        rows.append((what, f"{best_row:.2f}", f"{100 * dropped:.1f} %"))
    table(("halving, truth 70.00, one point between seeds", "the best row", "dropped"), rows)


def main() -> None:
    """Print the requested tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sweeps", type=int, default=4000, help="simulated sweeps a row")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    options = parser.parse_args()
    for part, show in {"best": best, "intervals": intervals, "halving": halving}.items():
        if part in options.only:
            show(options.sweeps)


if __name__ == "__main__":
    main()
