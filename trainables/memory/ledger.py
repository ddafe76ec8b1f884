"""Ledger of allocated and freed memory blocks, and their peak."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

Device = Literal["cpu", "cuda"]
MAPPED_FROM = 32 * 2**20
"""Block size from which glibc maps each block separately and returns it to the system (M_MMAP_THRESHOLD, which grows up
to this value). Smaller blocks are in a heap that rarely shrinks."""
HEAP_SLACK = 1.55
"""Ratio of the heap taken from the system to the peak of live small blocks; the rest is gaps between blocks.

Measured by benchmarks/memory.py: 1.2 to 2, more in tiny trials. With every block mapped (MALLOC_MMAP_THRESHOLD_=65536)
there are no gaps, and the counted live memory is 2 to 6 % under a step's measured peak.
"""


class MemoryLedger:
    """Ledger of live memory blocks that records their peak."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._heap = self._mapped = self._lasting = 0.0
        self._most_heap = self._most_mapped = self._most = 0.0

    def take(self, *blocks: float) -> None:
        """Allocate blocks of these sizes."""
        for block in blocks:
            if block >= MAPPED_FROM:
                self._mapped += block
            else:
                self._heap += block
        self._most_heap = max(self._most_heap, self._heap)
        self._most_mapped = max(self._most_mapped, self._mapped)
        self._most = max(self._most, self._heap + self._mapped)

    def give(self, *blocks: float) -> None:
        """Free blocks of these sizes."""
        for block in blocks:
            if block >= MAPPED_FROM:
                self._mapped -= block
            else:
                self._heap -= block

    @contextmanager
    def borrow(self, *blocks: float) -> Iterator[None]:
        """Allocate blocks for the duration of the context."""
        self.take(*blocks)
        yield
        self.give(*blocks)

    def touch(self, *blocks: float) -> None:
        """Allocate all, then free all."""
        self.take(*blocks)
        self.give(*blocks)

    def hold(self, *blocks: float) -> None:
        """Allocate blocks for the whole trial."""
        self.take(*blocks)
        self._lasting = self._heap

    @property
    def live(self) -> float:
        """Number of live bytes."""
        return self._heap + self._mapped

    def end_phase(self) -> float:
        """Return the peak since the last phase; on the CPU the heap keeps its largest size.

        On a GPU it is the largest sum of live blocks, which corresponds to torch.cuda.max_memory_allocated.
        """
        passing = HEAP_SLACK * (self._most_heap - self._lasting)
        most = self._most if self._device == "cuda" else self._lasting + passing + self._most_mapped
        self._most, self._most_mapped = self.live, self._mapped
        return most
