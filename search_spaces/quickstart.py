"""Does temperature or batch size matter? 4 SimCLR trials on scikit-learn's digits, a little over a minute on two cores.

    make quickstart        (python -m sweep.run --space quickstart)

Expected: offline accuracies clearly above the untrained encoder's (kNN about 0.6); raw pixels beat everything on
digits.
"""

from sweep.space import Grid, Objective, SearchSpace, Stage

SPACE = SearchSpace(
    name="quickstart",
    description="SimCLR on 8 x 8 scans of digits: two temperatures and two batch sizes",
    base={
        "dataset": "digits",
        "image_size": 12,
        "positive": ("closed_loop",),
        "validation_fraction": 0.15,
        "encoder": "resnet10",
        "width_factor": 0.25,
        "projector_layers": 2,
        "base_learning_rate": 3.0,
        "warmup_epochs": 1.0,
        "epochs": 5,
        "crop_area": (0.3, 1.0),
        "jitter_strength": 0.5,
        "flip_probability": 0.0,
        "blur_probability": 0.0,
    },
    stages=(Stage("grid", (Grid(axes={"batch_size": (32, 64), "temperature": (0.25, 0.5)}),)),),
    objective=Objective("val/knn_top1"),
    baselines=("untrained", "pixels"),
    columns=("test/knn_top1", "test/linear_top1", "test/top1", "test/sensitivity", "test/specificity"),
    caveats=(
        "knn and linear_* are fitted on frozen features after pretraining; top1, sensitivity and specificity are the "
        "probe's that learns alongside: compare like with like",
        "raw pixels (no encoder) do best on digits, which are small and centred: this space shows the road, not SimCLR",
    ),
)
