"""Which metric without labels to trust: said where there are labels and settings enough, and only there."""

from dataclasses import replace

import numpy as np
import pytest
from support.small_sweeps import seeded

from sweep.comparison.conclusions import notes
from sweep.comparison.label_free_ranking import LabelFreeRankings, label_free_rankings
from sweep.comparison.ranking import compare

LABELLED = "val/knn_top1"


def rankings(
    settings: int, *, labels: bool = True, objective: str = LABELLED
) -> tuple[LabelFreeRankings | None, list[str]]:
    """Return what is said of settings whose rank follows the labels, and whose alignment does so in reverse."""
    values = np.random.default_rng(0).permutation(settings) / settings
    sweep, found = seeded({0.1 + 0.01 * number: [float(value)] for number, value in enumerate(values)})
    direction = "max" if objective == LABELLED else "min"
    sweep = sweep.model_copy(update={"objective": objective, "direction": direction})
    for trial, result in found.items():
        good = result.metrics[LABELLED]
        free = {
            "val/embedding_rank": 10 * good,
            "val/alignment": 2 - good,
            "val/uniformity": good,
            "val/alpha_req": 1.0,
        }
        found[trial] = replace(result, metrics={**(result.metrics if labels else {}), **free})
    (table,) = compare(sweep, lambda entry: found[entry.trial_id])
    return label_free_rankings(sweep, table), notes(sweep, [table])


def test_each_metric_is_turned_so_that_better_is_better() -> None:
    found, said = rankings(12)
    assert found is not None
    assert {metric: one.tau for metric, one in found.agreements.items()} == pytest.approx(
        {"val/embedding_rank": 1.0, "val/alignment": 1.0, "val/uniformity": -1.0}
    )
    assert list(found.agreements)[-1] == "val/uniformity"
    assert found.sentence() in said
    assert "rank the 12 settings, compared with top-1 accuracy (nearest neighbours, valid" in found.sentence()
    assert "embedding rank 1.00 (" in found.sentence()


def test_few_settings_say_so_and_two_say_nothing() -> None:
    found, said = rankings(6)
    assert found is not None
    assert "too few settings (6; 10 are needed)" in found.sentence()
    assert found.sentence() in said
    assert rankings(2)[0] is None


def test_without_labels_there_is_nothing_to_judge_by() -> None:
    assert rankings(12, labels=False, objective="val/alignment")[0] is None


def test_an_objective_without_labels_is_judged_by_a_column_with_labels() -> None:
    found, _ = rankings(12, objective="val/alignment")
    assert found is not None
    assert found.judge == "test/top1"
    assert found.agreements["val/alignment"].tau == pytest.approx(1.0)
