"""Startup time of the command line: `python -m benchmarks.rows.startup`.

Beside it, pydantic and typer alone, which every command imports. Each runs in its own process, in turns; values are
medians. Output: a table, and JSON as the last line.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time

REPEATS = 11
COMMANDS = {
    "python": ["-c", "pass"],
    "pydantic and typer": ["-c", "import pydantic, typer"],
    "sweep.run --help": ["-m", "sweep.run", "--help"],
    "sweep.run --dry-run": ["-m", "sweep.run", "--space", "thesis_grid", "--dry-run"],
}
BESIDE = "pydantic and typer"


def measure(*, repeats: int = REPEATS) -> dict[str, float]:
    """Return the median seconds of each command."""
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(repeats + 1):
        for name, arguments in COMMANDS.items():
            begin = time.perf_counter()
            subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
            times[name].append(time.perf_counter() - begin)
    # The first time files are read from the disk.
    return {name: statistics.median(values[1:]) for name, values in times.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=REPEATS)
    found = measure(repeats=parser.parse_args().repeats)
    print(f"| command | seconds | more than {BESIDE} |\n|---|---|---|")
    for name, seconds in found.items():
        print(f"| {name} | {seconds:.3f} | {seconds - found[BESIDE]:+.3f} |")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
