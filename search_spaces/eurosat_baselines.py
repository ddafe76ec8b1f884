"""Does SimCLR beat baselines without training? One setting with 3 seeds against four baselines, on 3,000 EuroSAT tiles.

    python -m sweep.data prepare eurosat        (any share of it: --fraction 0.11 makes 3,000)
    python -m sweep.run --space eurosat_baselines
    python -m benchmarks.studies.margins eurosat_baselines

ResNet-18 at 64 px, 10 epochs: about half an hour per seed on one core. Weak jitter without grayscale and blur, since
colours identify much of a satellite image's content (docs/experiments.md has the alternatives tried).
"""

from sweep.space import Grid, RankingObjective, SearchSpace, Stage

SPACE = SearchSpace(
    name="eurosat_baselines",
    description="SimCLR on EuroSAT, 3 seeds, against untrained encoders and six colour numbers",
    base={
        "dataset": "eurosat",
        "image_size": 64,
        "encoder": "resnet18",
        "projector_layers": 2,
        "batch_size": 64,
        "epochs": 10,
        "base_learning_rate": 4.0,
        "warmup_epochs": 1.0,
        "temperature": 0.25,
        "jitter_strength": 0.2,
        "grayscale_probability": 0.0,
        "blur_probability": 0.0,
    },
    seeds=(0, 1, 2),
    stages=(Stage("seeds", (Grid(),)),),
    objective=RankingObjective("test/knn_top1"),
    baselines=("untrained", "calibrated", "colours", "pixels"),
    columns=("test/linear_top1", "test/top1", "train/contrastive_accuracy"),
    caveats=(
        "one setting, so nothing is selected on the test split that is reported",
        "three seeds share one test split: the intervals of benchmarks/studies/margins.py are over seeds alone",
    ),
)
