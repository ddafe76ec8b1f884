"""NT-Xent, forward and backward: time beside its matrix products, memory, and growth of both.

`python -m benchmarks.rows.nt_xent N` prints the seconds and peak bytes above the inputs for N pairs, measured in its
own process.
"""

import gc
import json
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.harness.measurement import CostGrowth, PairedTimings, PlannedMeasurement, beside, seconds
from benchmarks.harness.memory_in_use import ResidentSet
from trainables.losses import nt_xent

WIDTH, TEMPERATURE = 128, 0.25
PAIRS = 16_384
"""Pairs; the similarity matrix has twice as many rows."""
LADDER = (1024, 2048, 4096, 8192, 16_384)
TIME_GOAL, MEMORY_GOAL, TIME_EXPONENT, MEMORY_EXPONENT = 0.7, 0.5, 2.1, 1.2
SMALL_TIME_GOAL = 1.5
"""Goal for few pairs, for which metrics (accuracy, entropy) and small operations weigh more."""
PEER_BLOCK = 256
"""Rows per block of the peer, which fit a cache: 128 are as fast, 512 and more up to twice as slow."""


def measurements(threads: int) -> Iterator[PlannedMeasurement]:
    """Yield time and memory of the largest size that fits into this machine's memory."""
    pairs = largest(threads)
    note = "" if pairs == PAIRS else f"{PAIRS:,} pairs don't fit in this machine's memory"
    for beside_it, rows in ((f"{PEER_BLOCK} rows at a time", PEER_BLOCK), ("as they are", 2 * pairs)):
        yield PlannedMeasurement(
            f"NT-Xent, forward and backward, {pairs:,} pairs",
            f"two products and a softmax, {beside_it}",
            lambda rows=rows: time_beside_products(pairs, rows),
            goal=TIME_GOAL,
            note=note,
        )
    yield PlannedMeasurement(
        f"NT-Xent's memory above its inputs, {pairs:,} pairs",
        "1 GiB",
        lambda: PairedTimings((alone(pairs, threads)["bytes"] / 2**30,), (1.0,)),
        "GiB",
        goal=MEMORY_GOAL,
        note=note,
    )


def small() -> PlannedMeasurement:
    """Return a small size, measured in a moment."""
    return PlannedMeasurement(
        "NT-Xent, forward and backward, 2,048 pairs",
        f"two products and a softmax, {PEER_BLOCK} rows at a time",
        lambda: time_beside_products(2048, PEER_BLOCK, turns=9),
        goal=SMALL_TIME_GOAL,
    )


def growth(threads: int) -> Iterator[CostGrowth]:
    """Yield the growth of time and memory with the number of pairs, up to the largest that fits."""
    found = {pairs: alone(pairs, threads) for pairs in LADDER if pairs <= largest(threads)}
    times = [(float(pairs), each["seconds"]) for pairs, each in found.items()]
    memory = [(float(pairs), each["bytes"] / 2**20) for pairs, each in found.items()]
    yield CostGrowth("NT-Xent's time", "pairs", "seconds", times, TIME_EXPONENT)
    yield CostGrowth("NT-Xent's memory", "pairs", "MiB", memory[-3:], MEMORY_EXPONENT)


@cache
def largest(threads: int) -> int:
    """Return the largest size whose memory, if it grew quadratically, would fit twice into the free memory."""
    pairs = LADDER[1]
    reached = alone(pairs, threads)["bytes"]
    return max(each for each in LADDER if each <= pairs or reached * (each / pairs) ** 2 <= _free_bytes() / 2)


def _free_bytes() -> int:
    fields = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    return 1024 * int(fields["MemAvailable"].split()[0])


def time_beside_products(pairs: int, rows: int, turns: int = 3) -> PairedTimings:
    """Time forward and backward beside Z Z^T, its softmax and the product with Z, in blocks of `rows` rows."""
    z_a, z_b = embeddings(pairs)
    both = torch.nn.functional.normalize(torch.cat([z_a, z_b]).detach(), dim=1)
    return beside(lambda: pass_over(z_a, z_b), lambda: products(both, rows), turns=turns)


def products(both: Tensor, rows: int) -> None:
    """Compute softmax(Z Z^T) Z in blocks of `rows` rows."""
    for block in both.split(rows):
        torch.softmax(block @ both.T, 1) @ both


def embeddings(pairs: int) -> tuple[Tensor, Tensor]:
    """Return the embeddings of two views, (pairs, WIDTH) each, with gradients."""
    random = torch.Generator().manual_seed(0)
    first, second = (torch.randn(pairs, WIDTH, generator=random).requires_grad_() for _ in range(2))
    return first, second


def pass_over(z_a: Tensor, z_b: Tensor) -> None:
    """Compute the loss and its gradients."""
    z_a.grad = z_b.grad = None
    nt_xent(z_a, z_b, temperature=TEMPERATURE).backward()  # type: ignore[no-untyped-call]


def alone(pairs: int, threads: int) -> dict[str, float]:
    """Return seconds and peak bytes above the inputs, measured in a separate process."""
    command = [sys.executable, "-m", "benchmarks.rows.nt_xent", str(pairs), str(threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _alone(pairs: int, threads: int) -> dict[str, float]:
    torch.set_num_threads(threads)
    pass_over(*embeddings(8))  # loads what is loaded on first use
    z_a, z_b = embeddings(pairs)
    gc.collect()
    memory = ResidentSet()
    memory.reset()
    pass_over(z_a, z_b)
    peak = memory.peak()
    return {"bytes": peak, "seconds": min(seconds(lambda: pass_over(z_a, z_b)) for _ in range(3))}


if __name__ == "__main__":
    print(json.dumps(_alone(int(sys.argv[1]), int(sys.argv[2]))))
