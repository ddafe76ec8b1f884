"""Records of sweeps that nobody ran, for what is computed from records."""

from sweep.planning.plan import make_plan
from sweep.planning.trial import DataSize
from sweep.records.sweep_record import SweepRecord, describe
from sweep.records.trial_result import TrialResult
from sweep.space import Grid, RankingObjective, SearchSpace, Stage


def seeded(values: dict[float, list[float]]) -> tuple[SweepRecord, dict[str, TrialResult]]:
    """Return a sweep over temperatures, each with a seed a value, and its results; NaN stands for a failed trial."""
    space = SearchSpace(
        name="seeded",
        description="temperatures with seeds",
        base={"dataset": "tiny_imagenet", "validation_fraction": 0.1},
        stages=(Stage("grid", (Grid(axes={"temperature": tuple(values)}),)),),
        objective=RankingObjective("val/knn_top1"),
        columns=("test/top1",),
        seeds=tuple(range(max(map(len, values.values())))),
        baselines=("untrained", "pixels"),
    )
    plan = make_plan(
        space, assignments={}, size_of=lambda name: DataSize(100_000, 10_000, 200, "aa", "prepared"), smoke=False
    )
    sweep = describe(plan, name="seeded", command="", commit=None, versions={})
    found = {}
    for entry in sweep.trials:
        value = 0.3
        if entry.baseline is None:
            value = values[entry.config["temperature"]][entry.config["seed"]]
        metrics = {"val/knn_top1": value, "test/top1": value - 0.1}
        fine = TrialResult("finished", metrics, int(entry.config["epochs"]), 10.0)
        found[entry.trial_id] = fine if value == value else TrialResult("failed", {}, 0, 0.0, "crash: it fell over")
    return sweep, found


SMALL_SPACE = SearchSpace(
    name="small",
    description="two temperatures <b>with</b> seeds",
    base={
        "dataset": "digits",
        "image_size": 16,
        "positive": ("closed_loop",),
        "encoder": "resnet10",
        "width_factor": 1 / 16,
        "batch_size": 32,
        "epochs": 2,
        "warmup_epochs": 0,
        "max_train_images": 64,
        "max_test_images": 64,
        "validation_fraction": 0.2,
    },
    stages=(Stage("grid", (Grid(axes={"temperature": (0.2, 0.5)}),)),),
    objective=RankingObjective("val/knn_top1"),
    columns=("test/linear_top1", "test/linear_sensitivity", "test/linear_specificity"),
    seeds=(0, 1),
    baselines=("pixels",),
)
