"""Large grid of settings and seeds for benchmarks/scale.py."""

from pathlib import Path

from sweep.planning.dataset_sizes import size_of
from sweep.planning.plan import Plan, make_plan
from sweep.space import load_space

EPOCHS, EPOCH_SECONDS, GPUS = 50, 5.0, 1000
TINY = {
    "dataset": "digits",
    "epochs": EPOCHS,
    "encoder": "resnet10",
    "width_factor": 0.0625,
    "image_size": 16,
    "projector_layers": 2,
    "batch_size": 32,
    "warmup_epochs": 0.0,
    "max_train_images": 64,
    "max_test_images": 64,
}
SPACE = """
from sweep.space import Grid, RankingObjective, SearchSpace, Stage

AXES = {{"temperature": (0.1, 0.2, 0.3, 0.5, 1.0), "base_learning_rate": (0.3, 1.0)}}
SPACE = SearchSpace(
    "scale", "a grid", (Stage("grid", (Grid(axes=AXES),)),), RankingObjective("val/knn_top1"),
    base={base}, seeds=tuple(range({seeds})), baselines=(),
)
"""


def space_file(trials: int, folder: Path) -> Path:
    """Write a search space of `trials` trials, a multiple of 10, and return its path."""
    space = folder / f"space_{trials}.py"
    space.write_text(SPACE.format(base=TINY, seeds=trials // 10))
    return space


def grid(trials: int, folder: Path) -> Plan:
    """Return the plan of that search space."""
    return make_plan(load_space(str(space_file(trials, folder))), assignments={}, size_of=size_of)
