"""Columns of a table whose space names none: the objective's classifier on test, or that of frozen features."""

from dataclasses import replace

import pytest
from support.small_sweeps import seeded

from sweep.comparison.conclusions import conclusions
from sweep.comparison.default_columns import default_columns
from sweep.comparison.ranking import compare
from sweep.comparison.table import ComparisonTable
from sweep.records.sweep_record import SweepRecord

SIDES = ("sensitivity", "specificity", "accuracy")


def of(method: str, *metrics: str) -> tuple[str, ...]:
    return tuple(f"test/{method}{name}" for name in metrics)


POSITIVE = {*of("linear_", "balanced_accuracy", "top1", *SIDES), *of("knn_", "top1", *SIDES), "val/knn_top1"}
"""Metrics of a trial that has a rule of positives."""


@pytest.mark.parametrize(
    ("objective", "known", "columns"),
    [
        ("val/lidar", POSITIVE, of("linear_", "balanced_accuracy", *SIDES)),
        ("val/alignment", of("linear_", "top1"), of("linear_", "top1")),
        ("val/uniformity", of("linear_", "rmse", "r2"), of("linear_", "r2", "rmse")),
        ("val/lidar", {"test/lidar", "val/lidar"}, of("", "lidar")),
        ("val/knn_top1", POSITIVE, of("knn_", "top1", *SIDES)),
        ("test/linear_specificity", POSITIVE, of("linear_", "specificity", "sensitivity", "accuracy")),
    ],
)
def test_they_are_of_one_classifier_on_test(objective: str, known: set[str], columns: tuple[str, ...]) -> None:
    assert default_columns(objective, known) == columns


def ranked_without_labels(columns: tuple[str, ...], pixels: float = 0.8) -> tuple[SweepRecord, ComparisonTable]:
    """Return a sweep ranked by LiDAR whose settings were evaluated with labels, as were raw pixels."""
    sweep, found = seeded({0.1: [0.7], 0.5: [0.9]})
    sweep = sweep.model_copy(update={"objective": "val/lidar", "columns": columns})
    for entry in sweep.trials:
        good = pixels if entry.baseline == "pixels" else found[entry.trial_id].metrics["val/knn_top1"]
        metrics = {"test/linear_top1": good, "test/linear_sensitivity": good, "test/linear_specificity": good}
        lidar = {} if entry.baseline else {"val/lidar": 10 * good}
        found[entry.trial_id] = replace(found[entry.trial_id], metrics={**metrics, **lidar})
    (table,) = compare(sweep, lambda entry: found[entry.trial_id])
    return sweep, table


@pytest.mark.parametrize("columns", [(), ("test/top1",)])  # the probe, which a second data set has not
def test_a_ranking_without_labels_is_shown_beside_what_the_labels_say(columns: tuple[str, ...]) -> None:
    sweep, table = ranked_without_labels(columns)
    assert table.metrics == ("val/lidar", "test/linear_top1", "test/linear_sensitivity", "test/linear_specificity")
    sentences = conclusions(sweep, table)
    assert sentences[0] == "Best on validation: temperature 0.5 (LiDAR 9)."
    assert sentences[1].startswith("Only one seed per setting")
    assert sentences[2] == (
        "On test logistic regression 90.0 %, sensitivity 90.0 %, specificity 90.0 %; untrained encoder 30.0 %, raw "
        "pixels 80.0 %."
    )
    assert not any("no better than" in sentence for sentence in sentences)


def test_a_baseline_that_does_better_on_test_is_named() -> None:
    sweep, table = ranked_without_labels((), pixels=0.95)
    assert "On test it does no better than raw pixels." in conclusions(sweep, table)


def test_named_columns_are_shown_alone() -> None:
    assert ranked_without_labels(("test/linear_sensitivity",))[1].metrics == ("val/lidar", "test/linear_sensitivity")
