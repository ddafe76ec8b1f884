"""Names of metrics of single labels: unique, legal in MLflow, and those of plain labels as they always were."""

import pytest

from trainables.metrics.names import label_part, label_parts

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
