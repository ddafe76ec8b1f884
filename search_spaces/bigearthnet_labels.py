"""Which batch size and temperature separate BigEarthNet v2's 19 land covers best? 4 trials, several labels per image.

    python -m sweep.data prepare bigearthnet_v2         (63 GB; --source takes the archive or a part of it)
    python -m sweep.run --space bigearthnet_labels

ResNet-50 at 120 px, 100 epochs over 237,871 patches: days on one GPU. The official splits: selected on validation,
reported on test. For a tenth and a hundredth of the labels: --set label_fraction=0.01,0.1,1.
"""

from sweep.space import Grid, RankingObjective, SearchSpace, Stage

SPACE = SearchSpace(
    name="bigearthnet_labels",
    description="SimCLR on BigEarthNet v2, a probe of its 19 labels: two batch sizes and two temperatures",
    base={
        "dataset": "bigearthnet_v2",
        "image_size": 120,
        "target": "labels",
        "encoder": "resnet50",
        "epochs": 100,
        "jitter_strength": 0.5,
        "vertical_flip_probability": 0.5,
        "rotation_probability": 0.75,
    },
    stages=(Stage("grid", (Grid(axes={"batch_size": (256, 1024), "temperature": (0.25, 0.5)}),)),),
    objective=RankingObjective("val/linear_average_precision_macro"),
    baselines=("untrained", "colours"),
    columns=(
        "test/linear_average_precision_macro",
        "test/linear_average_precision_micro",
        "test/linear_f1_macro_at_val_thresholds",
        "test/knn_average_precision_macro",
        "test/average_precision_macro",
    ),
    caveats=(
        "macro means are over the labels that the split has; F1 at each label's best threshold on validation",
        "neighbouring patches stand in different official splits (python -m sweep.data info bigearthnet_v2)",
    ),
)
