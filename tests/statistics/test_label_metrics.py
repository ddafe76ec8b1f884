"""Average precisions of resampled images are scikit-learn's; intervals and pairs of several labels an image."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from support.small_trials import MULTI, changed, files_in, final_metrics

from sweep.statistics.image_metrics import outputs_of, statistic_of
from sweep.statistics.label_metrics import WEIGHINGS, LabelOutputs, bounded_resamples
from sweep.statistics.metric_intervals import paired, sampling_interval
from trainables.data.store import ImageStore
from trainables.evaluation.multilabel import average_precisions, mean_of_known, micro_average_precision

MACRO, MICRO = "test/linear_average_precision_macro", "test/linear_average_precision_micro"


def drawn(count: int, random: np.random.Generator, *, noise: float = 1.0) -> LabelOutputs:
    """Return outputs of four labels, of which the last has no image, with scores that have ties."""
    truth = random.random((count, 4)) < (0.1, 0.3, 0.6, 0.0)
    scores = np.round(1 / (1 + np.exp(-noise * random.normal(size=(count, 4)) - truth)), 1)
    return LabelOutputs(truth, scores, tuple(map(str, range(count))), np.zeros(truth.shape[1], dtype=bool))


def measured(metric: str, outputs: LabelOutputs, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    statistic = statistic_of(metric, outputs)
    assert statistic is not None
    return statistic(weights)


def test_weighted_precisions_are_those_of_images_that_come_several_times() -> None:
    random = np.random.default_rng(0)
    outputs = drawn(60, random)
    weights = random.integers(0, 4, (2 * WEIGHINGS + 3, 60)).astype(np.float64)
    weights[5, outputs.truth[:, 0]] = 0  # a sample in which nothing carries the first label
    for row, macro, micro in zip(
        weights, measured(MACRO, outputs, weights), measured(MICRO, outputs, weights), strict=True
    ):
        scores, truth = (np.repeat(values, row.astype(int), axis=0) for values in (outputs.scores, outputs.truth))
        assert macro == pytest.approx(mean_of_known(average_precisions(scores, truth)), abs=1e-6)
        assert micro == pytest.approx(micro_average_precision(scores, truth), abs=1e-6)
    nothing = np.zeros((1, 60))
    assert np.isnan([measured(metric, outputs, nothing)[0] for metric in (MACRO, MICRO)]).all()


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory, patches: ImageStore) -> tuple[Path, dict[str, float]]:
    folder = tmp_path_factory.mktemp("labels")
    return folder, final_metrics(changed(dataset="bigearthnet_v1", image_size=24, **MULTI), folder, store=patches)


@pytest.mark.parametrize("method", ["", "linear_", "knn_"])
@pytest.mark.parametrize("average", ["macro", "micro"])
def test_they_are_what_the_trial_evaluated(trial: tuple[Path, dict[str, float]], method: str, average: str) -> None:
    folder, metrics = trial
    files = files_in(folder)
    final, table = files.final(), files.outputs("test")
    assert final is not None
    assert table is not None
    metric = f"test/{method}average_precision_{average}"
    found = outputs_of(table, final.classes, final.positive, metric)
    assert isinstance(found, LabelOutputs)
    assert found.truth.sum(axis=1).max() > 1
    assert measured(metric, found, np.ones((1, len(found.images))))[0] == pytest.approx(metrics[metric], abs=1e-6)
    assert statistic_of("test/f1_macro_at_half", found) is None
    # All patches are of one acquisition, which says nothing of others.
    assert sampling_interval(metric, [found]) is None
    apart = replace(found, images=tuple(map(str, range(len(found.images)))))
    interval = sampling_interval(metric, [apart])
    assert interval is not None
    assert 0.0 <= interval.low <= metrics[metric] + 1e-6
    assert metrics[metric] - 1e-6 <= interval.high <= 1.0


@pytest.mark.slow
@pytest.mark.parametrize("metric", [MACRO, MICRO])
def test_the_interval_covers_the_precision_of_all_images(metric: str) -> None:
    random = np.random.default_rng(1)
    whole = drawn(100_000, random)
    truth = float(measured(metric, whole, np.ones((1, 100_000)))[0])
    covered = 0
    for _ in range(100):
        interval = sampling_interval(metric, [drawn(250, random)])
        assert interval is not None
        covered += interval.low <= truth <= interval.high
    assert 0.86 <= covered / 100 <= 1.0, "95 % within four standard errors"


def test_tiles_are_drawn_whole() -> None:
    outputs = drawn(240, np.random.default_rng(2))
    alone = sampling_interval(MACRO, [outputs])
    names = tuple(f"S2A_MSIL2A_201706{n // 60 + 10}T101031_{n % 60}_5" for n in range(240))
    by_tile = sampling_interval(MACRO, [replace(outputs, images=names)])
    assert alone is not None
    assert by_tile is not None
    assert by_tile != alone


def test_pairs_are_compared_image_by_image() -> None:
    random = np.random.default_rng(3)
    one = drawn(300, random, noise=2.0)
    # The same mistakes, and some more in half of the images.
    scores = np.clip(one.scores - 0.1 * one.truth * (np.arange(300) % 2)[:, None], 0, 1)
    other = replace(one, scores=scores)
    pair = paired(MACRO, [one], [other])
    assert pair is not None
    once = np.ones((1, 300))
    assert pair.difference == pytest.approx(measured(MACRO, one, once)[0] - measured(MACRO, other, once)[0])
    assert pair.interval is not None
    assert 0 < pair.interval.low < pair.difference < pair.interval.high
    assert pair.p_value is None
    apart = [sampling_interval(MACRO, [outputs]) for outputs in (one, other)]
    assert apart[0] is not None
    assert apart[1] is not None
    assert apart[0].low < apart[1].high, "apart, the intervals overlap"
    assert paired(MACRO, [one], [replace(other, images=one.images[::-1])]) is None
    seeds = paired(MACRO, [one, one], [other])
    assert seeds is not None
    assert seeds.difference == pytest.approx(pair.difference)


def test_many_images_and_labels_get_fewer_samples() -> None:
    def sized(images: int, labels: int) -> LabelOutputs:
        return LabelOutputs(
            np.zeros((images, labels), dtype=bool), np.zeros((images, labels)), (), np.zeros(labels, dtype=bool)
        )

    assert bounded_resamples(sized(1_000, 19)) == 2000
    assert bounded_resamples(sized(36_610, 43)) == 317
    assert bounded_resamples(sized(500_000, 43)) == 200
