"""Machine and versions of a measurement, its threads, and the load by other processes."""

import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

FLAGS = ("avx2", "avx512f", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_bf16")
PACKAGES = ("torch", "torchvision", "numpy", "numba", "lightly", "pillow", "ray", "mlflow")


def machine() -> dict[str, Any]:
    """Return machine, versions and date."""
    fields = _processor()
    found: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%d"),
        "processor": fields.get("model name", platform.machine()),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "flags": [flag for flag in FLAGS if flag in fields.get("flags", "").split()],
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "versions": dict(_versions()),
    }
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        found["gpu"] = properties.name
        found["gpu_gib"] = round(properties.total_memory / 2**30, 1)
    return found


def described(found: dict[str, Any]) -> str:
    """Return machine and versions as one line of text."""
    versions = ", ".join(f"{name} {number}" for name, number in found["versions"].items())
    flags = ", ".join(found["flags"]) or "no AVX2"
    gpu = f", {found['gpu']} ({found['gpu_gib']} GiB)" if "gpu" in found else ""
    return (
        f"{found['date']}: {found['processor']}, {found['cores']} cores ({flags}){gpu}, {found['threads']} threads; "
        f"Python {found['python']}, {versions}"
    )


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Set the number of threads of torch and of numba's kernels."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class OtherProcesses:
    """Load by other processes: neither this process nor its ended children."""

    def __init__(self) -> None:
        self._begin = self._now()

    def share(self) -> float:
        """Return other processes' share of the time of all cores since the start; 0 if it can't be measured."""
        busy, own, wall = (now - then for now, then in zip(self._now(), self._begin, strict=True))
        return max(0.0, busy - own) / (wall * (os.cpu_count() or 1))

    @staticmethod
    def _now() -> tuple[float, float, float]:
        """Return seconds: busy time of all cores, time of this process and its children, and wall clock."""
        path, own = Path("/proc/stat"), sum(os.times()[:4])
        if not path.exists():
            return own, own, time.perf_counter()
        user, nice, system, _, _, *interrupts = (int(each) for each in path.read_text().split("\n")[0].split()[1:9])
        return (user + nice + system + sum(interrupts)) / os.sysconf("SC_CLK_TCK"), own, time.perf_counter()


def _processor() -> dict[str, str]:
    """Return the first processor's entries in /proc/cpuinfo; empty if there is no such file."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().split("\n\n")[0].splitlines() if path.exists() else []
    pairs = (line.partition(":") for line in lines)
    return {name.strip(): value.strip() for name, _, value in pairs}


def _versions() -> Iterator[tuple[str, str]]:
    for name in PACKAGES:
        try:
            yield name, version(name)
        except PackageNotFoundError:
            continue
