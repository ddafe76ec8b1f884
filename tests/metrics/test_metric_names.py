"""Names of metrics of single labels: unique, legal in MLflow, and those of plain labels as they always were."""

import pytest

from trainables.metrics import names
from trainables.metrics.names import better_when, bounds, has_direction, is_share, label_part, label_parts

SETS = [
    ["日本", "C", "C++", "C#"],
    ["Forest", "forest", "FOREST"],
    ["A/B", "A B", "a_b", "a-b"],
    ["+", "#", "!", "...", "日本", "日本語"],
    ["caf\xe9", "cafe\u0301", "cafe"],
    ["हिन्दी", "हिन", "\U0001f600", "a\u200bb", "ab"],
]


@pytest.mark.parametrize("labels", SETS)
def test_parts_are_unique_legal_and_lead_back_to_the_labels(labels: list[str]) -> None:
    validation = pytest.importorskip("mlflow.utils.validation")
    parts = label_parts(labels)
    assert list(dict(zip(parts, labels, strict=True)).values()) == labels
    assert len(set(parts)) == len(labels)
    for part in parts:
        assert part
        assert "/" not in part
        validation._validate_metric_name(f"test/linear_average_precision/{part}")


def test_plain_labels_keep_their_parts() -> None:
    plain = {"Sea and ocean": "sea_and_ocean", "Transitional woodland/shrub": "transitional_woodland_shrub", "C": "c"}
    assert label_parts(list(plain)) == list(plain.values())
    assert [label_part(label) for label in ("日本", "C++", "C#")] == ["日本", "c.2b.2b", "c.23"]


def test_a_metric_of_a_label_is_of_its_kind_whatever_the_label_is_called() -> None:
    for label in ("forest_loss", "lidar", "collapsed", "high_rank"):
        metric = f"val/linear_average_precision/{label}"
        assert (better_when(metric), is_share(metric), has_direction(metric)) == ("max", True, True), label
        assert bounds(f"val/linear_f1_at_half/{label}") == (0.0, 1.0)


def test_flags_counts_rates_fitted_penalties_and_speeds_rank_nothing() -> None:
    none = (
        *("val/collapsed", "val/labels_evaluated", "val/knn_labels_evaluated", "val/linear_scale", "val/scale"),
        *(names.LEARNING_RATE, names.CONTRASTIVE_ENTROPY, names.OTHER_DATE, names.LINEAR_REGULARISATION),
        *(names.LINEAR_UNCONVERGED, *names.OF_THE_MACHINE),
    )
    assert [metric for metric in none if has_direction(metric)] == []
