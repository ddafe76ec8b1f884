"""What joining a cluster sends there, and a start of Ray that fails."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.paths import ROOT

from sweep.cluster import connection
from sweep.cluster.ray_names import ENVIRONMENT


def test_a_cluster_gets_the_packages_and_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    import ray

    given: dict[str, Any] = {}
    monkeypatch.setattr(ray, "init", lambda **options: given.update(options))
    connection._join("auto")
    packages = [Path(package) for package in given["runtime_env"]["py_modules"]]
    assert packages == [ROOT / "sweep", ROOT / "trainables"]
    assert all((package / "__init__.py").is_file() for package in packages)
    assert given["runtime_env"]["env_vars"] == ENVIRONMENT


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
