"""Memory of this process: resident set on the CPU, torch's allocator on a GPU."""

import ctypes
import gc
from pathlib import Path

import torch


class ResidentSet:
    """Resident memory of this process on Linux."""

    def __init__(self) -> None:
        gc.collect()
        ctypes.CDLL("libc.so.6").malloc_trim(0)
        self._base = self._bytes("VmRSS")
        self.process = self._bytes("RssAnon")

    def reset(self) -> None:
        """Reset the peak."""
        Path("/proc/self/clear_refs").write_text("5")

    def peak(self) -> int:
        """Return the peak in bytes since the reset, above the memory at the start."""
        return self._bytes("VmHWM") - self._base

    @staticmethod
    def _bytes(name: str) -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return 1024 * int(next(line.split()[1] for line in lines if line.startswith(f"{name}:")))


class GpuMemory:
    """Memory that torch's allocator has allocated on this process's GPU."""

    def __init__(self) -> None:
        gc.collect()
        torch.cuda.empty_cache()
        free, total = torch.cuda.mem_get_info()
        self.process = total - free - torch.cuda.memory_reserved()

    def reset(self) -> None:
        """Reset the peak."""
        torch.cuda.reset_peak_memory_stats()

    def peak(self) -> int:
        """Return the peak in bytes since the reset."""
        return torch.cuda.max_memory_allocated()
