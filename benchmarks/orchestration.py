"""What a trial costs beside its training: through Ray, as a shell loop, and naively nested, over the same trials.

    python -m benchmarks.orchestration                     # about six minutes on 2 cores
    python -m benchmarks.orchestration --trials 8 --workers 1

Orchestration is wall time minus the seconds that the epochs' own records hold (training and evaluation). Trials run one
after the other in every row, one thread a worker. "First" holds the start of Ray, of the actor and of its group of
workers; "next" is the median of the others. Naively nested is what Ray's documentation shows: each trial of Tune calls
a `TorchTrainer.fit()` of its own. Prints a table and, as the last line, JSON.
"""

import argparse
import json
import os
from collections.abc import Sequence
from dataclasses import asdict

from benchmarks.rows.orchestration import EPOCHS, TRIALS, WORKERS, RunTimes, measured


def show(costs: Sequence[RunTimes], count: int) -> None:
    """Print the table, then JSON on one line."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{count} trials one after the other on {os.cpu_count()} cores, seconds")
    for heading in ("workers", "way", "wall", "training", "orchestration a trial", "first", "next"):
        table.add_column(heading, justify="left" if heading == "way" else "right")
    for each in costs:
        numbers = (each.wall, each.training, (each.wall - each.training) / count, each.first, each.next)
        table.add_row(str(each.workers), each.way, *(f"{number:.2f}" for number in numbers))
    Console().print(table)
    print(json.dumps([asdict(each) for each in costs]))


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=TRIALS, help="at least 2")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--workers", type=int, nargs="+", default=list(WORKERS))
    options = parser.parse_args()
    show(measured(options.trials, options.epochs, tuple(options.workers)), options.trials)


if __name__ == "__main__":
    main()
