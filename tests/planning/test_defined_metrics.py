"""Objectives that the counts of a store rule out are refused by the plan."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.stores import made

from sweep.planning import dataset_sizes
from sweep.planning.dataset_sizes import check_data, check_questions, size_of
from sweep.planning.plan import make_plan
from sweep.space import Grid, Objective, SearchSpace, Stage
from trainables.data.catalog import StoreInfo
from trainables.errors import BadInputError

FIELDS: dict[str, Any] = {"dataset": "digits", "batch_size": 8, "epochs": 1, "warmup_epochs": 0, "encoder": "resnet10"}


@pytest.fixture
def info(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StoreInfo:
    """Of digits; the class 3 is in no held-out image, and every held-out image is positive by the rule `all`."""
    monkeypatch.setenv("SWEEP_DATA", str(tmp_path))
    own = made("digits", tmp_path).info
    test = tuple(0 if digit == 3 else count for digit, count in enumerate(own.class_counts["test"]))
    rules = {"all": own.class_names}
    return own.model_copy(
        update={
            "class_counts": {**own.class_counts, "test": test, "train": own.class_counts["train"]},
            "rules": rules,
            "rule_counts": {"all": dict(own.splits)},
        }
    )


@pytest.mark.parametrize(
    ("metric", "positive", "words"),
    [
        ("test/sensitivity", ("3",), "none of the .* test images of digits is positive by '3'"),
        ("test/linear_balanced_accuracy", ("3",), "is positive by '3'"),
        ("test/pr_auc", ("3",), "is positive by '3'"),
        ("test/linear_roc_auc", ("3",), "is positive by '3'"),
        ("test/specificity", ("all",), "isn't positive by 'all'"),
        ("val/linear_roc_auc", ("all",), "none of the .* train images of digits isn't positive"),
        ("test/sensitivity", ("4",), ""),
        ("test/accuracy", ("3",), ""),
        ("test/specificity", ("3",), ""),
        ("val/sensitivity", ("3",), ""),
    ],
)
def test_an_undefined_objective_is_refused(
    metric: str, positive: tuple[str, ...], words: str, info: StoreInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = {**FIELDS, "target": "positive", "positive": positive, "validation_fraction": 0.1}
    space = SearchSpace(
        name="x",
        description="",
        stages=(Stage("grid", (Grid(base=base, axes={"temperature": [0.1, 0.5]}),)),),
        objective=Objective("test/top1"),
        baselines=(),
    )
    space = replace(space, objective=Objective(metric))
    monkeypatch.setattr(dataset_sizes, "prepared", lambda name: info)
    monkeypatch.setattr(dataset_sizes, "_info", lambda name: info)
    plan = make_plan(space, assignments={}, size_of=size_of)
    for check in (check_questions, check_data):
        if words:
            with pytest.raises(BadInputError, match=f"objective: '{metric}' is undefined: .*{words}"):
                check(plan)
        else:
            check(plan)
