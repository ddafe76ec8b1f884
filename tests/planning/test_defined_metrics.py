"""Objectives that the counts of a store rule out are refused by the plan."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.stores import made

from sweep.planning import dataset_sizes
from sweep.planning.dataset_sizes import check_data, check_questions, size_of
from sweep.planning.defined_metrics import JudgedMetric, check_defined
from sweep.planning.plan import Plan, make_plan
from sweep.space import Grid, Halving, RankingObjective, Search, SearchSpace, Stage
from trainables.config import TrialConfig
from trainables.data.evaluated_labels import evaluated_labels
from trainables.data.preparing.label_set import LabelRequest, attach_labels
from trainables.data.stable_hash import VALIDATION_SALT, stable_fraction
from trainables.data.store import ImageStore
from trainables.data.store_info import StoreInfo
from trainables.data.trial_data import TrialData
from trainables.errors import BadInputError
from trainables.metrics.names import better_when

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
        objective=RankingObjective("test/top1"),
        baselines=(),
    )
    space = replace(space, objective=RankingObjective(metric))
    monkeypatch.setattr(dataset_sizes, "prepared", lambda name: info)
    monkeypatch.setattr(dataset_sizes, "_info", lambda name: info)
    plan = make_plan(space, assignments={}, size_of=size_of)
    expect(plan, f"objective: '{metric}' is undefined: .*{words}" if words else "")


def expect(plan: Plan, words: str) -> None:
    for check in (check_questions, check_data):
        if words:
            with pytest.raises(BadInputError, match=words):
                check(plan)
        else:
            check(plan)


def test_positives_are_no_question_to_a_store_without_labels(info: StoreInfo) -> None:
    """The spaces that ship name positives; a pool is ranked by metrics without labels."""
    none = dict.fromkeys(info.splits, (0,))
    bare = info.model_copy(update={"class_names": (), "class_counts": none, "unlabelled": info.splits, "rules": {}})
    config = TrialConfig.parse({**FIELDS, "positive": ("farmland",), "validation_fraction": 0.1})
    check_defined(JudgedMetric("objective", "val/lidar", config), bare)


def pictures(root: Path, labels: Callable[[int], tuple[str, ...]], *, several: bool) -> ImageStore:
    """Prepare 60 images in a table, the last 20 of them for test, by the labels of each."""
    folder = root / "source"
    folder.mkdir()
    lines = ["path,label,split"]
    for number in range(60):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(folder / f"{number:02}.png")
        lines.append(f"{number:02}.png,{'|'.join(labels(number))},{'test' if number >= 40 else 'train'}")
    (folder / "labels.csv").write_text("\n".join(lines))
    table = {"table": folder / "labels.csv", **({"separator": "|"} if several else {})}
    return made("folder", root, source=folder, store_name="rare", **table)


def planned(metric: str, stage: Stage, **changes: Any) -> Plan:
    base = {**FIELDS, "dataset": "rare", "positive": ("rare",), "target": "positive", "epochs": 4, **changes}
    space = SearchSpace(
        name="x", description="", base=base, stages=(stage,), objective=RankingObjective(metric), baselines=()
    )
    return make_plan(space, assignments={}, size_of=size_of)


@pytest.fixture
def outside_the_slice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ImageStore:
    """Images of which train has positives, and the slice that 0.2 of it gives has none."""
    monkeypatch.setenv("SWEEP_DATA", str(tmp_path))
    names = [f"{number:02}.png" for number in range(40)]
    kept = [
        name for name, place in zip(names, stable_fraction(names, salt=VALIDATION_SALT), strict=True) if place > 0.2
    ]
    rare = {*map(int, (name[:2] for name in kept[:4])), 45}
    return pictures(tmp_path, lambda number: ("rare" if number in rare else "usual",), several=False)


GRID = Grid(axes={"temperature": [0.1, 0.5]})
SLICE = r"none of the \d+ validation images that validation_fraction 0.2 cuts from train of rare is positive by 'rare'"


@pytest.mark.usefixtures("outside_the_slice")
def test_a_validation_slice_without_positives_is_refused_also_where_train_has_some() -> None:
    stage = Stage("grid", (GRID,))
    expect(planned("val/roc_auc", stage, validation_fraction=0.2), f"objective: 'val/roc_auc' is undefined: {SLICE}")
    expect(planned("val/roc_auc", stage, validation_fraction=0.7), "")
    expect(planned("test/roc_auc", stage, validation_fraction=0.2), "")
    few = planned("test/roc_auc", stage, validation_fraction=0.2, max_test_images=1)
    expect(few, "none of the 1 evaluated test images of rare is")


@pytest.mark.usefixtures("outside_the_slice")
def test_a_halving_and_a_search_are_refused_by_their_own_metric() -> None:
    halved = Stage("grid", (GRID,), halving=Halving("val/sensitivity"))
    expect(
        planned("val/top1", halved, validation_fraction=0.2), f"halving in stage 'grid': 'val/sensitivity' .*{SLICE}"
    )
    expect(planned("val/top1", halved, validation_fraction=0.7), "")
    search = Stage("draws", search=Search({"temperature": [0.1, 0.5]}, 4, method="optuna"))
    expect(planned("val/sensitivity", search, validation_fraction=0.2), f"objective: 'val/sensitivity' .*{SLICE}")


def test_a_label_that_no_evaluated_image_carries_is_refused_by_the_name_in_its_metric(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWEEP_DATA", str(tmp_path))
    pictures(tmp_path, lambda number: ("a", "Very rare") if number == 3 else ("a", "b"), several=True)
    stage, fields = Stage("grid", (GRID,)), {"target": "labels", "positive": ()}
    expect(
        planned("test/linear_average_precision/very_rare", stage, **fields),
        "'test/linear_average_precision/very_rare' is undefined: none of the 20 test images .* label 'Very rare'",
    )
    expect(planned("test/linear_average_precision/b", stage, **fields), "")


@pytest.mark.parametrize(("share", "limit"), [(0.2, None), (0.5, 7)])
def test_the_labels_that_are_counted_are_those_that_a_trial_evaluates(
    share: float, limit: int | None, outside_the_slice: ImageStore
) -> None:
    found = evaluated_labels(outside_the_slice.info, outside_the_slice.path, validation_fraction=share, limit=limit)
    config = TrialConfig.parse(
        {**FIELDS, "dataset": "rare", "seed": 0, "validation_fraction": share, "max_test_images": limit}
    )
    evaluated = TrialData(config, outside_the_slice).evaluated
    assert set(found) == set(evaluated)
    for name, split in evaluated.items():
        assert (found[name] == outside_the_slice.label_matrix(split.rows).numpy()).all()


@pytest.mark.parametrize(
    ("metric", "refused"),
    [("test/linear_r2", True), ("test/knn_spearman", True), ("test/linear_rmse", False), ("val/linear_r2", False)],
)
def test_one_number_for_all_evaluated_images_is_refused(
    metric: str, refused: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWEEP_DATA", str(tmp_path))
    (tmp_path / "in").mkdir()
    for number in range(60):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / "in" / f"{number}.png")
    pool = made("folder", tmp_path, source=tmp_path / "in", store_name="pool")
    tested = set(pool.names(pool.split("test")))
    rows = [f"{number}.png,{3 if f'{number}.png' in tested else number}" for number in range(60)]
    (tmp_path / "t.csv").write_text("\n".join(["path,label", *rows]))
    attach_labels(LabelRequest("pool", tmp_path / "t.csv", "level", number=True))
    base = {**FIELDS, "dataset": "pool.level", "target": "number", "validation_fraction": 0.3}
    objective = RankingObjective(metric, better_when(metric))
    space = SearchSpace(name="x", description="x", base=base, stages=(Stage("a", (Grid(),)),), objective=objective)
    plan = make_plan(space, assignments={}, size_of=size_of)
    if not refused:
        check_data(plan)
        return
    words = "test images of pool.level have one number, 3; take RMSE or MAE, evaluate more images, or prepare"
    for check in (check_data, check_questions):
        with pytest.raises(BadInputError, match=f"objective: '{metric}' is undefined: the {len(tested)} .*{words}"):
            check(plan)
