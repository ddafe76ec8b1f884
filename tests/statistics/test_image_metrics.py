"""Metrics of resampled images are the evaluation's own; intervals and pairs from outputs as a trial writes them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest
from statsmodels.stats.contingency_tables import mcnemar as oracle
from support.small_trials import changed, files_in, final_metrics

from sweep.statistics.confusion import outputs_confusion
from sweep.statistics.image_metrics import ClassOutputs, outputs_of, statistic_of
from sweep.statistics.metric_intervals import paired, sampling_interval
from trainables.data.store import ImageStore

KNOWN = [
    *(f"{method}{name}" for method in ("", "linear_") for name in ("top1", "sensitivity", "specificity", "accuracy")),
    *(f"{method}{name}" for method in ("", "linear_") for name in ("balanced_accuracy", "roc_auc", "pr_auc")),
    *(f"knn_{name}" for name in ("top1", "sensitivity", "specificity", "accuracy", "balanced_accuracy")),
]


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory, store: ImageStore) -> tuple[Path, dict[str, float]]:
    folder = tmp_path_factory.mktemp("trial")
    return folder, final_metrics(changed(max_test_images=200), folder, store=store)


def outputs(folder: Path, metric: str) -> ClassOutputs:
    files = files_in(folder)
    final, table = files.final(), files.outputs(metric.partition("/")[0])
    assert final is not None
    assert table is not None
    found = outputs_of(table, final.classes, final.positive, metric)
    assert found is not None
    return found


@pytest.mark.parametrize("name", KNOWN)
@pytest.mark.parametrize("split", ["val", "test"])
def test_every_metric_of_single_images_is_what_the_trial_evaluated(
    trial: tuple[Path, dict[str, float]], split: str, name: str
) -> None:
    folder, metrics = trial
    found = outputs(folder, f"{split}/{name}")
    statistic = statistic_of(f"{split}/{name}", found)
    assert statistic is not None
    assert statistic(np.ones((1, len(found.labels))))[0] == pytest.approx(metrics[f"{split}/{name}"], abs=1e-6)
    interval = sampling_interval(f"{split}/{name}", [found])
    assert interval is not None
    assert 0.0 <= interval.low <= metrics[f"{split}/{name}"] <= interval.high <= 1.0
    assert interval.high - interval.low < 0.6


def test_what_isnt_of_single_images_is_left_to_others(trial: tuple[Path, dict[str, float]]) -> None:
    folder, _ = trial
    found = outputs(folder, "test/top1")
    assert statistic_of("test/loss", found) is None
    assert statistic_of("test/top5", found) is None
    assert statistic_of("test/sensitivity", replace(found, positive=np.zeros(10, dtype=bool))) is None
    assert sampling_interval("test/uniformity", [found]) is None
    assert sampling_interval("test/top1", []) is None


def test_the_confusion_matrix_is_of_the_same_outputs(trial: tuple[Path, dict[str, float]]) -> None:
    folder, _ = trial
    files, found = files_in(folder), outputs(folder, "test/linear_top1")
    final, table = files.final(), files.outputs("test")
    assert final is not None
    assert table is not None
    matrix = outputs_confusion(table, final.classes, column="linear_logits")
    assert matrix.trace() == found.right.sum()


def made(right: np.ndarray, *, tiled: bool = False) -> ClassOutputs:
    """Return outputs of two classes that are right where told."""
    labels = np.arange(len(right)) % 2
    names = tuple(
        f"S2A_MSIL2A_201706{n % 8 + 10}T101031_{n // 8}_{n % 5}" if tiled else f"{n}" for n in range(len(right))
    )
    return ClassOutputs(labels, np.where(right, labels, 1 - labels), np.array([False, True]), None, names)


def test_shares_of_one_trial_have_wilsons_interval_and_tiles_or_seeds_the_bootstrap() -> None:
    random = np.random.default_rng(0)
    right = random.random(160) < 0.8
    wilson = tuple(binomtest(int(right.sum()), 160).proportion_ci(method="wilson"))
    by_image = sampling_interval("test/knn_top1", [made(right)])
    assert by_image is not None
    assert tuple(by_image) == pytest.approx(wilson)
    by_tile = sampling_interval("test/knn_top1", [made(right, tiled=True)])
    assert by_tile is not None
    assert tuple(by_tile) != pytest.approx(wilson)
    seeds = [made(random.random(160) < 0.8) for _ in range(3)]
    mean = float(np.mean([outputs.right.mean() for outputs in seeds]))
    together = sampling_interval("test/knn_top1", seeds)
    assert together is not None
    assert together.low < mean < together.high
    one = made(right, tiled=True).of(np.arange(160) % 8 == 0)
    assert sampling_interval("test/knn_top1", [one]) is None, "a single tile says nothing of others"


def test_pairs_are_compared_image_by_image() -> None:
    random = np.random.default_rng(1)
    hard = random.random(400)
    one, other = made(hard < 0.85), made(hard < 0.80)
    pair = paired("test/knn_top1", [one], [other])
    assert pair is not None
    assert pair.difference == pytest.approx(one.right.mean() - other.right.mean())
    table = [[int((a & b).sum()) for b in (other.right, ~other.right)] for a in (one.right, ~one.right)]
    assert pair.p_value == pytest.approx(oracle(table, exact=True).pvalue)
    assert pair.interval is not None
    # The same images are hard for both: apart, the intervals would overlap.
    assert pair.interval.low > 0
    assert paired("test/knn_top1", [one], [made(hard[:200] < 0.5)]) is None
    seeds = paired("test/knn_top1", [one, one], [other, other])
    assert seeds is not None
    assert seeds.p_value is None
    assert seeds.difference == pytest.approx(pair.difference)
