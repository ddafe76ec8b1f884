"""What the comparison says in words: only what the numbers carry."""

import math

import numpy as np
import pytest
from support.small_sweeps import seeded

from sweep.comparison.conclusions import conclusions
from sweep.comparison.table import compare
from sweep.comparison.wording import described, metric_words
from sweep.statistics.image_metrics import Pair
from sweep.statistics.share_intervals import Interval


def said(values: dict[float, list[float]], pair: Pair | None = None) -> str:
    sweep, found = seeded(values)
    (table,) = compare(sweep, lambda entry: found[entry.trial_id])
    return " ".join(conclusions(sweep, table, pair))


def test_a_clear_best_is_said_with_its_interval() -> None:
    text = said({0.1: [0.50, 0.51, 0.52], 0.2: [0.80, 0.81, 0.82]})
    assert text.startswith(
        "On tiny_imagenet, temperature 0.2 does best by top-1 accuracy (nearest neighbours, validation"
    )
    assert "81.0 % (mean of 3 seeds, 95 % interval 78.5 to 83.5 %)" in text
    assert "The other 1 are worse" not in text
    assert "The other setting is worse beyond what seeds explain (95 %)." in text


def test_of_two_equal_settings_one_is_seldom_called_worse() -> None:
    """The word is about either one, so it takes half the error of dropping a given one."""
    random = np.random.default_rng(0)
    words = [said({0.1: list(one), 0.2: list(other)}) for one, other in random.normal(0.7, 0.01, (400, 2, 3))]
    worse = sum("The other setting is worse" in text for text in words) / len(words)
    alone = sum("It alone may be the best (95 %)." in text for text in words) / len(words)
    assert worse < 0.05 + 4 * math.sqrt(0.05 * 0.95 / 400)
    assert 0.02 < worse + alone < 0.10 + 4 * math.sqrt(0.1 * 0.9 / 400)


def test_several_that_may_be_best_are_named() -> None:
    text = said({0.1: [0.50, 0.51, 0.52], 0.2: [0.58, 0.60, 0.62], 0.5: [0.57, 0.59, 0.62]})
    assert "These seeds can't tell it from temperature 0.5 (95 %)." in text
    text = said({0.1: [0.58, 0.60, 0.63], 0.2: [0.58, 0.60, 0.62], 0.5: [0.57, 0.59, 0.62]})
    assert "can't tell it from any of the other 2 settings" in text


def test_one_seed_says_nothing_of_chance_but_compares_images() -> None:
    assert "With one seed a setting, how much of the order is chance isn't known." in said({0.1: [0.5], 0.2: [0.6]})
    pair = Pair(0.1, Interval(0.08, 0.12), 0.001)
    text = said({0.1: [0.5], 0.2: [0.6]}, pair)
    assert "isn't known; on the same images it is 10.0 points above temperature 0.1 (95 % from 8.0 to 12.0)." in text
    assert "interval" not in text


def test_baselines_that_do_better_and_settings_without_result_are_said() -> None:
    text = said({0.1: [0.2, 0.21, 0.22], 0.2: [0.25, 0.26, 0.27], 0.5: [math.nan, math.nan, math.nan]})
    assert "No setting does better than untrained encoder (30.0 %), raw pixels (30.0 %)." in text
    assert "1 of 3 settings have no result." in text
    assert said({0.1: [math.nan], 0.2: [math.nan]}) == "No setting on tiny_imagenet has finished yet."


@pytest.mark.parametrize(
    ("metric", "words"),
    [
        ("test/linear_sensitivity", "sensitivity (logistic regression, test split)"),
        ("val/knn_top1", "top-1 accuracy (nearest neighbours, validation split)"),
        ("test/roc_auc", "ROC AUC (linear probe, test split)"),
        ("train/contrastive_loss", "contrastive loss (train)"),
    ],
)
def test_metrics_have_words(metric: str, words: str) -> None:
    assert metric_words(metric) == words


def test_settings_have_words() -> None:
    assert (
        described({"batch_size": 64, "temperature": 0.25}, ("batch_size", "temperature"))
        == "batch size 64, temperature 0.25"
    )
    assert described({}, ()) == "the one setting"
