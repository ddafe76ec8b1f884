"""Which batch size and temperature represent 64 px Sentinel-2 tiles best? 4 trials on EuroSAT, 10 classes.

    python -m sweep.data prepare eurosat
    python -m sweep.run --space eurosat_grid

ResNet-18 and 100 epochs over 27,000 images: hours on one GPU. Cut down for a CPU with --set encoder=resnet10 ... or
--smoke.
"""

from sweep.space import Grid, RankingObjective, SearchSpace, Stage

SPACE = SearchSpace(
    name="eurosat_grid",
    description="SimCLR on EuroSAT: two batch sizes and two temperatures, selected on a validation slice",
    base={
        "dataset": "eurosat",
        "image_size": 64,
        "positive": ("farmland",),
        "validation_fraction": 0.1,
        "encoder": "resnet18",
        "epochs": 100,
    },
    stages=(Stage("grid", (Grid(axes={"batch_size": (256, 512), "temperature": (0.25, 0.5)}),)),),
    objective=RankingObjective("val/knn_top1"),
    columns=(
        "test/knn_top1",
        "test/linear_top1",
        "test/linear_sensitivity",
        "test/linear_specificity",
        "test/top1",
    ),
    caveats=("EuroSAT has no official split: a fifth of each class is test, by a stable hash of the file name",),
)
