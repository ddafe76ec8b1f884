"""Do more bands help? RGB, the bands of 10 m, of 10 and 20 m, and all 13 of EuroSAT, beside what needs no training.

    python -m sweep.data prepare eurosat_ms --bands all --pixels reflectance
    python -m sweep.run --space eurosat_bands

Every band is normalised by train's moments, RGB's too, so that the bands alone differ. Baselines of each set of bands:
means and deviations, random convolutional features (Coates and Ng 2011), and the untrained encoder.
"""

from sweep.space import Grid, RankingObjective, SearchSpace, Stage

RGB = ("B04", "B03", "B02")
TEN_METRES = (*RGB, "B08")
TEN_AND_TWENTY_METRES = (*TEN_METRES, "B05", "B06", "B07", "B8A", "B11", "B12")
ALL = ()

SPACE = SearchSpace(
    name="eurosat_bands",
    description="RGB against the bands of 10 m, of 10 and 20 m, and all 13",
    base={
        "dataset": "eurosat_ms",
        "image_size": 64,
        "encoder": "resnet18",
        "normalisation": "train",
        "validation_fraction": 0.1,
        "projector_layers": 2,
        "batch_size": 256,
        "epochs": 100,
        "jitter_operations": ("brightness", "contrast"),
        "jitter_strength": 0.2,
        "grayscale_probability": 0.0,
        "blur_probability": 0.0,
        "rotation_probability": 0.75,
    },
    seeds=(0, 1, 2),
    stages=(Stage("bands", (Grid(axes={"bands": (RGB, TEN_METRES, TEN_AND_TWENTY_METRES, ALL)}),)),),
    objective=RankingObjective("val/linear_top1"),
    baselines=("untrained", "colours", "random_features"),
    columns=("test/linear_top1", "test/knn_top1"),
    caveats=(
        "neighbouring tiles may stand on both sides, unless EuroSAT is prepared with --splits spatial or longitude",
        "saturation, hue, grayscale and blur are off for all sets of bands, as some sets are more than colours",
    ),
)
