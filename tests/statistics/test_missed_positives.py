"""Why positives are missed, on made-up classifiers whose answer is known."""

from pathlib import Path

import numpy as np
import pytest
import torch
from support.small_trials import MULTI, changed, files_in, final_metrics

from sweep.statistics.image_metrics import ClassOutputs, outputs_of, statistic_of
from sweep.statistics.label_metrics import LabelOutputs
from sweep.statistics.missed_positives import ComparedClassifier, missed
from trainables.data.store import ImageStore
from trainables.evaluation.curves import metrics_at

COUNT = 4000


def binary(seed: int, *, separation: float, shift: float = 0.0, share: float = 0.2) -> ClassOutputs:
    """Return a classifier whose log odds are those of two normals `separation` apart, off by `shift`."""
    random = np.random.default_rng(seed)
    positive = np.arange(COUNT) < share * COUNT
    odds = (
        separation * (random.normal(size=COUNT) + separation * (positive - 0.5)) + np.log(share / (1 - share)) + shift
    )
    logits = np.stack([np.zeros(COUNT), odds], axis=1)
    return ClassOutputs(
        labels=positive.astype(np.int64),
        predicted=logits.argmax(axis=1),
        positive=np.array([False, True]),
        logits=logits,
        images=tuple(map(str, range(COUNT))),
    )


def head(name: str, seed: int, **about: float) -> ComparedClassifier:
    return ComparedClassifier(name, binary(seed, **about), binary(seed + 1, **about))


def test_a_shifted_threshold_is_told_from_better_features() -> None:
    plain, alike = head("plain", 0, separation=1.2), head("alike", 0, separation=1.2, shift=1.4)
    better = head("better", 0, separation=2.0)
    answer = missed([plain, alike, better], wanted=None)
    assert answer is not None
    usual, weighed, features = answer.findings
    assert usual.usual.sensitivity < 0.45 < 0.65 < weighed.usual.sensitivity  # imbalance
    assert usual.balanced.sensitivity > 0.65
    # The same scores but for a shift: nothing changes at one specificity.
    assert weighed.difference == pytest.approx(0.0, abs=0.01)
    assert weighed.roc_auc == pytest.approx(usual.roc_auc)
    assert "no difference from plain" in answer.sentences[2]
    assert features.difference is not None
    assert features.difference > 0.2
    assert "more than plain" in answer.sentences[3]
    for finding in answer.findings:
        assert finding.level.specificity == pytest.approx(answer.specificity, abs=0.03)
    first = metrics_at(0.5, plain.validation.positive_scores, plain.validation.positive_truth)
    assert answer.specificity == first["specificity"]


def test_a_wanted_specificity_is_aimed_at_and_what_came_of_it_is_said() -> None:
    answer = missed([head("plain", 0, separation=1.2)], wanted=0.6)
    assert answer is not None
    (finding,) = answer.findings
    assert answer.specificity == 0.6
    assert finding.level.specificity == pytest.approx(0.6, abs=0.03)
    assert finding.level.specificity != 0.6
    assert len(answer.sentences) == 1


def test_a_split_with_one_side_has_no_answer() -> None:
    both = binary(0, separation=1.0)
    negatives = both.of(~both.positive_truth)
    assert missed([ComparedClassifier("plain", both, negatives)], wanted=None) is None
    assert missed([ComparedClassifier("plain", negatives, both)], wanted=None) is None


def test_each_labels_share_is_found_among_those_that_carry_it() -> None:
    truth = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 1], [0, 0, 1]], dtype=bool)
    scores = np.array([[0.9, 0, 0], [0.1, 0.2, 0], [0, 0.7, 0], [0.3, 0, 1], [0, 0, 1]])
    outputs = LabelOutputs(truth, scores, tuple("abcde"), np.array([True, True, False]))
    answer = missed(
        [ComparedClassifier("every label", outputs, outputs)], wanted=0.9, labels=("field", "meadow", "sea")
    )
    assert answer is not None
    (finding,) = answer.findings
    assert finding.usual.sensitivity == pytest.approx(2 / 3)
    assert finding.by_label == {"field": (0.5, 2), "meadow": (0.5, 2)}


def test_a_rule_over_several_labels_is_evaluated_as_it_is_resampled(patches: ImageStore, tmp_path: Path) -> None:
    folder = tmp_path
    config = changed(**{**MULTI, "positive": ("Pastures", "Mixed forest"), "wanted_specificity": 0.5})
    metrics = final_metrics(config, folder, store=patches)
    files = files_in(folder)
    final, table = files.final(), files.outputs("test")
    assert final is not None
    assert table is not None
    assert set(final.positive) == {"Pastures", "Mixed forest"}
    for name in ("sensitivity", "specificity", "balanced_accuracy", "roc_auc", "pr_auc"):
        outputs = outputs_of(table, final.classes, final.positive, f"test/linear_{name}")
        assert isinstance(outputs, LabelOutputs)
        statistic = statistic_of(f"test/linear_{name}", outputs)
        assert statistic is not None
        assert statistic(np.ones((1, len(table))))[0] == pytest.approx(metrics[f"test/linear_{name}"], nan_ok=True)
    assert "test/linear_specificity_at_val_specificity_0.5" in metrics
    assert torch.isfinite(torch.tensor(metrics["test/linear_average_precision_macro"]))
