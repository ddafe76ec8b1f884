"""Margin of a sweep's trials over its baselines: mean difference over seeds with a 95 % t-interval.

    python -m benchmarks.studies.margins SWEEP [--storage PLACE] [--metric test/knn_top1 ...]

For sweeps of one setting with several seeds. A baseline with seeds is compared seed by seed; one without (raw pixels,
colours) has a single value. The interval covers variation between seeds; all seeds share one test split.
"""

import argparse
from collections.abc import Mapping, Sequence

import numpy as np

from sweep.comparison.table import BASELINE_LABELS
from sweep.records.paths import DEFAULT_STORAGE
from sweep.records.sweep_record import TrialEntry
from sweep.records.sweep_storage import SweepStorage
from sweep.records.trial_result import result_of
from sweep.statistics.intervals import seed_interval


def margin(trained: Sequence[float], baseline: Sequence[float]) -> tuple[float, float, float]:
    """Return the mean of the paired differences, and both ends of its t-interval.

    Args:
        trained: Values of the trials, one per seed.
        baseline: Values of the baseline, one per seed, or a single value for all.
    """
    differences = np.asarray(trained) - np.asarray(baseline)
    interval = seed_interval(differences.tolist())
    if interval is None:
        raise SystemExit("margins need two seeds or more")
    return float(differences.mean()), *interval


def by_seed(entries: Sequence[TrialEntry], metrics: Mapping[str, Mapping[str, float]], name: str) -> list[float]:
    """Return a metric of each trial, ordered by seed."""
    ordered = sorted(entries, key=lambda entry: int(entry.config["seed"]))
    return [metrics[entry.trial_id][name] for entry in ordered]


def main() -> None:
    """Print one line per metric and baseline."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweep")
    parser.add_argument("--storage", default=str(DEFAULT_STORAGE))
    parser.add_argument("--metric", nargs="+", default=["test/knn_top1", "test/linear_top1"])
    options = parser.parse_args()
    storage = SweepStorage(options.storage)
    sweep = storage.record(options.sweep)
    metrics = {entry.trial_id: result_of(storage.trial(entry.trial_id)).metrics for entry in sweep.trials}
    trained = [entry for entry in sweep.trials if entry.baseline is None]
    for name in options.metric:
        values = by_seed(trained, metrics, name)
        print(f"{name}: trained {_percent(values)}")
        for kind in dict.fromkeys(entry.baseline for entry in sweep.trials if entry.baseline):
            baseline = by_seed([entry for entry in sweep.trials if entry.baseline == kind], metrics, name)
            mean, low, high = margin(values, baseline)
            print(
                f"  above {BASELINE_LABELS[kind]} ({_percent(baseline)}): "
                f"{100 * mean:+.1f} points, 95 % from {100 * low:+.1f} to {100 * high:+.1f}"
            )


def _percent(values: Sequence[float]) -> str:
    return ", ".join(f"{100 * value:.1f}" for value in values)


if __name__ == "__main__":
    main()
