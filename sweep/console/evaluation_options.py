"""Options of `sweep.evaluate`, grouped into the sections of `--help`; those of `sweep.run` are in options.py."""

from typing import Annotated

import typer

from sweep.console.options import FINE_TUNING_RATE, WHAT

# What runs
EvaluatedTrials = Annotated[
    list[str] | None,
    typer.Option(
        "--trial",
        help="Name or id of a trial; repeatable. Default: every seed of the best setting.",
        rich_help_panel=WHAT,
    ),
]
FurtherWeights = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=FILE[,FIELD=VALUE...]",
        help="Further weights: a name from `sweep weights list`, or a file with a torchvision or timm state dict.",
        rich_help_panel=WHAT,
    ),
]
DataSets = Annotated[
    list[str] | None,
    typer.Option(
        "--dataset",
        help="Prepared data set to evaluate on; repeatable. Default: the sweep's data set.",
        rich_help_panel=WHAT,
    ),
]
LabelFractions = Annotated[
    str | None,
    typer.Option(
        help="Fractions of the training labels to use, comma-separated; default: 0.01,0.1,1, as far as the images "
        "suffice.",
        rich_help_panel=WHAT,
    ),
]
Draws = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Number of label subsets per fraction; default: 3, or the number of seeds.",
        rich_help_panel=WHAT,
    ),
]
Epochs = Annotated[
    int | None,
    typer.Option(
        min=0,
        help="Epochs of fine-tuning and training from scratch; default: as pretraining; 0: frozen features only.",
        rich_help_panel=WHAT,
    ),
]
LearningRate = Annotated[
    float | None,
    typer.Option(
        min=0.0,
        help=f"Base learning rate of fine-tuning; default: {FINE_TUNING_RATE:g} times that of pretraining.",
        rich_help_panel=WHAT,
    ),
]
EvaluationName = Annotated[
    str | None, typer.Option(help="Name of the evaluation; default: SWEEP-evaluated.", rich_help_panel=WHAT)
]
