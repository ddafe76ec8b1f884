"""Command-line options that several commands share, and those of `sweep.run`, grouped into the sections of `--help`."""

from pathlib import Path
from typing import Annotated, Literal, cast

import typer

WHAT = "What runs"
WHERE = "Where"
BUDGET = "Budget"
FAILURES = "Failures"
OUTPUT = "Output"
ON_END = "SWEEP_ON_END"
"""Environment variable that is the default of `--on-end`."""
FINE_TUNING_RATE = 0.1
"""Base learning rate of fine-tuning relative to pretraining's (docs/experiments.md)."""
NO_CONTEXT = cast("typer.Context", None)
"""Context of a command that is called from Python, where nothing was typed."""

# What runs
Space = Annotated[
    str | None,
    typer.Option(
        help="Search space: a name in search_spaces/ (quickstart, thesis_grid, ...), a dotted module name, or a .py, "
        ".yaml or .toml file.",
        rich_help_panel=WHAT,
    ),
]
Assignments = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="FIELD=VALUE",
        help="Set a field of every trial; comma-separated values vary it: --set temperature=0.1,0.5. "
        "sweep.run --fields lists the fields.",
        rich_help_panel=WHAT,
    ),
]
Fields = Annotated[
    bool,
    typer.Option(
        "--fields",
        help="Print the fields of a trial with unit, default and the thesis' value; start nothing.",
        rich_help_panel=WHAT,
    ),
]
Objective = Annotated[
    str | None,
    typer.Option(
        metavar="METRIC",
        help="Metric by which settings are ranked, instead of the space's; val/lidar needs no labels.",
        rich_help_panel=WHAT,
    ),
]
DryRun = Annotated[
    bool,
    typer.Option("--dry-run", help="Print the plan and its estimated cost; start nothing.", rich_help_panel=WHAT),
]
Smoke = Annotated[
    bool,
    typer.Option(
        "--smoke",
        help="Run the whole sweep at a tiny size, to find errors before paying for GPUs.",
        rich_help_panel=WHAT,
    ),
]
Strict = Annotated[
    bool,
    typer.Option(
        "--strict",
        help="Refuse to start if test images, or near duplicates of them, are among the pretraining images, or if both "
        "overlap on the ground. Data that earlier results choose are checked when their stage is planned.",
        rich_help_panel=WHAT,
    ),
]
SweepName = Annotated[
    str | None, typer.Option("--name", help="Name of the sweep; default: the space's name.", rich_help_panel=WHAT)
]
Resume = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Continue this sweep with the space that its record contains; no code is imported.",
        rich_help_panel=WHAT,
    ),
]
Extend = Annotated[
    bool,
    typer.Option(
        "--extend",
        help="With --resume and --space: use the current space, which may contain more trials.",
        rich_help_panel=WHAT,
    ),
]
NoReuse = Annotated[
    bool,
    typer.Option(
        "--no-reuse",
        help="Train every trial in this sweep, even if another sweep has finished it.",
        rich_help_panel=WHAT,
    ),
]

# Where
Storage = Annotated[
    str,
    typer.Option(
        help="Folder that all machines can access, or a URI (s3://...), with records, checkpoints and outputs.",
        rich_help_panel=WHERE,
    ),
]
TrackingUri = Annotated[
    str | None,
    typer.Option(
        help="MLflow server or database; default: MLFLOW_TRACKING_URI, else a SQLite file in the storage.",
        rich_help_panel=WHERE,
    ),
]
Experiment = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="MLflow experiment that shows the sweep; default: sweep, or the one that its record names.",
        rich_help_panel=WHERE,
    ),
]
Address = Annotated[
    str | None,
    typer.Option(
        help="Ray cluster, HOST:PORT or auto; default: Ray is started on this machine.", rich_help_panel=WHERE
    ),
]
Workers = Annotated[
    str,
    typer.Option(
        help="Workers per trial, each with its own GPU if any. MINIMUM:MAXIMUM, such as 2:8, adapts to free resources.",
        rich_help_panel=WHERE,
    ),
]
Device = Annotated[
    Literal["auto", "cpu", "gpu"],
    typer.Option(help="Device of the trials; auto: GPUs where there are any.", rich_help_panel=WHERE),
]
ShareGpus = Annotated[
    int,
    typer.Option(
        min=1,
        help="Maximum number of one-worker trials on one GPU, as far as its memory allows.",
        rich_help_panel=WHERE,
    ),
]
GpuMemory = Annotated[
    float | None,
    typer.Option(min=0.1, help="Memory of a GPU in GiB; default: that of this machine's GPU.", rich_help_panel=WHERE),
]
Memory = Annotated[
    float | None,
    typer.Option(min=0.0, help="Memory of a worker in GiB; default: the plan's estimate.", rich_help_panel=WHERE),
]
MaxConcurrent = Annotated[
    int | None,
    typer.Option(
        min=1, help="Maximum number of trials that run at once; default: as many as fit.", rich_help_panel=WHERE
    ),
]

# Budget
GpuHours = Annotated[
    float | None,
    typer.Option(
        help="GPU-hours of the sweep (worker-hours on CPUs), after which it stops with all checkpoints written.",
        rich_help_panel=BUDGET,
    ),
]
WallHours = Annotated[
    float | None, typer.Option(help="Hours that this run may take, from its start.", rich_help_panel=BUDGET)
]
Trials = Annotated[
    int | None, typer.Option(help="Maximum number of trials that the sweep trains.", rich_help_panel=BUDGET)
]

# Failures
MaxFailures = Annotated[
    int,
    typer.Option(
        min=0,
        help="Number of crashes or hangs of a trial that are retried before it counts as failed.",
        rich_help_panel=FAILURES,
    ),
]
HangMinutes = Annotated[
    float,
    typer.Option(
        min=0.05,
        help="Minutes without a training step after which a worker is ended and its trial retried.",
        rich_help_panel=FAILURES,
    ),
]
RetryFailed = Annotated[
    bool,
    typer.Option("--retry-failed", help="Retry trials that failed or were stopped.", rich_help_panel=FAILURES),
]
Grace = Annotated[
    float,
    typer.Option(
        min=0.0,
        metavar="SECONDS",
        help="Seconds that running epochs may take to finish after SIGTERM, SIGHUP (a closed terminal) or SIGQUIT.",
        rich_help_panel=FAILURES,
    ),
]
WaitCluster = Annotated[
    float,
    typer.Option(
        min=0.0,
        metavar="MINUTES",
        help="Minutes to wait for a cluster that is not reachable or was lost.",
        rich_help_panel=FAILURES,
    ),
]

# Output
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.", rich_help_panel=OUTPUT)]
OnEnd = Annotated[
    str | None,
    typer.Option(
        metavar="CMD|URL",
        help=f"Command or URL that receives a JSON summary at the end; default: ${ON_END}.",
        rich_help_panel=OUTPUT,
    ),
]
Overwrite = Annotated[
    bool,
    typer.Option("--overwrite", help="Replace files that this command didn't write itself.", rich_help_panel=OUTPUT),
]

# Arguments
LatestSweep = Annotated[str | None, typer.Argument(help="Name of the sweep; default: the latest one.")]
ExportedModel = Annotated[Path, typer.Argument(help="Folder that sweep.export wrote.")]
