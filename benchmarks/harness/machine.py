"""The machine that a figure is of, and the versions that it is of."""

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
    """Return what the machine is, versions and the date."""
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
    """Return it in a line for a person."""
    versions = ", ".join(f"{name} {number}" for name, number in found["versions"].items())
    flags = ", ".join(found["flags"]) or "no AVX2"
    gpu = f", {found['gpu']} ({found['gpu_gib']} GiB)" if "gpu" in found else ""
    return (
        f"{found['date']}: {found['processor']}, {found['cores']} cores ({flags}){gpu}, {found['threads']} threads; "
        f"Python {found['python']}, {versions}"
    )


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Compute with so many threads, in torch and in what is compiled here."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class OtherProcesses:
    """How much of the cores goes to whoever isn't this process or a child that it has seen out."""

    def __init__(self) -> None:
        self._begin = self._now()

    def share(self) -> float:
        """Return their share of all cores' time since this was made; 0 where it can't be known."""
        busy, own, wall = (now - then for now, then in zip(self._now(), self._begin, strict=True))
        return max(0.0, busy - own) / (wall * (os.cpu_count() or 1))

    @staticmethod
    def _now() -> tuple[float, float, float]:
        """Return seconds: all cores busy, this process and its children, the clock."""
        path, own = Path("/proc/stat"), sum(os.times()[:4])
        if not path.exists():
            return own, own, time.perf_counter()
        user, nice, system, _, _, *interrupts = (int(each) for each in path.read_text().split("\n")[0].split()[1:9])
        return (user + nice + system + sum(interrupts)) / os.sysconf("SC_CLK_TCK"), own, time.perf_counter()


def _processor() -> dict[str, str]:
    """Return the first processor's lines of /proc/cpuinfo; nothing where there is none."""
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
