"""Plans of stores without labels: which objective ranks the settings, and the ways out where it can't."""

import pytest

from sweep.planning.plan import Plan, make_plan
from sweep.planning.plan_table import summary
from sweep.planning.trial import DataSize
from sweep.running.run_location import RunLocation
from sweep.running.run_request import RunRequest
from sweep.space import Grid, Halving, RankingObjective, SearchSpace, Stage
from trainables.data.bands import named_bands
from trainables.data.store_info import StoreInfo
from trainables.data.store_targets import other_values
from trainables.errors import BadInputError

SIZES = {
    "pool": DataSize(900, 100, 0, "aa", "prepared", unlabelled={"train": 900, "test": 100}),
    "partly": DataSize(900, 100, 3, "bb", "prepared", class_names=("a", "b", "c"), unlabelled={"train": 800}),
    "tons": DataSize(900, 100, 0, "dd", "prepared", number=True),
    "trees": DataSize(900, 100, 3, "cc", "prepared", class_names=("a", "b", "c")),
}


def plan_of(metric: str, dataset: str = "pool", halving: Halving | None = None, **base: object) -> Plan:
    space = SearchSpace(
        name="x",
        description="x",
        base={"dataset": dataset, "validation_fraction": 0.1, "epochs": 4, **base},
        stages=(Stage("grid", (Grid(axes={"temperature": (0.1, 0.5)}),), halving=halving),),
        objective=RankingObjective(metric),
        columns=("test/linear_top1",),
    )
    return make_plan(space, assignments={}, size_of=SIZES.__getitem__)


@pytest.mark.parametrize("metric", ["val/knn_top1", "test/linear_top1", "val/linear_sensitivity"])
def test_an_objective_that_needs_labels_is_refused_with_the_ways_out(metric: str) -> None:
    with pytest.raises(BadInputError) as caught:
        plan_of(metric)
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"objective: {metric!r} needs labels, and pool has none: rank without them (--objective")
    for way in ("val/lidar", "val/embedding_rank", "evaluation_dataset=NAME", "sweep.data label pool --table FILE"):
        assert way in line


@pytest.mark.parametrize(("metric", "meant"), [("lidar", "val/lidar"), ("val/lida", "val/lidar")])
def test_a_metric_that_doesnt_exist_needs_no_labels(metric: str, meant: str) -> None:
    with pytest.raises(
        BadInputError, match=rf"'{metric}' isn't a metric of the trials of pool .*; did you mean '{meant}'"
    ):
        plan_of(metric)
    with pytest.raises(BadInputError, match=r"'collapsd' isn't .*; it has: train/(?!.*collapsed).*uniformity"):
        plan_of("collapsd")


def test_halving_without_labels_takes_what_each_epoch_has() -> None:
    assert plan_of("val/lidar", halving=Halving("val/embedding_rank")).trials
    with pytest.raises(BadInputError, match=r"halving, at epoch 1: 'val/knn_top1' needs labels"):
        plan_of("val/lidar", halving=Halving("val/knn_top1"))
    with pytest.raises(BadInputError, match=r"halving, at epoch 1: 'val/lidar' isn't a metric"):
        plan_of("val/lidar", halving=Halving("val/lidar"))


def test_the_plan_says_which_objective_is_used_and_why() -> None:
    said = "\n".join(summary(plan_of("val/lidar")))
    assert "ranked by val/lidar, larger is better: a metric without labels, as pool has no labels" in said
    assert "pool: 900 train and 100 test images (prepared sizes), none with labels" in said
    said = "\n".join(summary(plan_of("val/knn_top1", evaluation_dataset="trees")))
    assert "ranked by val/knn_top1, larger is better: by the labels of trees" in said
    said = "\n".join(summary(plan_of("val/knn_top1", "partly")))
    assert "200 of 1,000 with labels" in said


def test_an_objective_on_the_command_line_has_its_own_direction() -> None:
    request = RunRequest(RunLocation("sweeps"), space="quickstart", objective="val/alignment")
    assert request.launch.written is not None
    assert request.launch.written["objective"] == {"metric": "val/alignment", "direction": "min"}
    with pytest.raises(BadInputError, match="a sweep keeps its objective; add --space NAME"):
        _ = RunRequest(RunLocation("sweeps"), objective="val/alignment").launch


def test_a_metric_of_the_other_kind_of_target_is_named_as_such() -> None:
    with pytest.raises(BadInputError, match=r"'val/linear_r2' isn't a metric .*: it measures predicted numbers; "):
        plan_of("val/linear_r2", "trees")
    with pytest.raises(BadInputError, match=r"'val/linear_top1' isn't a metric .*: it measures predicted classes; "):
        plan_of("val/linear_top1", "tons", target="number")


def test_stores_of_other_bands_or_values_are_refused_by_the_plan() -> None:
    def told(bands: tuple[str, ...], dtype: str) -> list[str]:
        own = StoreInfo.model_construct(
            name="pool", bands=named_bands(("B04", "B03")), dtype="uint8", channels=2, options={}
        )
        other = StoreInfo.model_construct(
            name="judge", bands=named_bands(bands), dtype=dtype, channels=len(bands), options={}
        )
        return other_values(own, other)

    assert told(("B04", "B03"), "uint8") == []
    assert told(("B04", "B03"), "uint16")[0].startswith("evaluation_dataset: judge has values of uint16, pool of uint8")
    assert told(("B03", "B04"), "uint8")[0].startswith("evaluation_dataset: judge has the bands B03, B04, pool has B04")
    assert told(("B04",), "uint8")[0].startswith("evaluation_dataset: judge has 1 channels, pool has 2")
