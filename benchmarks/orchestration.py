"""Overhead of orchestration: the same trials through Ray, as a shell loop, and naively nested.

    python -m benchmarks.orchestration                     # about six minutes on 2 cores
    python -m benchmarks.orchestration --trials 8 --workers 1

Orchestration is wall time minus the seconds in the epochs' records (training and evaluation). Trials run one after the
other in every row, with one thread per worker. "First" includes the start of Ray, of the actor and of its workers;
"next" is the median of the others. Naively nested follows Ray's documentation: each Tune trial calls its own
`TorchTrainer.fit()`. Output: a table, and JSON as the last line.
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
    """Measure the cases of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=TRIALS, help="at least 2")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--workers", type=int, nargs="+", default=list(WORKERS))
    options = parser.parse_args()
    show(measured(options.trials, options.epochs, tuple(options.workers)), options.trials)


if __name__ == "__main__":
    main()
