"""`python -m chaos [--seed 0] [--faults 200]`, run in tests/: prints the table of docs/reliability.md."""

import argparse
import tempfile
import time
from pathlib import Path

from chaos.harness import World
from chaos.storm import Storm
from trainables.data.preparing.prepare import prepare


def main() -> None:
    """Run the storm and print what befell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--only", default="", help="one kind of fault: a method of Faults")
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 1, 2], help="of each trial, sweep by sweep")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="chaos-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        prepare("digits", root=folder / "data")
        started = time.monotonic()
        world = World(folder, folder / "data")
        storm = Storm(world, options.seed, only=options.only, say=lambda text: print(text, flush=True))
        try:
            storm.run(options.faults, workers=tuple(options.workers))
        except AssertionError:
            for log in sorted(folder.glob("*.log"), key=lambda path: path.stat().st_mtime)[-1:]:
                print(log.read_text(errors="replace")[-20000:])
            raise
        finally:
            world.close()
        print(f"seed {options.seed}, {(time.monotonic() - started) / 60:.0f} minutes\n\n{storm.tally.table()}")


if __name__ == "__main__":
    main()
