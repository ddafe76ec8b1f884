"""A start of Ray that fails."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sweep.cluster import connection


def test_a_ray_that_cant_start_leaves_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    started: list[subprocess.Popen[bytes]] = []

    def init(**_: Any) -> None:
        started.append(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]))
        raise RuntimeError("the head didn't start in time")

    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(RuntimeError, match="in time"), connection._local(tmp_path):
        pass
    assert started[0].wait(5) == -9
